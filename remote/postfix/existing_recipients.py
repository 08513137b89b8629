"""Runs on the relay: kind `existing`, whom it accepts today in a customer's domains, by other lists than ours.

The keys of those lists are candidates. As many as the time allows are asked over SMTP, because only the relay's answer
tells who is a recipient. Only a refusal by those very lists drops a candidate.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from common.main_cf_params import RECIPIENTS, ROUTES
from remote.main import Failed, Kind, Request, State, last_lines, refuse_making
from remote.postfix.closing import CLOSED, OPEN, Closing, find_access_tables, find_closings, list_tables
from remote.postfix.instance import Postfix
from remote.postfix.listed_keys import Candidate, ListedKeys, Names, source_keys, split_listing
from remote.postfix.map_tables import MapTable
from remote.postfix.outsider import Way, find_way
from remote.postfix.relay_domains import find_delivered_domains, find_foreign_domains
from remote.postfix.smtp import TAKEN, UNKNOWN, ask_once, is_temporary
from remote.postfix.table_sources import find_feeds, read_source

AT_ONCE = 500  # addresses of one conversation
NAMED = 20  # of each kind
_ERROR = "error:"
_THEIR_WORDS = "Recipient address rejected"  # in every refusal that is about the recipient


class Listing(NamedTuple):
    """One table that was read."""

    table: MapTable
    parameter: str
    keys: ListedKeys
    all: frozenset[str]
    fault: str  # why it cannot be listed


def read_existing(postfix: Postfix, forms: Mapping[str, str], seconds: float, texts: Iterable[str] = ()) -> State:
    """Return all that must be known before a list is adopted. Raises Failed where the relay cannot be asked.

    `texts`: tables' texts that the operator gives, of which the people in these domains are returned as they are.
    """
    standing, names = find_closings(postfix, dict.fromkeys(forms.values())), _names(postfix, forms)
    listings = list(_listings(postfix, standing, names))
    candidates: dict[str, Candidate] = {}
    sure: set[str] = set()
    for one in listings:
        candidates.update({name: each for name, each in one.keys.candidates.items() if name not in candidates})
        sure.update(name for name in one.keys.candidates if one.keys.is_yes(name))
    wanted = [name for name in candidates if standing[_domain(name)].state == CLOSED]
    replies = _ask(find_way(postfix), _unfound_first(postfix, listings, wanted), seconds) if wanted else {}
    judged = {
        name: _verdict(replies.get(name, ""), standing[_domain(name)].by, is_sure=name in sure) for name in wanted
    }
    return {
        "domains": {name: one._asdict() for name, one in standing.items()},
        "tables": [_table_state(one) for one in listings],
        "taken": sorted(name for name in wanted if judged[name] == "taken"),
        "kept": sorted([name, replies.get(name, "")] for name in wanted if judged[name] == "kept"),
        "dropped": sorted(
            [name, candidates[name].key, replies.get(name, "")] for name in wanted if judged[name] == "dropped"
        ),
        "hints": sorted(name for name in candidates if standing[_domain(name)].state == OPEN),
        "twice": sorted(_listed_twice(listings))[:NAMED],
        "feeds": find_feeds([one.table for one in listings]),
        "delimiter": postfix.value("recipient_delimiter"),
        "own routes": _own_routes(listings),
        "given": _recipients_of(names, texts),
    }


def _names(postfix: Postfix, forms: Mapping[str, str]) -> Names:
    """Return how keys of tables are read on this relay."""
    origin = postfix.value("myorigin")
    if origin.startswith("/"):
        with open(origin, encoding="utf-8", errors="replace") as file:
            origin = file.readline().strip()
    bare = tuple(dict.fromkeys(name for form, name in forms.items() if form == origin.casefold()))
    return Names(forms, bare, frozenset([*find_foreign_domains(postfix), *find_delivered_domains(postfix)]))


def _listings(postfix: Postfix, standing: Mapping[str, Closing], names: Names) -> Iterator[Listing]:
    """List the tables that may have the customer's people in them, once each."""
    closers = {one.by for one in standing.values() if one.state == CLOSED}
    seen: set[MapTable] = set()
    some = [(table, RECIPIENTS, "list") for table in list_tables(postfix, RECIPIENTS)]
    if ROUTES in closers:
        some += [(table, ROUTES, "routes") for table in list_tables(postfix, ROUTES)]
    if closers - {RECIPIENTS, ROUTES}:
        some += [(table, stage, "access") for table, stage in find_access_tables(postfix).items()]
    for table, parameter, uses in some:
        if table not in seen:
            seen.add(table)
            yield _list_table(postfix, table, parameter, ListedKeys(names, uses))


