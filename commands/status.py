"""What each relay says beside what is wanted, and what of it needs a person."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.plan import HostError, Plan
from fleet import key_state, list_state, problems
from fleet.list_state import DamagedSpool
from fleet.problems import Problem
from fleet.relays import connect, relays_of, run_parallel, select_customers
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver.formatting import format_time
from receiver.monitoring import schedule
from receiver.monitoring.alarms import STALE
from roles import relay as relay_role
from roles.relay import Facts

OF_LISTS = ("customer", "relay", "recipients", "last good (UTC)", "last change (UTC)", "last run", "key")
COLUMNS = (*OF_LISTS, "needs a person")


class Row(NamedTuple):
    """How one customer's list stands on one relay."""

    customer: str
    relay: str
    needs: tuple[Problem, ...]
    total: int | None = None  # recipients in force
    list: str | None = None  # their SHA-256; empty: there is no list; None: the relay does not say
    good: int = 0  # when the last good upload came, epoch seconds; 0: none has
    changed: int = 0  # when the list in force last changed; 0: there is none
    did: str = ""  # what the last run did
    key: str = ""  # the one used last
    key_days: int | None = None  # its age
    heard: int = 0  # when the last usable export came; 0: none has


class RelayState(NamedTuple):
    """What one relay said, and what differs there from what is wanted."""

    now: Facts
    clock: int  # ours, at that moment
    spools: Mapping[str, Any]
    plan: Plan


RelayStates = Mapping[str, RelayState | HostError | Refused]


def status(customer: str, as_json: bool) -> int:
    """Ask every relay once, show a row for each customer on it; PERSON if anything needs one."""
    everything = inventory.load(inventory.inventory_path())
    customers = select_customers(everything, customer, every=not customer)
    relays = relays_of(everything, customers) if customer else _relays_to_ask(everything)
    found = run_parallel(relays, partial(_look, customers=customers), "asking")
    rows = _alike([row for one in customers for row in _rows(one, found)])
    relays_need = {name: tuple(_relay_needs(name, look, everything, rows)) for name, look in found.items()}
    rows = [_without_outage(row, relays_need[row.relay]) for row in rows]
    if as_json:
        terminal.document(_document(relays_need, rows))
    else:
        _show(relays_need, rows)
    return exit_codes.PERSON if any(relays_need.values()) or any(row.needs for row in rows) else exit_codes.DONE


# ---- what the relays say


def _relays_to_ask(everything: Inventory) -> tuple[Relay, ...]:
    """Give the relays that can be asked, or must be: one that was only written down is nobody's relay yet."""
    theirs = {relay.name for relay in relays_of(everything, everything.customers.values())}
    return tuple(relay for name, relay in everything.relays.items() if relay.host_keys or name in theirs)


def _look(relay: Relay, customers: Sequence[Customer]) -> RelayState:
    theirs = [customer for customer in customers if relay.name in customer.relays]
    with connect(relay) as host:
        *asked, spools = host.read([*relay_role.facts_items(relay), relay_role.spools(theirs, lists=True)])
        now = Facts.of(asked[0])
        return RelayState(now, int(time.time()), spools or {}, Plan.of(host, relay_role.items(relay, theirs, now)))


def _relay_needs(
    name: str, look: RelayState | HostError | Refused, everything: Inventory, rows: Sequence[Row]
) -> Iterator[Problem]:
    """Say what of a relay as a whole needs a person."""
    if not isinstance(look, RelayState):
        yield Problem("not reached", f"not reached: {look}")
        return
    yield from problems.relay_problems(name, everything, look.now, look.clock, look.plan.changes)
    here = [row for row in rows if row.relay == name]
    stale = [row.customer for row in here if any(need.kind == STALE for need in row.needs)]
    if text := schedule.describe_outage(stale, sum(1 for row in here if row.heard)):
        yield Problem(STALE, text)


# ---- what that means for the customers


