"""What each relay says beside what is wanted; and verify's questions over SMTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import inventory
from commands import fleet, screen, standing
from commands.fleet import Refused
from deploy.plan import HostError, Plan
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver import RELEASE, report
from receiver.report import moment
from roles import postfix
from roles.postfix import Now

CLOCKS = timedelta(minutes=10)  # that two machines' clocks may differ by
LATE = 2  # exports may be missed before anybody is told


class Row(NamedTuple):
    """How one customer's list stands on one relay."""

    customer: str
    relay: str
    total: int | None  # recipients in force after the last run
    list: str | None  # SHA-256 of the list accepted last; empty: none has been; None: the relay does not say
    good: int  # when the last good upload came, epoch seconds; 0: none
    last: str  # what the last run came to
    key: str  # the key used last
    key_days: int | None  # its age
    needs: tuple[str, ...]  # a person, and why


class Look(NamedTuple):
    """What one relay said, and what differs there from what is wanted."""

    now: Now
    spools: Mapping[str, Any]
    plan: Plan


def status(customer: str, as_json: bool) -> int:
    """Ask every relay once, show a row for each customer on it; PERSON if anything needs one."""
    everything = inventory.load(inventory.where())
    customers = fleet.chosen(everything, customer, every=not customer)
    found = fleet.side_by_side(fleet.relays_of(everything, customers), lambda relay: _look(relay, customers), "asking")
    rows = _alike(list(_rows(everything, customers, found, datetime.now(UTC))))
    relays = {name: _relay_needs(look) for name, look in found.items()}
    if as_json:
        screen.document({"relays": relays, "customers": [row._asdict() for row in rows]})
    else:
        _show(rows, relays)
    return report.PERSON if any(relays.values()) or any(row.needs for row in rows) else report.DONE


def verify(customer: str) -> int:
    """Have every relay of the customer asked over SMTP; PROOF if one does not answer as it should."""
    everything = inventory.load(inventory.where())
    customers = fleet.chosen(everything, customer, every=False)

    def ask(relay: Relay) -> str:
        with fleet.reached(relay) as host:
            (said,) = host.read([postfix.answers(relay, customers)])
        wrong = list(_wrong(said or {}))
        if wrong:
            raise _WrongAnswerError("\n".join(wrong))
        return f"{sum(map(len, (said or {}).values()))} addresses asked, all answered as they should be"

    answers = fleet.side_by_side(fleet.relays_of(everything, customers), ask, "asking")
    return report.worst([fleet.told(name, answer) for name, answer in answers.items()])


class _WrongAnswerError(HostError):
    """A relay takes whom it should refuse, or the other way."""

    code = report.PROOF


def _wrong(said: Mapping[str, Sequence[Sequence[str]]]) -> Iterator[str]:
    for asked in said.values():
        for address, wanted, answer in asked:
            if not answer.startswith(wanted):
                yield f"{address}: should get {wanted}, got {answer}"


# ---- what the relays say


def _look(relay: Relay, customers: Sequence[Customer]) -> Look:
    theirs = [customer for customer in customers if relay.name in customer.relays]
    with fleet.reached(relay) as host:
        *asked, spools = host.read([*postfix.asked(relay), postfix.spools(theirs)])
        now = Now.of(asked[0])
        return Look(now, spools or {}, Plan.of(host, postfix.items(relay, theirs, now)))


def _relay_needs(look: Look | HostError | Refused) -> tuple[str, ...]:
    """Say what of a relay as a whole needs a person."""
    if not isinstance(look, Look):
        return (f"not reached: {look}",)
    drift = sorted({f"{change.item.kind} {change.item.name}" for change in look.plan.changes if not change.item.about})
    release = (f"has release {look.now.release or 'none'}, this is {RELEASE}",) if look.now.release != RELEASE else ()
    return (*release, *((f"is not as wanted: {', '.join(drift)}",) if drift and not release else ()))


# ---- what that means for the customers


