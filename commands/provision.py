"""Look, plan, stop at losses and refusals, print, apply: both ends of a customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import inventory
from commands import exchange, fleet, screen
from commands.fleet import Refused
from commands.wish import Wish
from deploy.keys import BadKey, make_pair, read_public
from deploy.plan import HostError, NoPython, Plan
from deploy.ssh import SSHHost
from inventory import Inventory
from inventory.keys import next_name, record
from inventory.model import Customer, Key, Relay
from receiver import report
from roles import postfix
from roles.postfix import Now

NO_KEY_YET = "ssh-ed25519 (made-when-this-is-applied)"


class Look(NamedTuple):
    """One relay as it was found, what would be done to it, and what stands in the way of that."""

    relay: Relay
    host: SSHHost
    now: Now
    plan: Plan
    refusals: tuple[str, ...]
    seen: Mapping[str, frozenset[str]]  # customer: names of the keys that have been used there


def provision(customer: str, every: bool, wish: Wish) -> int:
    """Bring both ends of the chosen customers to their wanted state. Raises InventoryError, Refused."""
    where = inventory.where()
    everything = inventory.load(where)
    customers = fleet.chosen(everything, customer, every)
    if every and (wish.kit_dir or wish.public_key):
        raise Refused("--kit-dir and --public-key are for one customer, not for --all")
    given = _given(wish.public_key)
    with ExitStack() as connections:
        wanted = [_with_new_key(where, one, given) for one in customers]
        found = _look_at_all(everything, wanted, wish, connections)
        looks = [look for look in found.values() if isinstance(look, Look)]
        _refuse_unknown_names(looks, wish.removing)
        codes = [*_show(found, wish)]
        ready = [look for look in looks if not look.refusals]
        if not wish.dry_run:
            customers = _with_keys(where, customers, looks, wish, given)
            codes += _apply(ready, customers, wish)
    seen = {one.id: _seen_everywhere(one, found) for one in customers}
    codes += exchange.provision(everything, customers, seen, wish)
    return report.worst(codes)


# ---- look


def _look_at_all(
    everything: Inventory, customers: Sequence[Customer], wish: Wish, connections: ExitStack
) -> Mapping[str, Look | HostError | Refused]:
    """Look at all relays side by side; the connections stay open, so that what was looked at can be gone on with."""

    def look(relay: Relay) -> Look:
        host = connections.enter_context(fleet.reached(relay, install_python=not wish.dry_run))
        return _look(host, relay, [one for one in customers if relay.name in one.relays], wish)

    return fleet.side_by_side(fleet.relays_of(everything, customers), look, "looking at")


def _look(host: SSHHost, relay: Relay, customers: Sequence[Customer], wish: Wish) -> Look:
    now, seen = _read(host, relay, customers)
    plan = Plan.of(host, postfix.items(relay, customers, now))
    refusals = _lost(plan, wish.removing)
    if plan.changes and not refusals:
        refusals = _surveyed(host, relay, customers, now, wish)
    return Look(relay, host, now, plan, tuple(refusals), seen)


def _read(host: SSHHost, relay: Relay, customers: Sequence[Customer]) -> tuple[Now, Mapping[str, frozenset[str]]]:
    asked = (*postfix.asked(relay), postfix.spools(customers))
    *states, spools = host.read(asked)
    return Now.of(states[0]), postfix.keys_seen(spools)


def _surveyed(host: SSHHost, relay: Relay, customers: Sequence[Customer], now: Now, wish: Wish) -> list[str]:
    survey = host.read(postfix.surveyed(relay, customers, now))
    return postfix.refusals(relay, customers, now, survey, downgrade=wish.downgrade)


# ---- stop


def _lost(plan: Plan, removing: Sequence[str]) -> list[str]:
    """Say what would go without having been named. Leaving a thing out of the inventory does not remove it."""
    unnamed = [name for name in plan.losses() if not _is_named(name, removing)]
    if not unnamed:
        return []
    options = " ".join(f"--removing {name}" for name in unnamed)
    return [f"would remove {', '.join(unnamed)}; nothing is done. If that is meant, say {options}"]


def _is_named(loss: str, removing: Sequence[str]) -> bool:
    noun, _, name = loss.partition(":")
    return loss in removing or (noun == "route" and f"domain:{name}" in removing)


def _refuse_unknown_names(looks: Sequence[Look], removing: Sequence[str]) -> None:
    losses = {loss for look in looks for loss in look.plan.losses()}
    for name in removing:
        if looks and name not in losses:
            raise Refused(f"--removing {name}: no plan here would remove that{inventory.near(name, losses)}")


# ---- print


def _show(found: Mapping[str, Look | HostError | Refused], wish: Wish) -> Iterator[int]:
    """Print what was found at each relay; gives the exit codes of those that end here."""
    for name, look in found.items():
        if isinstance(look, Look):
            yield _show_look(look, wish)
        elif isinstance(look, NoPython) and wish.dry_run:
            screen.note(f"{name}: {look}; what else is to be done there is known once it is there")
            yield report.DONE
        else:
            yield fleet.told(name, look)


def _show_look(look: Look, wish: Wish) -> int:
    name = look.relay.name
    if not look.plan.changes:
        screen.say(f"{name}: nothing to change ({_cost(look.host)})")
    else:
        screen.plan(f"{name}:", look.plan.text(brief=not wish.full))
        changes = [(change.item, change.before) for change in look.plan.changes]
        for text in postfix.notes(look.relay, look.now, changes):
            screen.note(f"{name}: {text}")
    for text in look.refusals:
        screen.fault(f"{name}: {text}")
    return report.REFUSED if look.refusals else report.DONE


def _cost(host: SSHHost) -> str:
    return f"{_counted(host.connections, 'connection')}, {_counted(host.commands, 'remote command')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# ---- keys


def _given(file: str) -> str:
    """Read the key of --public-key, first of all: nothing is asked or made for one that is no good. Raises Refused."""
    if not file:
        return ""
    try:
        return read_public(Path(file).read_text("utf-8", errors="replace"))
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
    except BadKey as error:
        raise Refused(f"{file}: {error}") from None


def _lacks_key(customer: Customer, given: str) -> bool:
    return given not in {key.public for key in customer.keys} if given else not customer.keys


def _with_new_key(where: Path, customer: Customer, given: str) -> Customer:
    """Plan with the key to come, or a placeholder; what is applied is planned again with the key itself."""
    if not _lacks_key(customer, given):
        return customer
    key = Key(next_name(where, customer.id), given or NO_KEY_YET)
    return customer.model_copy(update={"keys": (*customer.keys, key)})


def _with_keys(
    where: Path, customers: Sequence[Customer], looks: Sequence[Look], wish: Wish, given: str
) -> tuple[Customer, ...]:
    """Make and record a key for each customer who lacks one and whom at least one relay is ready for."""
    for customer in customers:
        theirs = [look for look in looks if look.relay.name in customer.relays]
        if _lacks_key(customer, given) and _may_have_key(customer, theirs):
            seen = {name for look in theirs for name in look.seen.get(customer.id, ())}
            _record_key(where, customer, next_name(where, customer.id, seen), wish, given)
    fresh = inventory.load(where).customers
    return tuple(fresh[customer.id] for customer in customers)


def _may_have_key(customer: Customer, looks: Sequence[Look]) -> bool:
    """Tell whether a relay is ready, and none has a key that is not on record here: another checkout will know it."""
    unknown = [look for look in looks if look.refusals and _loses_key(customer, look.plan)]
    return not unknown and not all(look.refusals for look in looks)


def _loses_key(customer: Customer, plan: Plan) -> bool:
    losses = [loss for change in plan.changes if change.item.about == customer.id for loss in change.losses()]
    return any(loss.startswith("key:") for loss in losses)


def _record_key(where: Path, customer: Customer, name: str, wish: Wish, given: str) -> None:
    """Place the private half, then record the public one: recording is what commits."""
    public = given
    if not given:
        pair = make_pair(customer.exchange.key_type)
        exchange.place(customer, name, pair, wish.kit_dir)
        public = pair.public
    record(where, customer.id, Key(name, public))
    screen.say(f"{customer.id}: key {name} recorded; commit {where / 'keys' / customer.id}")


# ---- apply


def _apply(ready: Sequence[Look], customers: Sequence[Customer], wish: Wish) -> Iterator[int]:
    changing = {look.relay.name: look for look in ready if look.plan.changes}
    keyed = {customer.id: customer for customer in customers if customer.keys}

    def apply(relay: Relay) -> str:
        look = changing[relay.name]
        theirs = [keyed[one] for one in keyed if relay.name in keyed[one].relays]
        plan = _final(look, theirs, wish)
        plan.apply()
        return f"{_counted(len(plan.changes), 'change')} made ({_cost(look.host)})"

    for name, result in fleet.side_by_side([look.relay for look in changing.values()], apply, "changing").items():
        yield fleet.told(name, result)


def _final(look: Look, customers: Sequence[Customer], wish: Wish) -> Plan:
    """Install what is missing, and plan again with what is known then: the keys, and Postfix's own word on itself."""
    now = look.now
    first = Plan.of(look.host, postfix.packages(look.relay, now))
    if first.changes:
        first.apply()
        now, _ = _read(look.host, look.relay, customers)
        if refusals := _surveyed(look.host, look.relay, customers, now, wish):
            raise Refused("; ".join(refusals))
    return Plan.of(look.host, postfix.items(look.relay, customers, now))


def _seen_everywhere(customer: Customer, found: Mapping[str, Look | HostError | Refused]) -> frozenset[str]:
    """Name the customer's keys that every one of its relays has seen used."""
    looks = [found.get(name) for name in customer.relays]
    seen = [look.seen.get(customer.id, frozenset()) if isinstance(look, Look) else frozenset() for look in looks]
    return frozenset.intersection(*seen)