def _list_table(postfix: Postfix, table: MapTable, parameter: str, keys: ListedKeys) -> Listing:
    if not table.is_listable:
        return Listing(table, parameter, keys, frozenset(), f"tables of type {table.kind} cannot be listed")
    ran = postfix.run("postmap", "-s", table.name)
    if ran.code:
        return Listing(table, parameter, keys, frozenset(), last_lines(ran.err, 2))
    every = set()
    for key, value in split_listing(ran.out):
        keys.add(key, value)
        every.add(key)
    return Listing(table, parameter, keys, frozenset(every), "")


# ---- who of them is taken


def _unfound_first(postfix: Postfix, listings: Iterable[Listing], wanted: list[str]) -> list[str]:
    """Return the candidates, first those that no table has under their own address, as they are most in doubt.

    A table that cannot be read finds nobody, and costs only the order.
    """
    found = {name for one in listings for name in _found(postfix, one, wanted)}
    return sorted(wanted, key=found.__contains__)


def _found(postfix: Postfix, listing: Listing, wanted: list[str]) -> Iterable[str]:
    try:
        return postfix.lookup(listing.table.name, wanted) if not listing.fault else ()
    except Failed:
        return ()


def _ask(way: Way, addresses: list[str], seconds: float) -> dict[str, str]:
    """Return the replies about as many as the time allows; the others have none."""
    until, found = time.monotonic() + seconds, dict[str, str]()
    for start in range(0, len(addresses), AT_ONCE):
        if time.monotonic() > until:
            break
        try:
            found.update(ask_once(way.where, way.caller, addresses[start : start + AT_ONCE]))
        except Failed:  # it hangs up on one address: those after it are not asked, and are kept
            continue
    return found


def _verdict(reply: str, by: str, is_sure: bool) -> str:
    """Return `taken`, `dropped` or `kept`. `is_sure`: the table itself says yes to the address."""
    if reply.startswith(TAKEN):
        return "taken"
    if UNKNOWN in reply or (by != RECIPIENTS and reply.startswith("5") and _THEIR_WORDS in reply):
        return "dropped"
    return "kept" if is_sure or not (reply and is_temporary(reply)) else "dropped"


# ---- the rest of the answer


def _table_state(one: Listing) -> dict[str, Any]:
    source = read_source(one.table, one.all) if one.all and one.table.built else None
    return {
        "table": one.table.name,
        "path": one.table.path,
        "parameter": one.parameter,
        "fault": one.fault,
        "own": len(one.keys.candidates),
        "odd": one.keys.odd[:NAMED],
        "everybody": one.keys.everybody,
        "everywhere": one.keys.everywhere[:NAMED],
        "bare": one.keys.bare[:NAMED],
        "below": one.keys.below[:NAMED],
        "elsewhere": dict(one.keys.elsewhere.most_common(NAMED)),
        "source": source._asdict() if source else {},
    }


def _listed_twice(listings: Iterable[Listing]) -> Iterator[str]:
    seen: set[str] = set()
    for one in listings:
        yield from seen & one.keys.candidates.keys()
        seen |= one.keys.candidates.keys()


def _recipients_of(names: Names, texts: Iterable[str]) -> list[str]:
    """Return the people of these texts, as of tables by which a relay would take them.

    getadsmtp writes addresses without a value, which postmap would skip.
    """
    keys = ListedKeys(names)
    for text in texts:
        lines = (line if len(line.split()) != 1 else f"{line} OK" for line in text.splitlines())
        for key in source_keys(lines).values():
            keys.add(key, "given")
    return sorted(keys.candidates)


def _own_routes(listings: Iterable[Listing]) -> dict[str, list[str]]:
    """Return the next hops of single addresses by route, where the domain is closed in transport_maps."""
    found: dict[str, list[str]] = {}
    for one in listings:
        for address, each in one.keys.candidates.items() if one.parameter == ROUTES else ():
            if not each.value.startswith(_ERROR):
                found.setdefault(each.value.strip(), []).append(address)
    return {route: names[:NAMED] for route, names in found.items()}


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(Postfix(one.name), one.wanted or {}) for one in asked]


def _state(postfix: Postfix, wanted: State) -> State | None:
    if not postfix.is_there():
        return None
    try:
        return read_existing(postfix, wanted["forms"], wanted["seconds"], wanted.get("texts", ()))
    except (Failed, OSError) as error:
        return {"fault": str(error)}


KINDS = {"existing": Kind(_read, refuse_making)}
