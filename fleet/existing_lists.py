"""Whom relays take today by lists that somebody else keeps: what is taken over, why nothing is, what else to know.

Pure: from what remote.postfix.existing_recipients read on each relay to sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from common.main_cf_params import RECIPIENTS, ROUTES
from console.grouping import name_some
from fleet import adoption
from fleet.adoption import CLOSED, OPEN
from receiver.formatting import escape

_NAMED = 20  # names in a sentence
OTHER_CLASSES = ("local", "virtual alias", "virtual mailbox")

Found = Mapping[str, Mapping[str, Any]]
"""By relay, what was read there."""


class ExistingList(NamedTuple):
    """The list to be adopted, made of the relays' own lists."""

    recipients: tuple[str, ...]
    reasons: tuple[str, ...]  # why no list is taken over; empty: one is
    notes: tuple[str, ...] = ()  # what else makes it a first list, to be looked at like any


def unite(found: Found, given: Iterable[str] = ()) -> ExistingList:
    """Return the union of whom the relays take, and of addresses `given` by hand.

    Where one relay takes everybody, or cannot list whom it takes, the relays' own lists alone are not the whole.
    """
    reasons = [f"{name}: {reason}" for name, state in found.items() for reason in _reasons(state)]
    people = {address for state in found.values() for address in _recipients(state)} | {*given}
    if not people and not reasons:
        reasons = ["no relay has a list of people in the customer's domains"]
    opened = [f"{name}: {why}" for name, state in found.items() for why in _open_domains(state)]
    if opened and not any(_closed_domains(state) for state in found.values()):
        reasons += opened
    blocking = [f"{name}: {reason}" for name, state in found.items() for reason in _faults(state)]
    if blocking or (reasons and not given):
        return ExistingList((), tuple(dict.fromkeys([*blocking, *reasons])))
    return ExistingList(tuple(sorted(people)), (), (*reasons, *opened))


def describe(state: Mapping[str, Any]) -> list[str]:
    """Return what an operator should know of one relay before its lists are taken over."""
    if state.get("fault"):
        return [escape(state["fault"], 500)]
    return [escape(line, 1000) for line in _lines(state)]


# ---- why nothing is taken over


