"""Active Directory, Exchange 2000 and later: the file csvde.exe writes, a row a line, all addresses in one column.

Its columns come in any order, DN first; one that no object has a value in is not there at all.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from receiver.upload.formats import cells
from receiver.upload.formats.decode import Text, is_row, line_of, lines_of, without_blank_lines
from receiver.upload.formats.values import BadExport, BadRow, Block, Values
from receiver.upload.recipient_types import OWNER, kind_of_addresses, may_tell_a_kind, owner_kinds

ADDRESSES = "proxyAddresses"
_REQUIRED = ("DN", ADDRESSES, "objectClass")  # every object has a name and a class
_RANGE = f"{ADDRESSES};range=".casefold()
_HEX = re.compile("^[Xx]'([0-9A-Fa-f]*)'$", re.MULTILINE)
_IN_HEX = re.compile(r"(?:^|(?<!\\);)[Xx]'([^;]*)")
_WHOLE_HEX = re.compile("[0-9A-Fa-f]*'")
_DN = re.compile(r"[Xx]'[0-9A-Fa-f]*'|[^=;:@]*=(?!.*(?<!\\);)")
"""A `;` is written with a backslash in a name, and without one between the values of a cell."""
_NO_VALUE = re.compile(r"[;\s]*(?:[Xx]'(?:0[9AaDd]|20){0,99}'[;\s]*)?")
_NEXT = re.compile(";(?=[A-Za-z0-9]{1,8}:)")  # before the type of another address

csv.field_size_limit(1 << 30)  # the addresses of one may be beyond csv's 128 KB


def values(export: bytes) -> Values:
    """Return the values of proxyAddresses. Reading them raises BadExport."""
    return Values(_blocks(export))


class _Table(NamedTuple):
    """What the header says of the rows."""

    width: int  # columns
    name: int  # where the DN stands
    addresses: int  # where the addresses stand
    owner: tuple[int | None, ...]  # where the columns of OWNER stand, if they do
    double_byte: bool  # ANSI of a code page that the export does not name


def _blocks(export: bytes) -> Iterator[Block]:
    text = Text.of(export)
    table = _table(text)
    text.check_whole()
    empty = True
    for at, chunk in text.chunks():
        lines = without_blank_lines(chunk).decode().replace("\r\n", "\n").split("\n")[:-1]
        try:
            rows = _rows(lines, table)
        except BadRow as bad:
            raise BadExport(text.line(at) + line_of(chunk, bad.number), bad.why) from None
        if rows:
            empty = False
            each_row = partial(_each_row, text, at, chunk, table)
            yield from (block._replace(rows=each_row) for block in _read(rows, table))
    if empty:
        why = "is the server a global catalog, and may the account that runs csvde read its directory?"
        raise BadExport(1, f"there is no row below the header: {why}")


def _each_row(text: Text, at: int, chunk: bytes, table: _Table) -> Iterator[tuple[int, str]]:
    """Yield the line of each row of a chunk that could be read, and its addresses."""
    first = text.line(at)
    for number, row in lines_of(chunk):
        (block,) = _read(_rows([row.decode()], table), table)
        yield first + number, block.text


def _table(text: Text) -> _Table:
    """Read the header. LDAP's names have no case."""
    names = [name.strip().strip('"').casefold() for name in text.header.split(",")]
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
    return _Table(len(names), places["dn"], places[ADDRESSES.casefold()], owner, text.encoding == "cp1252")


def _rows(lines: list[str], table: _Table) -> list[list[str]]:
    """Return the parsed rows. Raises BadRow."""
    rows = _fields(lines)
    if (longest := max(map(len, rows), default=0)) > table.width:
        number = next(at for at, row in enumerate(rows) if len(row) == longest)
        raise BadRow(number, f"a row of {longest} columns; the header has {table.width}")
    names = _column(rows, table.name)
    if not all(map(_DN.match, names)):
        number = next(at for at, name in enumerate(names) if not _DN.match(name))
        raise BadRow(number, "it does not begin with a DN: a value before it holds a line end, and was cut there")
    addresses = _column(rows, table.addresses)
    if any(map(_NO_VALUE.fullmatch, addresses)):
        number = next(at for at, cell in enumerate(addresses) if _NO_VALUE.fullmatch(cell))
        why = "whoever has none was not asked for, so these are more than the server gives at once (1,500)"
        raise BadRow(number, f"{ADDRESSES} is empty: {why}")
    if any(_has_broken_hex(cell) for cell in addresses if "'" in cell):
        number = next(at for at, cell in enumerate(addresses) if _has_broken_hex(cell))
        raise BadRow(number, "a value in hex, X'...', is not whole: something of it was lost")
    return rows


def _has_broken_hex(cell: str) -> bool:
    """Return whether a value in hex lacks its end, or half of a byte, or has anything but digits in it."""
    values = (found[1] for found in _IN_HEX.finditer(cell))
    return any(len(value) % 2 == 0 or not _WHOLE_HEX.fullmatch(value) for value in values)


def _fields(lines: list[str]) -> list[list[str]]:
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(lines):
        return rows
    number = next(at for at, line in enumerate(lines) if not is_row(line))
    raise BadRow(number, "a quote is not closed in its row, or text stands behind the closing one")


def _column(rows: Sequence[Sequence[str]], place: int | None) -> list[str]:
    """Return a column. A cell that an editor dropped at a row's end is empty, and so is a column that is missing."""
    return [row[place] if place is not None and place < len(row) else "" for row in rows]


def _read(rows: Sequence[Sequence[str]], table: _Table) -> Iterator[Block]:
    """Yield the addresses of rows, by the kinds of their owners."""
    addresses = _column(rows, table.addresses)
    owner = [_column(rows, place) for place in table.owner]
    sorts = list(map(owner_kinds, *owner))
    numbers = owner[OWNER.index("msExchRecipientTypeDetails")]
    if "" in numbers and may_tell_a_kind("\n".join(addresses)):
        sorts = [
            sort if number else _add_named_type(sort, cell) for sort, number, cell in zip(sorts, numbers, addresses)
        ]
    for block in cells.blocks(addresses, sorts, table.double_byte):
        yield block._replace(text=_HEX.sub(_decode_value, block.text)) if "'" in block.text else block


def _add_named_type(sort: tuple[str, ...], cell: str) -> tuple[str, ...]:
    """Return the kinds after the one that an address tells: Exchange 2000 and 2003 have no types."""
    kind = kind_of_addresses(cell)
    return (kind, *sort) if kind and kind not in sort else sort


def _decode_value(value: re.Match[str]) -> str:
    """Return what csvde wrote as bytes, as it does what is not ASCII: one value, or it may be all of a cell.

    A line end in it becomes a carriage return: that is ignored at an address's ends, and is in no address.
    """
    if len(value[1]) % 2:
        return value[0]
    text = bytes.fromhex(value[1]).decode("utf-8", "replace").replace("\n", "\r")
    return _NEXT.sub("\n", text)
