"""Active Directory, Exchange 2000 and later: the file csvde.exe writes, a row a line, all addresses in one column.

Its columns come in any order, DN first; one that no object has a value in is not there at all.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from receiver.upload.formats import cells
from receiver.upload.formats.decode import Text
from receiver.upload.formats.values import BadExport, Block, Values
from receiver.upload.recipient_types import OWNER, may_name_a_type, owner_kinds, type_of_name

ADDRESSES = "proxyAddresses"
_REQUIRED = ("DN", ADDRESSES, "objectClass")  # every object has a name and a class
_RANGE = f"{ADDRESSES};range=".casefold()
_HEX = re.compile("^X'((?:[0-9A-Fa-f]{2})*)'$", re.MULTILINE)
_NEXT = re.compile(";(?=[A-Za-z0-9]{1,8}:)")  # before the type of another address

csv.field_size_limit(1 << 30)  # the addresses of one may be beyond csv's 128 KB


def values(export: bytes) -> Values:
    """Give the values of proxyAddresses. Reading them raises BadExport."""
    return Values(_blocks(export))


class _Table(NamedTuple):
    """What the header says of the rows."""

    width: int  # columns
    addresses: int  # where they stand
    owner: tuple[int | None, ...]  # where the columns of OWNER stand, if they do


class _BadRow(Exception):
    """A fault in a line of the chunk being read, counted from 0."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
        self.why = why


def _blocks(export: bytes) -> Iterator[Block]:
    text = Text.of(export)
    table = _table(text.header)
    text.check_whole()
    empty = True
    for at, chunk in text.chunks():
        lines = chunk.decode().replace("\r\n", "\n").split("\n")[:-1]
        try:
            columns = _columns(lines, table.width) or list(zip(*_one_by_one(lines, table.width)))
        except _BadRow as bad:
            raise BadExport(text.line(at) + bad.number, bad.why) from None
        if columns:
            empty = False
            yield from _read(columns, table)
    if empty:
        why = "is the server a global catalog, and may the account that runs csvde read its directory?"
        raise BadExport(1, f"there is no row below the header: {why}")


def _table(header: str) -> _Table:
    """Read the header. LDAP's names have no case."""
    names = [name.strip().strip('"').casefold() for name in header.split(",")]
    if any(name.startswith(_RANGE) for name in names):
        why = "somebody has more addresses than the server gives at once, and csvde does not ask for the rest"
        raise BadExport(1, why)
    missing = [column for column in _REQUIRED if column.casefold() not in names]
    if missing:
        why = "nobody was found, or this is not what csvde writes when runexport.bat runs it"
        raise BadExport(1, f"the header lacks {' and '.join(missing)}: {why}")
    twice = [column for column in (ADDRESSES, *OWNER) if names.count(column.casefold()) > 1]
    if twice:
        raise BadExport(1, f"the header names {' and '.join(twice)} twice")
    places = {name: place for place, name in enumerate(names)}
    owner = tuple(places.get(column.casefold()) for column in OWNER)
    return _Table(len(names), places[ADDRESSES.casefold()], owner)


def _columns(lines: list[str], width: int) -> list[tuple[str, ...]] | None:
    """Take rows apart, all at once; None if one of them needs a closer look."""
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        return None
    return list(zip(*rows)) if len(rows) == len(lines) and {*map(len, rows)} == {width} else None


def _one_by_one(lines: Iterable[str], width: int) -> Iterator[list[str]]:
    """Take rows apart, or name the line that is none. Columns an editor dropped at a row's end are empty."""
    for number, line in enumerate(lines):
        try:
            row = next(csv.reader([line], strict=True), [])
        except csv.Error:
            why = "a quote is not closed in its row, or text stands behind the closing one"
            raise _BadRow(number, why) from None
        if len(row) > width:
            raise _BadRow(number, f"a row of {len(row)} columns; the header has {width}")
        if row:
            yield (row + [""] * width)[:width]


def _read(columns: Sequence[tuple[str, ...]], table: _Table) -> Iterator[Block]:
    """Give the addresses of rows taken apart, by the kinds of their owners."""
    addresses = columns[table.addresses]
    owner = [("",) * len(addresses) if place is None else columns[place] for place in table.owner]
    sorts = list(map(owner_kinds, *owner))
    numbers = owner[OWNER.index("msExchRecipientTypeDetails")]
    if "" in numbers and may_name_a_type("\n".join(addresses)):
        sorts = [
            sort if number else _add_named_type(sort, cell) for sort, number, cell in zip(sorts, numbers, addresses)
        ]
    for block in cells.blocks(addresses, sorts):
        yield block._replace(text=_HEX.sub(_meant, block.text)) if "X'" in block.text else block


def _add_named_type(sort: tuple[str, ...], cell: str) -> tuple[str, ...]:
    """Put before the kinds the one that an address names: Exchange 2000 and 2003 know no types."""
    kind = type_of_name(cell)
    return (kind, *sort) if kind and kind not in sort else sort


def _meant(value: re.Match[str]) -> str:
    """Give what csvde wrote as bytes, as it does what is not ASCII: one value, or it may be all of a cell.

    A line end in it becomes another control: no address has any.
    """
    text = bytes.fromhex(value[1]).decode("utf-8", "replace").replace("\n", "\r")
    return _NEXT.sub("\n", text)
