"""Why a person is needed: a relay is not reached, or something is wrong with it, with a tree on it, or with a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import inventory
from common import exit_codes
from common.release import RELEASE
from deploy.plan import Change
from fleet.list_state import ListState
from inventory import Inventory
from inventory.model import Customer
from receiver.formatting import escape, format_age
from receiver.monitoring import refusal_alarms
from receiver.outcome import AHEAD
from receiver.store.alarms import SILENT
from roles.relay import Facts

NOT_RUN = 1_800  # seconds after which a relay's timer ought to have run: it does every five minutes
NOT_TRIED = 600  # seconds after which a relay ought to have tried to follow the store: it does each minute


class Problem(NamedTuple):
    """Why a person is needed."""

    kind: str  # a word or two, for a table
    text: str
    urgent: bool = True  # it needs somebody; else it is a notice: all is going as it should


NOT_REACHED = "not reached"
"""What became of a relay that could not be asked, in tables, last lines and JSON."""


def not_reached(why: Exception) -> Problem:
    """Return that a relay could not be asked, by the error that says why."""
    return Problem(NOT_REACHED, f"{NOT_REACHED}: {why}")


def customers_unknown(why: Exception) -> Problem:
    """Return the notice about a relay that could not be asked and should not have these customers: it may have them."""
    return Problem(NOT_REACHED, f"{NOT_REACHED}, so nobody knows whether it still has them: {why}", urgent=False)


def keys_unknown(relay: str, why: object) -> str:
    """Return the sentence about a relay that could not be asked which keys it has seen."""
    return f"{relay} was {NOT_REACHED}, so nobody knows what it has seen: {why}"


def figures_unknown(relay: str, why: Exception) -> str:
    """Return the sentence about a relay that could not be asked for the figures of `inv report`."""
    return f"{relay}: {NOT_REACHED}, and the page says so: {why}"


def relay_problems(
    relay: str, everything: Inventory, facts: Facts, clock: int, changes: Iterable[Change]
) -> Iterator[Problem]:
    """Yield what of a relay needs somebody; `clock`: ours when it was asked, `changes`: what a plan would do there."""
    theirs = {one.id for one in everything.customers.values() if relay in one.relays}
    if not (theirs or facts.customers):
        return  # it is nobody's relay, or no longer
    changed = {f"{one.item.kind} {one.item.name}" for one in changes if _is_its_own(one)}
    if facts.release != RELEASE:
        yield Problem("release", f"{_format_release(facts.release)}, this is {RELEASE}")
    elif changed:
        yield Problem("drift", f"is not as wanted: {', '.join(sorted(changed))}")
    if abs(ahead := facts.clock - clock) > AHEAD:
        way = "ahead of" if ahead > 0 else "behind"
        yield Problem("clock", f"its clock is {abs(ahead) // 60} minutes {way} this machine's")
    yield from _timer_problems(facts)
    yield from _store_problems(facts)
    if strangers := sorted({*facts.customers} - theirs - everything.unread):
        what = f"has customers this inventory does not put on it: {', '.join(strangers)}"
        yield Problem("customers", f"{what}; {_farewell(everything, strangers[0], relay)}")


def _timer_problems(facts: Facts) -> Iterator[Problem]:
    """Yield that a relay's timer runs no more, or else what it found of the relay in its last run."""
    if not facts.timer:
        return
    silent = facts.clock - facts.timer["ran"]
    if silent > NOT_RUN:
        text = f"its timer has not run for {format_age(silent)}: it raises no alarm, and opens no domain"
        yield Problem("timer", f"{text}; does cron or postern.timer run, or does `postern tick` hang there?")
        return
    for kind, text in facts.timer["alarms"]:
        yield Problem(escape(kind, 40), escape(text, 1_000))


def _store_problems(facts: Facts) -> Iterator[Problem]:
    """Yield that a relay does not follow the store, in words that all relays use of one database that is down."""
    if not facts.has_store or not facts.followed:
        return
    why, tried = escape(facts.followed["why"], 300), facts.clock - facts.followed["tried"]
    if tried > NOT_TRIED:
        yield Problem("store", f"has not tried to follow the store for {format_age(tried)}: its timer does not run")
    elif why:
        is_urgent = facts.clock - facts.followed["reached"] > SILENT
        yield Problem("store", f"does not follow the store: {why}", is_urgent)


def tree_problems(changes: Iterable[Change], release: str) -> Iterator[Problem]:
    """Yield what of a customer's tree differs; on another release settings.json does anyway."""
    for change in changes:
        before, wanted = ((state or {}).get("files", {}) for state in (change.before, change.item.wanted))
        files = {name for name in {*before, *wanted} if before.get(name) != wanted.get(name)}
        if release != RELEASE and files == {"settings.json"}:
            continue
        named = f": {', '.join(sorted(files))}" if before and files else ""
        yield Problem("drift", f"{change.item.name} is not as wanted{named}")


def list_problems(customer: Customer, found: ListState) -> Iterator[Problem]:
    """Yield what the relay's own timer would, what came to nothing just now, and which domains wait for a list.

    That a list is held says nothing of domains that are open beside it, so both are named.
    """
    for alarm in found.alarms:
        yield Problem(alarm.kind.partition(" ")[0], alarm.text, alarm.kind != refusal_alarms.DAILY)
    known = {alarm.kind.partition(" ")[0] for alarm in found.alarms}
    last = found.status.last
    if last and last.code in (exit_codes.REFUSED, exit_codes.FAILED) and not known & {"refused", "unproven"}:
        kind = "refused" if last.code == exit_codes.REFUSED else "failed"
        yield Problem(kind, f"last upload: {found.line.partition(': ')[2]}")
    waiting = [domain for domain in customer.domains if domain not in found.status.in_force.accepted.domains]
    if waiting and not found.status.opened:  # which names them all
        yield Problem("first list", f"open until a list is accepted: {', '.join(waiting)}")


def _format_release(release: str) -> str:
    return f"has release {release}" if release else "has no receiver of ours"


def _is_its_own(change: Change) -> bool:
    """Return whether it is nobody's tree, and not only built again because of a change before it."""
    return not change.item.about and change.before != change.item.wanted


def _farewell(everything: Inventory, stranger: str, relay: str) -> str:
    if stranger in everything.customers:
        return f"pull the inventory, or `inv retire {stranger} --relay {relay}`"
    if inventory.is_retired(inventory.inventory_path(), stranger):
        return f"`inv retire {stranger}` finishes that"
    return "pull the inventory: whose are they?"