def _faults(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no list given by hand would mend."""
    if state.get("fault"):
        yield escape(state["fault"], 500)
    yield from adoption.put_off(state.get("domains", {}))
    for domain, one in state.get("domains", {}).items():
        if one["kind"] in OTHER_CLASSES:
            yield f"{domain} is of class {one['kind']} there, which comes before relay_domains: another list decides"


def _reasons(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield why whom a relay takes is not known in full."""
    for domain, one in _closed_domains(state).items():
        for table in state.get("tables", ()):
            if table["fault"] and _is_closer(table["parameter"], one["by"]):
                what = f"{table['table']} in {one['by']} closes {domain}: {escape(table['fault'])}"
                yield f"{what}, so what {domain} takes today is not known in full; it goes on closing the domain"


def _is_closer(parameter: str, by: str) -> bool:
    """Return whether a table of a parameter may be what closes a domain; restrictions of any stage may."""
    return parameter == by or not {parameter, by} & {RECIPIENTS, ROUTES}


def _open_domains(state: Mapping[str, Any]) -> Iterator[str]:
    for domain, one in state.get("domains", {}).items():
        if one["state"] == OPEN:
            what = f"{one['entry']} in {', '.join(one['tables']) or one['by']}" if one["by"] else "no list"
            hints = sum(address.endswith(f"@{domain}") for address in state.get("hints", ()))
            beside = f"; the {hints} addresses beside it are only a hint" if hints else ""
            yield escape(f"{domain} is open today: {what} takes every address, so no list is in force{beside}", 500)


def _closed_domains(state: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: one for name, one in state.get("domains", {}).items() if one["state"] == CLOSED}


def _recipients(state: Mapping[str, Any]) -> Iterator[str]:
    yield from state.get("taken", ())
    yield from (address for address, _ in state.get("kept", ()))


# ---- what an operator should know


def _lines(state: Mapping[str, Any]) -> Iterator[str]:
    yield from _domain_lines(state)
    for table in state["tables"]:
        yield from _table_lines(table)
    if state["twice"]:
        yield f"listed by more than one table: {name_some(state['twice'], _NAMED)}"
    yield from _people_lines(state)
    yield from _reading_lines(state)
    yield from _after_adoption(state)


def _domain_lines(state: Mapping[str, Any]) -> Iterator[str]:
    for domain, one in state["domains"].items():
        if one["state"] == CLOSED:
            tables = f" ({', '.join(one['tables'])})" if one["tables"] else ", which only our own table is in,"
            yield f"{domain} is closed today by {one['by']}{tables}: a stranger is told {one['reply']!r}"
            yield from _closer_lines(domain, one)
        if not one["is_outside"]:
            yield f"{domain}: it was asked as a client in mynetworks, so what strangers are told is not known"
    yield from _open_domains(state)


def _closer_lines(domain: str, one: Mapping[str, Any]) -> Iterator[str]:
    tables = ", ".join(one["tables"])
    if one["by"] == ROUTES:
        yield (
            f"{domain} is closed by its route in {ROUTES}, error:, and our route in front of it would open it: "
            "our list has to be in force first, and `inv provision` sees to that"
        )
    elif one["by"] != RECIPIENTS:
        yield (
            f"{one['by']} with {tables} has the last word, a reject: people who come later get its refusal (554) until "
            f"the table is taken out of {one['by']}, and `inv verify` fails on them"
        )


def _table_lines(table: Mapping[str, Any]) -> Iterator[str]:
    name = table["table"]
    if table["fault"]:
        yield f"{name} cannot be listed: {table['fault']}"
        return
    yield f"{name} lists {table['own']} in the customer's domains"
    if table["everybody"]:
        yield f"{name} has {name_some(table['everybody'], _NAMED)}, which stands for everybody in a domain"
    if table["elsewhere"]:
        others = ", ".join(f"{domain} ({count})" for domain, count in table["elsewhere"].items())
        yield f"{name} has addresses of other domains too, {others}: they stay where they are, and so must the table"
    if table["below"]:
        below = name_some(table["below"], _NAMED)
        yield f"{name} has keys below the customer's domains, which are not the customer's: {below}"
    if table["bare"]:
        yield f"{name} has keys without a domain, which Postfix reads in myorigin: {name_some(table['bare'], _NAMED)}"
    if table["everywhere"]:
        yield f"{name} has keys for every domain: {name_some(table['everywhere'], _NAMED)}"
    if table["odd"]:
        yield f"{name} has keys that no mail can match, so their people are refused: {name_some(table['odd'], _NAMED)}"
    yield from _source_lines(name, table["path"], table["source"])


def _source_lines(name: str, path: str, source: Mapping[str, Any]) -> Iterator[str]:
    if not source.get("is_newer"):
        return
    yield f"{path} was changed after {name} was built from it; Postfix answers from what was built"
    if source["only_in_text"]:
        yield f"only in {path}, and so refused today: {name_some(source['only_in_text'], _NAMED)}"
    if source["only_in_table"]:
        yield f"only in what was built, and so taken today: {name_some(source['only_in_table'], _NAMED)}"


def _people_lines(state: Mapping[str, Any]) -> Iterator[str]:
    yield f"taken today when asked: {len(state['taken'])}"
    unasked = [address for address, reply in state["kept"] if not reply]
    odd = [f"{address} ({reply})" for address, reply in state["kept"] if reply]
    if unasked:
        yield f"listed, and not asked for want of time; they stay: {len(unasked)}"
    if odd:
        yield f"listed, and the answer was about something else; they stay: {name_some(odd, _NAMED)}"
    if state["dropped"]:
        dropped = [key if key.casefold() == name else f"{key} ({name})" for name, key, _ in state["dropped"]]
        yield f"listed, but refused today by the same list, and so not taken over: {name_some(dropped, _NAMED)}"


def _reading_lines(state: Mapping[str, Any]) -> Iterator[str]:
    if state["delimiter"]:
        yield f"recipient_delimiter is {state['delimiter']}: an address with a tag is taken where the address is"
    for route, names in state["own routes"].items():
        yield f"{ROUTES} sends {name_some(names, _NAMED)} to {route}; routes of single addresses go on"


def _after_adoption(state: Mapping[str, Any]) -> Iterator[str]:
    tables = [table["table"] for table in state["tables"] if table["own"] or table["fault"]]
    if not tables:
        return
    yield f"afterwards {', '.join(tables)} still answers for everybody it lists, also for people who have left"
    if state["feeds"]:
        yield f"the jobs that write it keep running: {', '.join(state['feeds'])}"
    yield "to end that, take the table out of main.cf first and remove its files last: without them Postfix says 451"
