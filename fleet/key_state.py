"""Customers' keys on their relays: which were used, and which still open one though the inventory removed them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

import inventory
from console.errors import Refused
from deploy.plan import HostError, Plan
from fleet import spool_data
from fleet.problems import Problem, keys_unknown
from fleet.relays import connect, relays_of, run_parallel
from inventory import Inventory
from inventory.key_records import was_recorded
from inventory.model import Customer, Relay
from roles import relay as relay_role


class RelayKeys(NamedTuple):
    """What one relay knows of its customers' keys."""

    seen: Mapping[str, frozenset[str]]  # customer: keys that have been used there
    stale_keys: Mapping[str, frozenset[str]]  # customer: keys that open it and have been taken off record


class KeyState(NamedTuple):
    """One customer's keys, and what each relay answered about them, or why it did not."""

    customer: Customer
    found: Mapping[str, RelayKeys | HostError | Refused]

    @property
    def stale_keys(self) -> Mapping[str, frozenset[str]]:
        """Return the keys that were removed from the inventory and still open a relay, by relay."""
        said = {
            relay: look.stale_keys.get(self.customer.id)
            for relay, look in self.found.items()
            if isinstance(look, RelayKeys)
        }
        return {relay: names for relay, names in said.items() if names}

    @property
    def is_open(self) -> bool:
        """Return whether there are an old and a new key."""
        return len(self.customer.keys) > 1

    @property
    def is_cut_short(self) -> bool:
        """Return whether a key was removed from the inventory and not yet from the relays."""
        return not self.is_open and bool(self.stale_keys)

    def keys_to_remove(self, undo: bool) -> tuple[str, ...]:
        """Return the names of the keys that are removed when the rotation is finished, or undone."""
        on_record = self.customer.keys[-1:] if undo else self.customer.keys[:-1]
        names = {key.name for key in on_record if self.is_open}
        return tuple(sorted(names.union(*self.stale_keys.values())))

    def used_keys(self, relay: str) -> frozenset[str] | None:
        """Return the names of the keys that a relay has seen used; None where it was not reached."""
        look = self.found[relay]
        return look.seen.get(self.customer.id, frozenset()) if isinstance(look, RelayKeys) else None

    def relays_without_use(self) -> list[str]:
        """Return the relays that have not seen the newest key, as far as is known."""
        newest = self.customer.keys[-1].name
        return [relay for relay in self.customer.upload_relays if newest not in (self.used_keys(relay) or ())]

    def blockers(self, undo: bool) -> Iterator[str]:
        """Yield the relays at which uploads may stop when the keys are removed, with the reason."""
        newest, undo = self.customer.keys[-1].name, undo and self.is_open
        for relay in self.stale_keys if self.is_cut_short else self.customer.upload_relays:
            seen = self.used_keys(relay)
            if seen is None:
                yield keys_unknown(relay, self.found[relay])
            elif undo and newest in seen:
                yield f"{relay} has seen {newest}: the customer's server uses it"
            elif not undo and newest not in seen:
                yield f"{relay} has not seen {newest}"

    def removable_unasked(self) -> frozenset[tuple[str, str]]:
        """Return what relays may lose unasked.

        Keys off record, if a recorded key was used on each relay that has them.
        """
        own = {key.name for key in self.customer.keys}
        left = self.stale_keys.items()
        kept = frozenset().union(*(names for relay, names in left if not own & (self.used_keys(relay) or frozenset())))
        return frozenset((self.customer.id, f"key:{name}") for _, names in left for name in names - kept)


def read_key_states(everything: Inventory, customers: Sequence[Customer]) -> list[KeyState]:
    """Return each customer's keys as all its relays know them; the relays are asked side by side."""
    relays = relays_of(everything, customers)
    found = run_parallel(relays, partial(_look, customers=customers), "asking")
    return [KeyState(one, {relay: found[relay] for relay in one.relays}) for one in customers]


def _look(relay: Relay, customers: Sequence[Customer]) -> RelayKeys:
    theirs = [one for one in customers if relay.name in one.relays]
    with connect(relay) as host:
        (spools,) = host.read([relay_role.list_status_item(theirs)])
        plan = Plan.of(host, [relay_role.customer_tree(one) for one in theirs])
    losses = {change.item.about: tuple(change.removals()) for change in plan.changes}
    return RelayKeys(
        spool_data.keys_seen(spools), {one.id: find_stale_keys(one, losses.get(one.id, ())) for one in theirs}
    )


def find_stale_keys(customer: Customer, losses: Iterable[str]) -> frozenset[str]:
    """Return, of the keys that a plan would remove from a customer's tree, those that were recorded.

    They were removed there.
    """
    names = {loss.removeprefix("key:") for loss in losses if loss.startswith("key:")} - {
        key.name for key in customer.keys
    }
    return frozenset(name for name in names if was_recorded(inventory.inventory_path(), customer.id, name))


def key_problems(customer: Customer, seen: Collection[str], losses: Iterable[str], today: date) -> Iterator[Problem]:
    """Yield the customer's key problems on one relay. `seen`: keys used there; `losses`: what a plan removes."""
    if not customer.keys:
        yield Problem("key", "no key yet: provision it")
        return
    newest, rotate = customer.keys[-1], f"`inv rotate-key {customer.id}"
    for name in sorted(find_stale_keys(customer, losses)):
        text = f"key {name} is still authorised here but was removed from the inventory"
        yield Problem("key", f"{text}: {rotate}` goes on with its removal")
    if len(customer.keys) > 1:
        names = ", ".join(key.name for key in customer.keys)
        used = newest.name in seen  # then somebody may finish it; else the customer's server has yet to use the key
        end = f"has been used here: {rotate} --finish`" if used else "has not been used here yet"
        yield Problem("rotation", f"a key rotation is open ({names}); {newest.name} {end}", urgent=used)
    if customer.key_due(today):
        age, most = newest.age(today), customer.key_max_age_days
        yield Problem("key", f"key {newest.name} is {age} days old, {most} is wanted at most: {rotate}`")
