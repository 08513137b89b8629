"""Exchange 5.5: the file ADMIN.EXE writes, a row a line, `%` between the values of a column.

Rows without quotes or backslashes, nearly all, are read many at once; the others one by one, with the same result.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from receiver.upload.formats.decode import Text
from receiver.upload.formats.values import BadExport, Block, Values

COLUMNS = ("Obj-Class", "E-mail addresses", "Secondary-Proxy-Addresses")
"""What exportfields.txt asks for. `E-mail address` is no column of ours: it holds where a contact's mail goes."""

DEFAULT_COLUMNS = (
    *("obj-class", "first name", "last name", "display name", "alias name", "directory name"),
    *("primary windows nt account", "home-server", "e-mail address", "e-mail addresses", "members"),
    *("obj-container", "hide from ab"),
)
"""What ADMIN writes when it cannot read the header line of the file it is to fill. It then says nothing."""

_POINTER = re.compile("\n=")  # here `re` is faster than `in`
_ROW = b"\0"  # in marked text, where a row ends; the export itself holds no NUL
_APART = b"\1"  # in marked text, what makes a row be read by itself
_ESCAPED = (("\\\\", "\udc5c", "\\"), ("\\%", "\udc25", "%"), ('\\"', "\udc22", '"'))
"""As written, as kept while the row is taken apart (no decoder gives half a surrogate pair), and as meant.

A backslash before anything else is itself: single values are not escaped, and `ALLISON'S\\3` is one.
"""

csv.field_size_limit(1 << 30)  # a distribution list's Members are one field, and may be beyond csv's 128 KB


def values(export: bytes) -> Values:
    """Give the values of both address columns. Reading them raises BadExport."""
    return Values(_blocks(export))


class _Table(NamedTuple):
    """What the header says of the rows."""

    separator: str
    width: int  # columns
    addresses: tuple[int, ...]  # where the two address columns stand

    @property
    def marks(self) -> bytes:
        """Give the translation to marked text: cells end in TAB, values in LF, rows in NUL."""
        apart = b'"\\' if self.separator == "\t" else b'"\\\t'
        written = self.separator.encode() + b"\r%\n" + apart
        return bytes.maketrans(written, b"\t\t\n" + _ROW + _APART * len(apart))


class _BadRow(Exception):
    """A fault at a byte of the chunk being read."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at
        self.why = why


def _blocks(export: bytes) -> Iterator[Block]:
    text = Text.of(export)
    table = _table(text.header)
    text.check_whole()
    empty = True
    for at, chunk in text.chunks():
        empty = empty and chunk.isspace()
        try:
            yield Block(_block(chunk, table))
        except _BadRow as bad:
            raise BadExport(text.line(at) + chunk.count(b"\n", 0, bad.at), bad.why) from None
    if empty:
        raise BadExport(
            1,
            "there is no row below the header: leave HomeServer and BasepointOnly out of userexport.ini, and see "
            "whether Basepoint is right and the account that runs ADMIN may read the directory",
        )


def _table(header: str) -> _Table:
    """Read the header. Its names are compared without case: Microsoft writes `E-mail Addresses` as well."""
    separator = "\t" if "\t" in header else ","
    names = [name.strip().strip('"').casefold() for name in header.split(separator)]
    if sorted(names) == sorted(DEFAULT_COLUMNS):
        raise BadExport(
            1,
            "ADMIN fell back to its default columns, as it found no header line it could read in exchusers.txt: "
            "put exportfields.txt as it came with the kit beside runexport.bat and export again",
        )
    missing = [column for column in COLUMNS if column.casefold() not in names]
    if missing:
        raise BadExport(1, f"this is not the header of exportfields.txt: it lacks {' and '.join(missing)}")
    twice = [column for column in COLUMNS if names.count(column.casefold()) > 1]
    if twice:
        raise BadExport(1, f"the header names {' and '.join(twice)} twice")
    return _Table(separator, len(names), tuple(names.index(column.casefold()) for column in COLUMNS[1:]))


def _block(chunk: bytes, table: _Table) -> str:
    """Give the values of a chunk as lines."""
    marked, apart = _apart(chunk, table)
    block = _regular(marked, table)
    if block is None:
        block, apart = "", _rows(chunk)
    return "\n".join([block, *chain.from_iterable(_values(at, row, table) for at, row in apart)])


def _rows(chunk: bytes) -> list[tuple[int, bytes]]:
    """Give every row, and where it begins."""
    rows: list[tuple[int, bytes]] = []
    at = 0
    for row in chunk.splitlines(keepends=True):
        rows.append((at, row))
        at += len(row)
    return rows


def _apart(chunk: bytes, table: _Table) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Split a chunk: marked text of its plain rows, and, as they are, the rows with a quote or a backslash."""
    marked = chunk.translate(table.marks)
    plain: list[bytes] = []
    apart: list[tuple[int, bytes]] = []
    start = 0
    while (at := marked.find(_APART, start)) >= 0:
        begin = marked.rfind(_ROW, start, at) + 1 or start
        end = marked.find(_ROW, at) + 1
        plain.append(marked[start:begin])
        apart.append((begin, chunk[begin:end]))
        start = end
    plain.append(marked[start:])
    return b"".join(plain), apart


def _regular(marked: bytes, table: _Table) -> str | None:
    """Give the values of plain rows; None if one is short or long, or names an include file."""
    text = _ROW.decode() + marked[:-1].decode()  # so that a row begins with NUL, and ends with TAB for its CR
    rows = text.count("\0")
    *cells, rest = text.split("\t")
    firsts = "\t".join(cells[:: table.width])
    if rest or len(cells) != rows * table.width or firsts.count("\t\0") != rows - 1:
        return None if marked else ""
    block = "\n".join(chain.from_iterable(cells[column :: table.width] for column in table.addresses)).replace("\0", "")
    return None if block.startswith("=") or _POINTER.search(block) else block


def _values(at: int, row: bytes, table: _Table) -> Iterator[str]:
    """Take one row apart. Columns an editor dropped at its end are empty."""
    line = row.decode().rstrip("\r\n")
    for written, kept, _ in _ESCAPED:
        line = line.replace(written, kept)
    try:
        fields = next(csv.reader([line], delimiter=table.separator, strict=True))
    except csv.Error:
        raise _BadRow(at, "a quote is not closed in its row, or text stands behind the closing one") from None
    if any(fields[table.width :]):
        raise _BadRow(at, f"a row of {len(fields)} columns; the header has {table.width}")
    for column in table.addresses:
        for value in "".join(fields[column : column + 1]).split("%"):
            if value.startswith("="):
                raise _BadRow(at, "a value names an include file: ADMIN wrote part of the addresses elsewhere")
            yield _meant(value)


def _meant(value: str) -> str:
    for _, kept, meant in _ESCAPED:
        value = value.replace(kept, meant)
    return value
