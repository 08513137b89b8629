"""Runs on the relay: kind `closing`, how it answers strangers about a name that nobody has, and what decides that.

A domain is closed where such a name is refused for good, and open where it is accepted. Where it is put off (451), a
table cannot be read, and nobody knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from common.main_cf_params import RECIPIENTS, ROUTES, members, without_ours_members
from remote.main import Failed, Kind, Request, State, last_lines, refuse_making
from remote.postfix.catch_all import find_catch_alls
from remote.postfix.instance import Postfix
from remote.postfix.listeners import find_answering_services
from remote.postfix.map_tables import MapTable, map_tables
from remote.postfix.outsider import Way, find_way
from remote.postfix.relay_domains import PARENTS, is_named, keys_of
from remote.postfix.restrictions import CLASSES, STAGES, split_restrictions
from remote.postfix.smtp import DENIED, UNKNOWN, is_temporary
from remote.postfix.trivial_rewrite import RELAY, Resolved, resolve

CLOSED, OPEN, PUT_OFF, DENIED_THERE = "closed", "open", "put off", "denied"
_ASKED_FIRST = ("virtual_alias_maps", "canonical_maps", "recipient_canonical_maps", "relocated_maps")


class Closing(NamedTuple):
    """How one domain stands."""

    state: str  # CLOSED, OPEN, PUT_OFF, or DENIED_THERE: the relay does not know it as one that it takes mail for
    by: str  # the parameter that closes or opens it; empty where that is not known
    reply: str  # to a name that nobody has
    kind: str  # the class of the domain, as trivial_rewrite names it
    tables: tuple[str, ...] = ()  # of `by`; those that cannot be read where it is PUT_OFF
    entry: str = ""  # what opens the domain
    is_outside: bool = True  # the reply was to a stranger, not to a client in mynetworks


def find_closings(postfix: Postfix, domains: Iterable[str]) -> dict[str, Closing]:
    """Return by domain how the relay closes it, asked over SMTP.

    Raises Failed where the relay cannot be asked at all.
    """
    names = {domain: f"q{os.urandom(12).hex()}@{domain}" for domain in domains}
    try:
        way = find_way(postfix)
    except Failed as error:  # that is so where a table cannot be read: no recipient gets an answer
        return _without_answers(postfix, names, error)
    replies, resolved = way.ask([*names.values()]), resolve(postfix, names.values())
    opening = _find_opening(postfix, [name for name, address in names.items() if replies[address].startswith("2")])
    return {
        domain: _describe_closing(
            postfix, way, address, replies[address], resolved[address], opening.get(domain, ("", "", ""))
        )
        for domain, address in names.items()
    }


def _without_answers(postfix: Postfix, names: Mapping[str, str], error: Failed) -> dict[str, Closing]:
    """Return the domains as put off where tables cannot be read. Raises the error where none is found."""
    first = str(error).partition("\n")[0]
    tables = {domain: tuple(_unreadable(postfix, address)) for domain, address in names.items()}
    if not any(tables.values()):
        raise error
    return {domain: Closing(PUT_OFF, "", first, "", some) for domain, some in tables.items()}


def list_tables(postfix: Postfix, parameter: str) -> list[MapTable]:
    """Return the tables of a list that are not ours, as the services that strangers reach have it."""
    values = [postfix.value(parameter), *_overrides(postfix, parameter)]
    return list(
        dict.fromkeys(
            table for value in values for table in map_tables(" ".join(without_ours_members(parameter, value)))
        )
    )


def find_access_tables(postfix: Postfix) -> dict[MapTable, str]:
    """Return the tables that are asked about recipients in a restriction, and in which parameter each stands."""
    names = postfix.value(CLASSES)
    classes = postfix.values(*members(names)) if names else {}
    values = postfix.values(*STAGES)
    found: dict[MapTable, str] = {}
    for stage in STAGES:
        for value in (values.get(stage, ""), *_overrides(postfix, stage), *classes.values()):
            for name, argument in split_restrictions(members(value), is_recipient=True):
                if name == "check_recipient_access":
                    found.update({table: found.get(table, stage) for table in map_tables(argument)})
    return found


def _overrides(postfix: Postfix, parameter: str) -> list[str]:
    """Return what services of master.cf that strangers reach have in a parameter's place, names expanded."""
    services = {f"{one.name}/{one.type}" for one in find_answering_services(postfix) if parameter in one.overrides}
    if not services:
        return []
    lines = (line.partition(" = ") for line in postfix.must("postconf", "-P", "-x").out.splitlines())
    return [value for place, _, value in lines if place in {f"{service}/{parameter}" for service in services}]


