"""Runs on the relay: splits a list of maps into its tables, as far as Postfix asks each by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from common.main_cf_params import members
from common.table_types import BUILT_SUFFIX, LISTABLE

_AROUND = ("proxy:", "debug:")  # the same table, asked indirectly: there postmap -s may be refused


class MapTable(NamedTuple):
    """One table."""

    name: str  # as postmap is asked for it
    kind: str
    path: str

    @property
    def is_listable(self) -> bool:
        """Return whether its keys can be listed."""
        return self.kind in LISTABLE

    @property
    def built(self) -> str:
        """Return the file that Postfix reads; empty where that is the text itself, or no file."""
        return self.path + BUILT_SUFFIX[self.kind] if self.kind in BUILT_SUFFIX else ""


def map_tables(value: str) -> list[MapTable]:
    """Return the tables of a list in the order they are asked; a union is its tables one after the other."""
    return list(dict.fromkeys(table for member in members(value) for table in _split_member(member)))


def _split_member(member: str) -> Iterator[MapTable]:
    bare = _without_braces(member)
    while bare.startswith(_AROUND):
        bare = bare.partition(":")[2]
    kind, _, path = bare.partition(":")
    if kind == "unionmap":
        for inner in members(_without_braces(path)):
            yield from _split_member(inner)
    else:
        yield MapTable(bare, kind, path)


def _without_braces(text: str) -> str:
    return text[1:-1].strip() if text.startswith("{") and text.endswith("}") else text
