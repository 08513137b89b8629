"""What each relay says beside what is wanted, and what of it needs a person."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import inventory
from commands import fleet, needs, screen, spool, standing
from commands.fleet import Refused
from commands.needs import Need
from commands.spool import Damaged
from deploy.plan import HostError, Plan
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver import report, schedule
from receiver.alarms import STALE
from receiver.report import moment
from roles import postfix
from roles.postfix import Now

OF_LISTS = ("customer", "relay", "recipients", "last good (UTC)", "last change (UTC)", "last run", "key")
COLUMNS = (*OF_LISTS, "needs a person")


class Row(NamedTuple):
    """How one customer's list stands on one relay."""

    customer: str
    relay: str
    needs: tuple[Need, ...]
    total: int | None = None  # recipients in force
    list: str | None = None  # their SHA-256; empty: there is no list; None: the relay does not say
    good: int = 0  # when the last good upload came, epoch seconds; 0: none has
    changed: int = 0  # when the list in force last changed; 0: there is none
    did: str = ""  # what the last run did
    key: str = ""  # the one used last
    key_days: int | None = None  # its age
    heard: int = 0  # when the last usable export came; 0: none has


class Look(NamedTuple):
    """What one relay said, and what differs there from what is wanted."""

    now: Now
    clock: int  # ours, at that moment
    spools: Mapping[str, Any]
    plan: Plan


Looks = Mapping[str, Look | HostError | Refused]


def status(customer: str, as_json: bool) -> int:
    """Ask every relay once, show a row for each customer on it; PERSON if anything needs one."""
    everything = inventory.load(inventory.where())
    customers = fleet.chosen(everything, customer, every=not customer)
    relays = fleet.relays_of(everything, customers) if customer else _known(everything)
    found = fleet.side_by_side(relays, partial(_look, customers=customers), "asking")
    rows = _alike([row for one in customers for row in _rows(one, found)])
    relays_need = {name: tuple(_relay_needs(name, look, everything, rows)) for name, look in found.items()}
    rows = [_without_outage(row, relays_need[row.relay]) for row in rows]
    if as_json:
        screen.document(_document(relays_need, rows))
    else:
        _show(relays_need, rows)
    return report.PERSON if any(relays_need.values()) or any(row.needs for row in rows) else report.DONE


# ---- what the relays say


def _known(everything: Inventory) -> tuple[Relay, ...]:
    """Give the relays that can be asked, or must be: one that was only written down is nobody's relay yet."""
    theirs = {relay.name for relay in fleet.relays_of(everything, everything.customers.values())}
    return tuple(relay for name, relay in everything.relays.items() if relay.host_keys or name in theirs)


def _look(relay: Relay, customers: Sequence[Customer]) -> Look:
    theirs = [customer for customer in customers if relay.name in customer.relays]
    with fleet.reached(relay) as host:
        *asked, spools = host.read([*postfix.asked(relay), postfix.spools(theirs, lists=True)])
        now = Now.of(asked[0])
        return Look(now, int(time.time()), spools or {}, Plan.of(host, postfix.items(relay, theirs, now)))


def _relay_needs(
    name: str, look: Look | HostError | Refused, everything: Inventory, rows: Sequence[Row]
) -> Iterator[Need]:
    """Say what of a relay as a whole needs a person."""
    if not isinstance(look, Look):
        yield Need("not reached", f"not reached: {look}")
        return
    yield from needs.of_relay(name, everything, look.now, look.clock, look.plan.changes)
    here = [row for row in rows if row.relay == name]
    stale = [row.customer for row in here if any(need.kind == STALE for need in row.needs)]
    if text := schedule.outage(stale, sum(1 for row in here if row.heard)):
        yield Need(STALE, text)


# ---- what that means for the customers


def _rows(customer: Customer, found: Looks) -> Iterator[Row]:
    """Give a row for each relay that was reached; what was not is told of the relay, once."""
    for relay in customer.relays:
        look = found[relay]
        if isinstance(look, Look):
            yield _row(customer, relay, look)


def _row(customer: Customer, relay: str, look: Look) -> Row:
    drift = [change for change in look.plan.changes if change.item.about == customer.id]
    facts = look.spools.get(customer.id)
    if facts is None:
        return Row(customer.id, relay, (Need("not set up", "not set up here: provision it"),))
    try:
        if isinstance(facts, str):
            raise Damaged(facts)
        seen = spool.found(postfix.settings(customer), facts, look.clock)
    except Damaged as error:
        return Row(customer.id, relay, (Need("damaged", str(error)),))
    today = datetime.fromtimestamp(look.clock, UTC).date()
    keys = seen.status.keys
    in_use = max(keys, key=lambda name: keys[name]["last"], default="")
    losses = [loss for change in drift for loss in change.losses()]
    return Row(
        customer.id,
        relay,
        (
            *needs.of_tree(drift, look.now.release),
            *needs.of_list(customer, seen),
            *(Need("key", text) for text in standing.needs(customer, keys, losses, today)),
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
    differ = Need("differ", "its relays have different lists")
    return [
        row._replace(needs=(*row.needs, differ)) if row.list is not None and len(lists[row.customer]) > 1 else row
        for row in rows
    ]


def _without_outage(row: Row, relay: Sequence[Need]) -> Row:
    """Say of a customer that it is stale only where that is not said of its whole relay."""
    if not any(need.kind == STALE for need in relay):
        return row
    return row._replace(needs=tuple(need for need in row.needs if need.kind != STALE))


# ---- show


def _document(relays: Mapping[str, Sequence[Need]], rows: Sequence[Row]) -> dict[str, Any]:
    customers = [{**row._asdict(), "needs": [need._asdict() for need in row.needs]} for row in rows]
    return {"relays": {name: [one._asdict() for one in each] for name, each in relays.items()}, "customers": customers}


def _show(relays: Mapping[str, Sequence[Need]], rows: Sequence[Row]) -> None:
    """Print a row for each list, and for each relay that needs somebody; on a terminal the sentences come below."""
    brief = screen.is_terminal()
    none = [""] * len(OF_LISTS[2:])
    of_relays = [("(relay)", name, *none, _told(each, brief)) for name, each in relays.items() if each]
    screen.table(COLUMNS, [*of_relays, *((*_cells(row), _told(row.needs, brief)) for row in rows)])
    if brief:
        _show_sentences(relays, rows)


def _cells(row: Row) -> tuple[str, ...]:
    key = row.key if row.key_days is None else f"{row.key}, {row.key_days} days"
    total = "" if row.total is None else str(row.total)
    return (row.customer, row.relay, total, _shown(row.good), _shown(row.changed), row.did, key)


def _told(some: Iterable[Need], brief: bool) -> str:
    return ", ".join(dict.fromkeys(need.kind for need in some)) if brief else "; ".join(need.text for need in some)


def _shown(when: int) -> str:
    return moment(when).removesuffix(" UTC") if when else "never"


def _show_sentences(relays: Mapping[str, Sequence[Need]], rows: Sequence[Row]) -> None:
    """Print each sentence once, with all the relays it is true of."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for need in row.needs:
            where.setdefault((row.customer, need.text), []).append(row.relay)
    for name, each in relays.items():
        for need in each:
            screen.note(f"{name}: {need.text}")
    for (customer, text), there in where.items():
        screen.note(f"{customer} on {', '.join(there)}: {text}")
