"""The first screen of a plan: what becomes of each domain, which ones open or close, and who answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from common.adopted_domains import closing_parameter, closing_tables, is_closed_by_maps
from common.main_cf_params import RECIPIENTS, ROUTES
from console.grouping import NAMED, group_names, name_some
from deploy.items import State
from deploy.plan import Plan
from fleet.adoption import CLOSED, OPEN, Standing
from fleet.spool_data import accepted_of
from inventory.model import Customer
from receiver.formatting import escape
from receiver.lists.accepted import Accepted
from roles import relay as relay_role
from roles.relay import Facts
from roles.relay.customer import tree_files, tree_settings

_OTHERS = 2  # rank of a domain that neither closes nor opens
OURS, NOBODY = "our list", "nobody is refused"


class DomainState(NamedTuple):
    """Whether a domain refuses unlisted recipients, and which list decides."""

    is_open: bool
    answers: str


class DomainChange(NamedTuple):
    """A domain before and after the plan; None: the relay does not know the domain."""

    domain: str
    before: DomainState | None
    after: DomainState | None
    customer: str = ""  # whose it is, or was
    giver: str = ""  # whose it was, where it goes from one customer to another


def screen_lines(changes: Sequence[DomainChange]) -> list[str]:
    """Return what becomes of the domains that change, those alike in one line: first that close, then that open.

    Of those that close or open all are named, of others some.
    """
    some = [one for one in changes if one.before != one.after or one.giver]
    ordered = sorted(some, key=lambda one: (_rank(one), one.domain))
    alike = group_names((one.domain, (_rank(one), _text(one))) for one in ordered)
    return [
        f"{escape(name_some(names, len(names) if rank < _OTHERS else NAMED), 20_000)}: {text}"
        for (rank, text), names in alike.items()
    ]


def _rank(change: DomainChange) -> int:
    return {("open", "closed"): 0, ("closed", "open"): 1}.get(_words(change), _OTHERS)


def find_changes(
    customers: Sequence[Customer], plan: Plan, facts: Facts, after: Facts, spools: State | None, standing: Standing
) -> list[DomainChange]:
    """Return the domains whose state a plan changes, as far as it changes the customers' trees."""
    trees = {one.item.about: one.before for one in plan.changes if one.item.kind == "tree" and one.item.about}
    changes = [
        change
        for one in customers
        if one.id in trees
        for change in _of_customer(one, trees[one.id], facts, after, spools, standing)
    ]
    return [*join_moves(changes)]


def join_moves(changes: Sequence[DomainChange]) -> Iterator[DomainChange]:
    """Yield a domain that one customer loses and another gains as one change: it never leaves the relay."""
    gained = {one.domain for one in changes if one.after is not None}
    lost = {one.domain: one for one in changes if one.after is None and one.domain in gained}
    for one in changes:
        if one.after is not None and (giver := lost.get(one.domain)):
            yield one._replace(before=giver.before, giver=giver.customer)
        elif one.after is not None or one.domain not in lost:
            yield one


def _of_customer(
    customer: Customer, before: State | None, facts: Facts, after: Facts, spools: State | None, standing: Standing
) -> Iterator[DomainChange]:
    accepted = accepted_of(spools, customer.id)
    settings = relay_role.settings(customer)._replace(closed_by=after.closed_by.get(customer.id, {}))
    opens = accepted.opens(settings, facts.clock)
    tree = tree_settings(tree_files(before))
    for name in dict.fromkeys([*customer.domains, *_names(tree, "domains")]):
        was = _state_before(name, tree, accepted, facts.closed_by.get(customer.id, {}), standing.get(name))
        will = _state(name, name in opens, settings.closed_by) if name in customer.domains else None
        yield DomainChange(name, was, will, customer.id)


def _state_before(
    name: str,
    tree: Mapping[str, object],
    accepted: Accepted,
    closed_by: Mapping[str, str],
    one: Mapping[str, Any] | None,
) -> DomainState | None:
    """Return how a domain stands today: as strangers were told, or as our list has it where it is ours already."""
    if name in _names(tree, "domains"):
        is_open = name not in accepted.domains or name in _names(tree, "partial")
        return _state(name, is_open and name not in closed_by, closed_by)
    if one is None or one["state"] not in (CLOSED, OPEN):
        return None
    if one["state"] == CLOSED:
        return DomainState(is_open=False, answers=f"{one['by']} ({', '.join(one['tables'])})")
    where = ", ".join(one["tables"])
    return DomainState(is_open=True, answers=f"{one['by']} {where}: {one['entry']}" if one["by"] else NOBODY)


def _state(name: str, is_open: bool, closed_by: Mapping[str, str]) -> DomainState:
    closer = closed_by.get(name, "")
    if not closer:
        return DomainState(is_open, NOBODY if is_open else OURS)
    tables = ", ".join(closing_tables(closer))
    beside = " beside our list" if is_closed_by_maps(closer) else ""
    return DomainState(is_open=False, answers=f"{closing_parameter(closer)} ({tables}){beside}")


def _names(tree: Mapping[str, object], key: str) -> list[str]:
    found = tree.get(key)
    return [str(name) for name in found] if isinstance(found, list) else []


def _words(change: DomainChange) -> tuple[str, str]:
    return _word(change.before), _word(change.after)


def _word(state: DomainState | None) -> str:
    if state is None:
        return "not here"
    return "open" if state.is_open else "closed"


def _text(change: DomainChange) -> str:
    warning = _closer_warning(change)
    way = escape(_format_change(change), 600)
    return f"{way}; {warning}" if warning else way


def _format_change(change: DomainChange) -> str:
    """Return how a domain stands and will stand, and who answers for it."""
    before, after = _words(change)
    if change.after is None:
        return "leaves this relay"
    if change.before is None:
        return f"new on this relay, {after}: {change.after.answers}"
    way = f"{before} to {after}" if before != after else f"stays {after}"
    if change.giver:
        way = f"goes from {change.giver} to {change.customer}, {way}"
    return f"{way}; who answers: today {change.before.answers}, then {change.after.answers}"


def _closer_warning(change: DomainChange) -> str:
    """Return what the table that closed a domain so far goes on doing to people whom our list alone has."""
    before = change.before.answers.partition(" ")[0] if change.before else ""
    if before.startswith("smtpd_"):
        until = f"until the table is taken out of {before}"
        return f"new people will get its refusal (554) {until}, and `inv verify` fails on them"
    if before == ROUTES:
        return "our route comes in front of it once our list is in force"
    return f"what {RECIPIENTS} has besides goes on taking whom it lists" if before == RECIPIENTS else ""
