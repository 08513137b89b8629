"""What a plan for a relay means for mail, as data: domains that open, close, come or go, keys, routes, main.cf."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from common.adopted_domains import closing_parameter
from common.key_line import NAME_WORD
from common.main_cf_params import REJECT, TABLE_OF, members
from deploy.items import Item, State
from inventory.domains import ascii_form
from roles.relay.customer import tree_files, tree_settings

FIRST, DOMAIN, CUSTOMER, ROUTE, MAIN_CF = range(5)
"""Ranks of facts, in the order in which a person reads them: FIRST is what may cost somebody mail, or lets mail in."""
_LONG = 60  # characters of a setting that are shown


class PlanFact(NamedTuple):
    """One thing that a plan changes. Facts of one phrase are printed once, with all their subjects."""

    rank: int
    subject: str  # a domain, a customer, main.cf
    phrase: str


def plan_facts(changes: Iterable[tuple[Item, State | None]]) -> Iterator[PlanFact]:
    """Yield what the changes of a relay's plan mean for mail: items, and what is there now."""
    changes = [*changes]
    trees = [
        (_domains(tree_files(before)), _domains(tree_files(item.wanted)))
        for item, before in changes
        if item.kind == "tree" and item.about
    ]
    lost = {name for had, has in trees for name in had - has}
    gained = {name for had, has in trees for name in has - had}
    for item, before in changes:
        if item.kind == "tree" and item.about:
            yield from _tree_facts(item.about, tree_files(before), tree_files(item.wanted), lost & gained)
        elif item.kind == "main.cf":
            yield from _main_cf_facts(before or {}, item.wanted or {})
        elif item.kind == "routes":
            yield from _route_facts(before or {}, item.wanted or {})


def has_facts(item: Item) -> bool:
    """Return whether plan_facts() says of such an item what it changes."""
    return item.kind in ("main.cf", "routes") or (item.kind == "tree" and bool(item.about))


def _tree_facts(
    customer: str, before: Mapping[str, str], after: Mapping[str, str], moved: Set[str]
) -> Iterator[PlanFact]:
    """Yield what changes of one customer; `moved`: domains that go to another, of which the first screen speaks."""
    old, new = tree_settings(before), tree_settings(after)
    had, has = _domains(before), _domains(after)
    for domain in sorted(has - had - moved):
        yield PlanFact(DOMAIN, domain, f"becomes a relay domain, {_new_domain(domain, new)}")
    for domain in sorted(had - has - moved):
        yield PlanFact(FIRST, domain, "is no relay domain any more")
    for domain in sorted({*old.get("partial", ())} & has - {*new.get("partial", ())}):
        yield PlanFact(FIRST, domain, "closes, who is not listed is refused: no longer partial")
    for domain in sorted({*new.get("partial", ())} & had - {*old.get("partial", ())}):
        yield PlanFact(FIRST, domain, "opens, nobody is refused: partial")
    for key in sorted(_keys(after) - _keys(before)):
        yield PlanFact(CUSTOMER, customer, f"key {key} may upload")
    for key in sorted(_keys(before) - _keys(after)):
        yield PlanFact(FIRST, customer, f"key {key} can upload no longer")
    if before and after:  # of a customer who goes the settings mean nothing any more
        yield from _setting_facts(customer, old, new)
        yield from _other_file_facts(customer, before, after)


def _new_domain(domain: str, settings: Mapping[str, Any]) -> str:
    if closer := settings.get("closed_by", {}).get(domain):
        return f"and {closing_parameter(closer)} goes on closing it until its first list is in force"
    return (
        f"open {'for good: partial' if domain in settings.get('partial', ()) else 'until its first list is accepted'}"
    )


def _setting_facts(customer: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[PlanFact]:
    for name in sorted({*old, *new} - {"domains", "unicode", "partial", "postern", "closed_by"}):
        if old.get(name) != new.get(name):
            was, is_to_be = (json.dumps(each.get(name), ensure_ascii=False) for each in (old, new))
            values = f": {was} -> {is_to_be}" if max(len(was), len(is_to_be)) <= _LONG else " changes"
            yield PlanFact(CUSTOMER, customer, f"{name}{values}")


def _other_file_facts(customer: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[PlanFact]:
    """Yield the files that change without a line of their own: it may be a comment."""
    same = {"relay_domains": _domains, "authorized_keys": _keys, "settings.json": tree_settings}
    for name in sorted({*before, *after} - {"transport"}):
        has_line = name in same and same[name](before) != same[name](after)
        if before.get(name) != after.get(name) and not has_line:
            yield PlanFact(CUSTOMER, customer, f"{name} changes")


def _main_cf_facts(before: State, after: State) -> Iterator[PlanFact]:
    if before.get(REJECT) != after.get(REJECT):
        yield PlanFact(FIRST, "main.cf", f"{REJECT} {before.get(REJECT) or 'unset'} -> {after.get(REJECT) or 'unset'}")
    lists = {name: [{*members(str(each.get(name) or ""))} for each in (before, after)] for name in TABLE_OF}
    counted = [
        " ".join([name, *([f"+{len(new - old)}"] if new - old else []), *([f"-{len(old - new)}"] if old - new else [])])
        for name, (old, new) in lists.items()
        if before.get(name) != after.get(name)
    ]
    if counted:
        yield PlanFact(MAIN_CF, "main.cf", f"{', '.join(counted)} members")


def _route_facts(before: State, after: State) -> Iterator[PlanFact]:
    for domain in sorted(after):
        if before.get(domain) != after[domain]:
            yield PlanFact(ROUTE, domain, f"mail goes on to {after[domain]}")


def _domains(files: Mapping[str, str]) -> set[str]:
    words = {line.split()[0] for line in _lines(files, "relay_domains")}
    return {_ascii(word) for word in words}


def _ascii(domain: str) -> str:
    try:
        return ascii_form(domain)
    except ValueError:  # somebody's hand wrote it there
        return domain


def _keys(files: Mapping[str, str]) -> set[str]:
    return {line.split()[NAME_WORD] for line in _lines(files, "authorized_keys")}


def _lines(files: Mapping[str, str], name: str) -> list[str]:
    return [line for line in files.get(name, "").splitlines() if line.strip() and not line.startswith("#")]