def _describe_closing(
    postfix: Postfix, way: Way, address: str, reply: str, resolved: Resolved, opened: tuple[str, str, str]
) -> Closing:
    found = Closing(CLOSED, "", reply, resolved.kind, is_outside=way.caller.is_outside)
    if reply.startswith("2"):
        by, table, entry = opened
        return found._replace(state=OPEN, by=by, tables=(table,) if table else (), entry=entry)
    if DENIED in reply:
        return found._replace(state=DENIED_THERE)
    if is_temporary(reply):
        return found._replace(state=PUT_OFF, tables=tuple(_unreadable(postfix, address)))
    if resolved.transport == "error":
        return found._replace(by=ROUTES, tables=_names(list_tables(postfix, ROUTES)))
    if UNKNOWN in reply and resolved.kind == RELAY:
        if not _is_known_itself(postfix, address):
            return found._replace(state=DENIED_THERE)
        return found._replace(by=RECIPIENTS, tables=_names(list_tables(postfix, RECIPIENTS)))
    tables = find_access_tables(postfix)
    stage = next(iter(tables.values()), "smtpd_recipient_restrictions")
    return found._replace(by=stage, tables=_names(tables))


def _is_known_itself(postfix: Postfix, address: str) -> bool:
    """Return whether the relay knows more of a relay domain than that one above it is a relay domain, too.

    That is its name, a recipient in it, or a route. What cannot be listed has none: so the domain opens and is routed.
    """
    domain = address.rpartition("@")[2]
    if is_named(postfix, domain):
        return True
    keys = [address, *keys_of(domain, with_parents=ROUTES in members(postfix.value(PARENTS)))]
    routes = (postfix.lookup(table.name, keys) for table in list_tables(postfix, ROUTES))
    lists = (postfix.keys(table.name) for table in list_tables(postfix, RECIPIENTS) if table.is_listable)
    return any(routes) or any(key.lower().endswith(f"@{domain}") for keys in lists for key in keys)


def _names(tables: Iterable[MapTable]) -> tuple[str, ...]:
    return tuple(table.name for table in tables)


def _find_opening(postfix: Postfix, domains: list[str]) -> Mapping[str, tuple[str, str, str]]:
    """Return by domain the parameter, the table and the entry that let everybody in it pass."""
    if not domains:
        return {}
    found, _ = find_catch_alls(postfix, domains)
    opened = {one.domain: (one.parameter, one.table, one.entry) for one in reversed(found)}
    if not without_ours_members(RECIPIENTS, postfix.value(RECIPIENTS)):
        return {domain: opened.get(domain, (RECIPIENTS, "", "it is empty")) for domain in domains}
    return opened


def _unreadable(postfix: Postfix, address: str) -> Iterator[str]:
    """Yield the tables that Postfix has no answer from, each with the reason."""
    tables = [*list_tables(postfix, RECIPIENTS), *find_access_tables(postfix)]
    tables += [table for name in _ASKED_FIRST for table in list_tables(postfix, name)]
    for table in dict.fromkeys([*tables, *list_tables(postfix, ROUTES)]):
        try:
            postfix.lookup(table.name, [address])
        except Failed as error:
            yield str(error)
            continue
        said = postfix.run("postmap", "-s", table.name).err if table.kind == "texthash" else ""
        if "duplicate" in said:
            yield f"{table.name}: {last_lines(said, 1)}"


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(Postfix(one.name), (one.wanted or {})["domains"]) for one in asked]


def _state(postfix: Postfix, domains: Iterable[str]) -> State | None:
    """Return how the domains stand; None where there is no Postfix, and under "fault" why it cannot be asked."""
    if not postfix.is_there():
        return None
    try:
        return {"domains": {name: one._asdict() for name, one in find_closings(postfix, domains).items()}}
    except Failed as error:
        return {"domains": {}, "fault": str(error)}


KINDS = {"closing": Kind(_read, refuse_making)}