def _rows(
    everything: Inventory,
    customers: Sequence[Customer],
    found: Mapping[str, Look | HostError | Refused],
    now: datetime,
) -> Iterator[Row]:
    for customer in customers:
        for relay in customer.relays:
            look = found[everything.relays[relay].name]
            if isinstance(look, Look):
                yield _row(customer, relay, look, now)
            else:
                yield Row(customer.id, relay, None, None, 0, "relay not reached", "", None, ("relay not reached",))


def _row(customer: Customer, relay: str, look: Look, now: datetime) -> Row:
    spool = look.spools.get(customer.id)
    if not isinstance(spool, Mapping):
        return Row(customer.id, relay, None, None, 0, "", "", None, (spool or "not set up here: provision it",))
    damaged = tuple(said for said in spool.values() if isinstance(said, str))
    facts = {name: said if isinstance(said, Mapping) else {} for name, said in spool.items()}
    accepted, last, keys = facts["accepted"].get("domains", {}), facts["last_run"], facts["keys"]
    drift = [change for change in look.plan.changes if change.item.about == customer.id]
    losses = [loss for change in drift for loss in change.losses()]
    in_use = max(keys, key=lambda name: keys[name]["last"], default="")
    return Row(
        customer.id,
        relay,
        last.get("total"),
        str(facts["accepted"].get("list", "")),
        min((int(accepted.get(domain, 0)) for domain in customer.domains), default=0),
        str(last.get("line", "nothing has come yet")).removeprefix(f"{customer.id}: "),
        in_use,
        next((key.age(now.date()) for key in customer.keys if key.name == in_use), None),
        (
            *damaged,
            *(f"{change.item.name} is not as wanted" for change in drift),
            *_list_needs(customer, facts, now),
            *standing.needs(customer, keys, losses, now.date()),
        ),
    )


def _list_needs(customer: Customer, facts: Mapping[str, Mapping[str, Any]], now: datetime) -> Iterator[str]:
    accepted, held, last = facts["accepted"].get("domains", {}), facts["held"], facts["last_run"]
    waiting = [domain for domain in customer.domains if domain not in accepted]
    if held.get("reasons"):
        yield f"held since {moment(held['since'])}: {'; '.join(held['reasons'])}"
    elif waiting:
        yield f"open, no accepted list yet: {', '.join(waiting)}"
    if facts["pinned"]:
        yield f"pinned since {moment(facts['pinned'].get('since', 0))}"
    if last.get("did") in ("refused", "failed") or last.get("trouble"):
        yield f"last upload: {last['did']}: {last.get('trouble') or last.get('why')}"
    if accepted:
        yield from _age_needs(customer, min(accepted.values()), now)


def _age_needs(customer: Customer, good: int, now: datetime) -> Iterator[str]:
    schedule = customer.exchange.schedule
    due = schedule.last_start(customer.id, now - timedelta(minutes=LATE * schedule.every_minutes))
    came = datetime.fromtimestamp(good, UTC)
    if came > now + CLOCKS:
        yield f"last good upload is in the future ({moment(good)}): a clock is wrong"
    elif came < due:
        yield f"stale: last good upload {moment(good)}, the schedule wanted one at {due:%Y-%m-%d %H:%M %Z}"


def _alike(rows: list[Row]) -> list[Row]:
    """Add to each row whether another relay of the customer has another list, as far as they say."""
    lists: dict[str, set[tuple[int | None, str]]] = {}
    for row in rows:
        if row.list is not None:
            lists.setdefault(row.customer, set()).add((row.total, row.list))
    return [
        row._replace(needs=(*row.needs, "its relays have different lists"))
        if row.list is not None and len(lists[row.customer]) > 1
        else row
        for row in rows
    ]


# ---- show


def _show(rows: Sequence[Row], relays: Mapping[str, tuple[str, ...]]) -> None:
    screen.table(
        ("customer", "relay", "recipients", "last good upload", "key", "last run", "needs a person"),
        [
            (
                row.customer,
                row.relay,
                "" if row.total is None else str(row.total),
                moment(row.good) if row.good else "never",
                row.key if row.key_days is None else f"{row.key}, {row.key_days} days",
                row.last,
                "; ".join(row.needs),
            )
            for row in rows
        ],
    )
    for name, needs in relays.items():
        for text in needs:
            screen.note(f"{name}: {text}")
