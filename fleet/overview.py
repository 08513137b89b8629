"""What every relay says of itself and of the lists on it, held against what is wanted: which of it needs a person."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import inventory
from console.errors import Refused
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import adoption, key_state, kit_state, list_state, problems, spool_data
from fleet.list_state import DamagedSpool
from fleet.problems import Problem
from fleet.relays import relays_of
from fleet.status_view import Overview, Row
from inventory import Inventory, InventoryError
from inventory.model import Customer, Relay
from receiver.monitoring import schedule
from receiver.monitoring.alarms import STALE
from roles import relay as relay_role
from roles.relay import Facts


class RelayState(NamedTuple):
    """What was read of one relay, and what differs there from what is wanted."""

    facts: Facts
    clock: int  # ours, at that moment
    spools: Mapping[str, Any]
    plan: Plan


RelayStates = Mapping[str, RelayState | HostError | Refused]


def relays_to_ask(everything: Inventory) -> tuple[Relay, ...]:
    """Return the relays that can be asked, or must be: one that was only written down is nobody's relay yet."""
    theirs = {relay.name for relay in relays_of(everything, everything.customers.values())}
    return tuple(relay for name, relay in everything.relays.items() if relay.host_keys or name in theirs)


def read_relay_state(host: RelayHost, relay: Relay, customers: Sequence[Customer]) -> RelayState:
    """Return what a relay says of those of the customers that are on it. Raises HostError."""
    theirs = [customer for customer in customers if relay.name in customer.relays]
    *asked, spools = host.read([*relay_role.facts_items(relay), relay_role.list_status_item(theirs, lists=True)])
    facts = Facts.of(asked[0])
    there = [customer for customer in theirs if customer.id in facts.customers]  # the others are not set up yet
    wanted = relay_role.items(relay, there, adoption.after_release(facts, spools))
    return RelayState(facts, int(time.time()), spools or {}, Plan.of(host, wanted))


def make_overview(
    everything: Inventory, customers: Sequence[Customer], found: RelayStates, wanted: Container[str]
) -> Overview:
    """Return what needs a person, of each relay and of each list on it.

    `wanted`: the relays that the customers should be on; of any other it is said only where one of them is left there.
    """
    rows = _with_differences(
        [row for one in customers for row in _with_kit(everything, one, found, [*_rows(one, found)])]
    )
    relays_need = {
        name: tuple(_relay_needs(name, look, everything, rows) if name in wanted else _leftovers(name, look, customers))
        for name, look in found.items()
    }
    return Overview(relays_need, [_without_outage(row, relays_need[row.relay]) for row in rows])


def _relay_needs(
    name: str, look: RelayState | HostError | Refused, everything: Inventory, rows: Sequence[Row]
) -> Iterator[Problem]:
    """Yield what of a relay as a whole needs a person."""
    if not isinstance(look, RelayState):
        yield problems.not_reached(look)
        return
    yield from problems.relay_problems(name, everything, look.facts, look.clock, look.plan.changes)
    here = [row for row in rows if row.relay == name]
    stale = [row.customer for row in here if any(need.kind == STALE for need in row.needs)]
    if text := schedule.describe_outage(stale, sum(1 for row in here if row.heard)):
        yield Problem(STALE, text)


def _leftovers(name: str, look: RelayState | HostError | Refused, customers: Sequence[Customer]) -> Iterator[Problem]:
    """Yield which of these customers a relay has although the inventory does not put them there."""
    if not isinstance(look, RelayState):
        yield problems.customers_unknown(look)
        return
    for customer in customers:
        if customer.id in look.facts.customers:
            text = f"still has {customer.id}, which the inventory does not put there"
            yield Problem("customers", f"{text}: `inv retire {customer.id} --relay {name}`")


# ---- what that means for the customers


def _rows(customer: Customer, found: RelayStates) -> Iterator[Row]:
    """Yield a row for each relay that was reached; a relay that was not is a problem of its own, named once."""
    for relay in customer.relays:
        look = found.get(relay)
        if isinstance(look, RelayState):
            yield _row(customer, relay, look)


def _with_kit(everything: Inventory, customer: Customer, found: RelayStates, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a customer with a problem added where somebody must carry a kit."""
    if customer.exchange.reach != "kit":
        return [*rows]
    looks = {name: look for name in customer.upload_relays if isinstance(look := found.get(name), RelayState)}
    seen = {name: spool_data.key_uses(look.spools, customer.id) for name, look in looks.items()}
    try:
        state = kit_state.read_kit_state(inventory.inventory_path(), customer, everything.relays, seen)
        needs = tuple(kit_state.kit_problems(state))
    except InventoryError as error:
        needs = (Problem("kit", str(error)),)
    return [row._replace(needs=(*row.needs, *needs)) for row in rows]


def _row(customer: Customer, relay: str, look: RelayState) -> Row:
    drift = [change for change in look.plan.changes if change.item.about == customer.id]
    spool = look.spools.get(customer.id)
    if spool is None:
        text = f"not set up here: `inv provision {customer.id}` does it"
        return Row(customer.id, relay, (Problem("not set up", text),))
    try:
        if isinstance(spool, str):
            raise DamagedSpool(spool)
        seen = list_state.read_list_state(relay_role.settings(customer), spool, look.clock)
    except DamagedSpool as error:
        return Row(customer.id, relay, (Problem("damaged", str(error)),))
    today = datetime.fromtimestamp(look.clock, UTC).date()
    keys = seen.status.keys
    opens = relay in customer.upload_relays  # no key opens a follower, so nothing is to be said of keys there
    in_use = max(keys, key=lambda name: keys[name]["last"], default="")
    losses = [loss for change in drift for loss in change.removals()]
    return Row(
        customer.id,
        relay,
        (
            *problems.tree_problems(drift, look.facts.release),
            *problems.list_problems(customer, seen),
            *(key_state.key_problems(customer, keys, losses, today) if opens else ()),
        ),
        seen.total,
        seen.digest,
        seen.good,
        seen.changed,
        seen.status.last.did if seen.status.last else "",
        in_use,
        next((key.age(today) for key in customer.keys if key.name == in_use), None),
        seen.status.heard,
        f"{seen.status.unlisted}, now defer" if seen.status.is_put_off else seen.status.unlisted,
    )


def _with_differences(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a problem added where another relay of the customer has another list."""
    lists: dict[str, set[str]] = {}
    for row in rows:
        if row.list is not None:
            lists.setdefault(row.customer, set()).add(row.list)
    differ = Problem("differ", "its relays have different lists")
    return [
        row._replace(needs=(*row.needs, differ)) if row.list is not None and len(lists[row.customer]) > 1 else row
        for row in rows
    ]


def _without_outage(row: Row, relay: Sequence[Problem]) -> Row:
    """Return the problems without those of stale customers where their whole relay is said to be stale."""
    if not any(need.kind == STALE for need in relay):
        return row
    return row._replace(needs=tuple(need for need in row.needs if need.kind != STALE))
