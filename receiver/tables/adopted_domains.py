"""Domains that the relay's own tables close while their lists are adopted: whether Postfix still asks those tables.

If it does not, only our list closes such a domain, and no person has accepted that list yet: everybody else would be
refused. So the build opens the domain, and the timer raises an alarm.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from common.adopted_domains import closing_tables, is_closed_by_maps
from common.main_cf_params import RECIPIENTS
from common.settings import RelaySettings
from receiver.formatting import escape
from receiver.outcome import Failed
from receiver.tables.inputs import CustomerInput
from receiver.tables.postmap import run_postfix


def find_left_open(relay: RelaySettings, sources: Iterable[CustomerInput], tables: str) -> list[CustomerInput]:
    """Return the customers' inputs, each with the domains whose closing table Postfix no longer asks.

    If Postfix does not say what it asks, those that are open in the tables in force, in folder `tables`, stay open.
    """
    found = list(sources)
    if not any(map(_waiting_domains, found)):
        return found
    try:
        value = _asked_tables(relay.config_directory)
    except Failed:
        whole = _open_in_force(tables)
        return [source._replace(left_open=whole & _waiting_domains(source).keys()) for source in found]
    return [source._replace(left_open=frozenset(_missing_members(source, value))) for source in found]


def describe_left_open(relay: RelaySettings, sources: Iterable[CustomerInput]) -> Iterator[str]:
    """Yield a line for each domain whose closing table Postfix no longer asks: `CUSTOMER: why`.

    Raises Failed where Postfix does not say what it asks.
    """
    some = [source for source in sources if _waiting_domains(source)]
    value = _asked_tables(relay.config_directory) if some else ""
    for source in some:
        for domain, tables in _missing_members(source, value).items():
            gone = f"{', '.join(tables)}, which closed {domain}, is no longer in relay_recipient_maps"
            yield f"{source.tree.customer}: {gone}, and its first list has not been accepted: {domain} IS OPEN"


def _open_in_force(tables: str) -> frozenset[str]:
    path = os.path.join(tables, "exchange_recipients")
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
        return frozenset(line[1:].split(None, 1)[0] for line in lines if line.startswith("@"))
    return frozenset()


def _waiting_domains(source: CustomerInput) -> dict[str, str]:
    """Return the domains that only other tables close, each with what closes it."""
    return {
        name: closer
        for name, closer in source.tree.closed_by.items()
        if is_closed_by_maps(closer) and name not in source.files.when
    }


def _missing_members(source: CustomerInput, value: str) -> Mapping[str, list[str]]:
    found = {
        name: [table for table in closing_tables(closer) if not _names(value, table)]
        for name, closer in _waiting_domains(source).items()
    }
    return {name: tables for name, tables in found.items() if tables}


def _names(value: str, table: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){re.escape(table)}(?![\w./-])", value))


def _asked_tables(config_directory: str) -> str:
    """Return all lists of recipients of main.cf and master.cf as one text. Raises Failed: Postfix does not say."""
    texts = []
    for words in (("-hx", RECIPIENTS), ("-P", "-x")):
        code, out, err = run_postfix("/usr/sbin/postconf", "-c", config_directory, *words)
        if code:
            said = escape(err.strip().rpartition("\n")[2])
            raise Failed(f"postconf, which says what Postfix asks, ended {code}: {said}")
        lines = out.decode(errors="replace").splitlines()
        texts += [line for line in lines if words[0] == "-hx" or f"/{RECIPIENTS} " in line]
    return "\n".join(texts)