def _rows(customer: Customer, found: RelayStates) -> Iterator[Row]:
    """Give a row for each relay that was reached; what was not is told of the relay, once."""
    for relay in customer.relays:
        look = found[relay]
        if isinstance(look, RelayState):
            yield _row(customer, relay, look)


def _row(customer: Customer, relay: str, look: RelayState) -> Row:
    drift = [change for change in look.plan.changes if change.item.about == customer.id]
    facts = look.spools.get(customer.id)
    if facts is None:
        return Row(customer.id, relay, (Problem("not set up", "not set up here: provision it"),))
    try:
        if isinstance(facts, str):
            raise DamagedSpool(facts)
        seen = list_state.read_list_state(relay_role.settings(customer), facts, look.clock)
    except DamagedSpool as error:
        return Row(customer.id, relay, (Problem("damaged", str(error)),))
    today = datetime.fromtimestamp(look.clock, UTC).date()
    keys = seen.status.keys
    in_use = max(keys, key=lambda name: keys[name]["last"], default="")
    losses = [loss for change in drift for loss in change.removals()]
    return Row(
        customer.id,
        relay,
        (
            *problems.tree_problems(drift, look.now.release),
            *problems.list_problems(customer, seen),
            *(Problem("key", text) for text in key_state.key_problems(customer, keys, losses, today)),
        ),
        seen.total,
        seen.digest,
        seen.good,
        seen.changed,
        seen.status.last.did if seen.status.last else "",
        in_use,
        next((key.age(today) for key in customer.keys if key.name == in_use), None),
        seen.status.heard,
    )


def _alike(rows: Sequence[Row]) -> list[Row]:
    """Add to each row whether another relay of the customer has another list, as far as they say."""
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
    """Say of a customer that it is stale only where that is not said of its whole relay."""
    if not any(need.kind == STALE for need in relay):
        return row
    return row._replace(needs=tuple(need for need in row.needs if need.kind != STALE))


# ---- show


def _document(relays: Mapping[str, Sequence[Problem]], rows: Sequence[Row]) -> dict[str, Any]:
    customers = [{**row._asdict(), "needs": [need._asdict() for need in row.needs]} for row in rows]
    return {"relays": {name: [one._asdict() for one in each] for name, each in relays.items()}, "customers": customers}


def _show(relays: Mapping[str, Sequence[Problem]], rows: Sequence[Row]) -> None:
    """Print a row for each list, and for each relay that needs somebody; on a terminal the sentences come below."""
    brief = terminal.is_terminal()
    none = [""] * len(OF_LISTS[2:])
    of_relays = [("(relay)", name, *none, _format_problems(each, brief)) for name, each in relays.items() if each]
    terminal.table(COLUMNS, [*of_relays, *((*_cells(row), _format_problems(row.needs, brief)) for row in rows)])
    if brief:
        _show_sentences(relays, rows)


def _cells(row: Row) -> tuple[str, ...]:
    key = row.key if row.key_days is None else f"{row.key}, {row.key_days} days"
    total = "" if row.total is None else str(row.total)
    return (row.customer, row.relay, total, _format_day(row.good), _format_day(row.changed), row.did, key)


def _format_problems(some: Iterable[Problem], brief: bool) -> str:
    return ", ".join(dict.fromkeys(need.kind for need in some)) if brief else "; ".join(need.text for need in some)


def _format_day(when: int) -> str:
    return format_time(when).removesuffix(" UTC") if when else "never"


def _show_sentences(relays: Mapping[str, Sequence[Problem]], rows: Sequence[Row]) -> None:
    """Print each sentence once, with all the relays it is true of."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for need in row.needs:
            where.setdefault((row.customer, need.text), []).append(row.relay)
    for name, each in relays.items():
        for need in each:
            terminal.note(f"{name}: {need.text}")
    for (customer, text), there in where.items():
        terminal.note(f"{customer} on {', '.join(there)}: {text}")
