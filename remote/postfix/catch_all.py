"""Runs on the relay: finds entries of its own tables that match every address in a domain."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from common.main_cf_params import RECIPIENTS, RELOCATED, members, without_ours_members
from remote.main import Failed
from remote.postfix.instance import Postfix

ALIASES = "virtual_alias_maps"
LISTS = (RECIPIENTS, ALIASES, "canonical_maps", "recipient_canonical_maps", RELOCATED)


class Found(NamedTuple):
    """An entry that matches every address in a domain."""

    domain: str
    parameter: str
    table: str
    entry: str  # what matches: a key, or an address that nobody has


def find_catch_alls(postfix: Postfix, domains: Iterable[str]) -> tuple[list[Found], list[str]]:
    """Return these entries, and why a table could not be asked."""
    names, word = list(domains), f"q{os.urandom(8).hex()}"
    found: list[Found] = []
    faults: list[str] = []
    for parameter, value in postfix.values(*LISTS).items():
        for table in without_ours_members(parameter, value) if parameter == RECIPIENTS else members(value):
            with _note_failure(parameter, faults):
                found += _in_table(postfix, parameter, table, names, word)
    return found, faults


@contextmanager
def _note_failure(parameter: str, faults: list[str]) -> Iterator[None]:
    try:
        yield
    except Failed as error:
        faults.append(f"{parameter}: {error}")


def _in_table(postfix: Postfix, parameter: str, table: str, domains: list[str], word: str) -> Iterator[Found]:
    keys = {f"{prefix}{domain}": domain for domain in domains for prefix in (f"{word}@", "@")}
    if parameter == ALIASES:  # it makes a class of domains of its own
        keys.update({domain: domain for domain in domains})
    found = postfix.lookup(table, keys)
    for domain in domains:
        entry = next((key for key, one in keys.items() if one == domain and key in found), "")
        if entry:
            told = f"for any address, such as {entry}" if entry.startswith(word) else f"{entry}"
            yield Found(domain, parameter, table, told)
