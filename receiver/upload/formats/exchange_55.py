"""Exchange 5.5: the file ADMIN.EXE writes, a row a line, `%` between the values of a column.

Rows without quotes or backslashes, nearly all, are split at their tabs. The others are read as CSV, also many at once,
with the same result.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from receiver.upload.formats.decode import Text, is_row, line_of, lines_of, without_blank_lines
from receiver.upload.formats.letters import KEPT, has_half_letters, unite_readings, whole_letters
from receiver.upload.formats.values import BadExport, BadRow, Block, Values

COLUMNS = ("Obj-Class", "E-mail addresses", "Secondary-Proxy-Addresses")
"""What exportfields.txt asks for. `E-mail address` is not read: it says where a contact's mail goes on to."""

DEFAULT_COLUMNS = (
    *("obj-class", "first name", "last name", "display name", "alias name", "directory name"),
    *("primary windows nt account", "home-server", "e-mail address", "e-mail addresses", "members"),
    *("obj-container", "hide from ab"),
)
"""What ADMIN writes when it cannot read the header line of the file it is to fill; it gives no warning."""

_POINTER = re.compile("\n=")  # here `re` is faster than `in`
_UNCLOSED = "a quote is not closed in its row, or text stands behind the closing one"
_CLASS = re.compile("[A-Za-z0-9_-]*")
_ROW = b"\0"  # in marked text, where a row ends; the export itself holds no NUL
_APART = b"\1"  # in marked text, a character that makes its row be read as CSV
_ESCAPED = (("\\\\", KEPT, "\\"), ("\\%", "\udc25", "%"), ('\\"', "\udc22", '"'))
"""As written, as kept while the row is split (no decoder returns half a surrogate pair), and as meant.

A backslash before anything else is itself: single values are not escaped, and `ALLISON'S\\3` is one.
"""

csv.field_size_limit(1 << 30)  # a distribution list's Members are one field, and may be beyond csv's 128 KB


def values(export: bytes) -> Values:
    """Return the values of both address columns. Reading them raises BadExport."""
    return Values(_blocks(export))


class _Table(NamedTuple):
    """What the header says of the rows."""

    separator: str
    width: int  # columns
    class_: int  # where Obj-Class stands
    addresses: tuple[int, ...]  # where the two address columns stand
    double_byte: bool  # ANSI of a code page that the export does not name

    @property
    def marks(self) -> bytes:
        """Return the translation to marked text: cells end in TAB, values in LF, rows in NUL."""
        apart = b'"\\' if self.separator == "\t" else b'"\\\t'
        written = self.separator.encode() + b"\r%\n" + apart
        return bytes.maketrans(written, b"\t\t\n" + _ROW + _APART * len(apart))


def _blocks(export: bytes) -> Iterator[Block]:
    text = Text.of(export)
    table = _table(text)
    text.check_whole()
    empty = True
    for at, chunk in text.chunks():
        rows = without_blank_lines(chunk)
        empty = empty and not rows.strip()
        try:
            yield Block(_block(rows, table), rows=partial(_rows, text, at, chunk, table))
        except BadRow as bad:
            raise BadExport(text.line(at) + line_of(chunk, bad.number), bad.why) from None
    if empty:
        raise BadExport(
            1,
            "there is no row below the header: leave HomeServer and BasepointOnly out of userexport.ini, and see "
            "whether Basepoint is right and the account that runs ADMIN may read the directory",
        )


def _rows(text: Text, at: int, chunk: bytes, table: _Table) -> Iterator[tuple[int, str]]:
    """Yield the line of each row of a chunk that could be read, and its values."""
    first = text.line(at)
    return ((first + number, _values(row + b"\n", table)) for number, row in lines_of(chunk))


def _table(text: Text) -> _Table:
    """Read the header. Its names are compared without case: Microsoft writes `E-mail Addresses` as well."""
    separator = "\t" if "\t" in text.header else ","
    names = [name.strip().strip('"').casefold() for name in text.header.split(separator)]
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
    class_, *addresses = (names.index(column.casefold()) for column in COLUMNS)
    return _Table(separator, len(names), class_, tuple(addresses), text.encoding == "cp1252")


def _block(rows: bytes, table: _Table) -> str:
    """Return the values of rows as lines. Raises BadRow."""
    marked, apart = _split_rows(rows, table)
    try:
        regular = _regular(marked, table)
        if regular is not None:
            return "\n".join((regular, _values(b"".join(apart), table)))
    except BadRow:  # whose number is that among the rows apart
        pass
    return _values(rows, table)


def _split_rows(rows: bytes, table: _Table) -> tuple[bytes, list[bytes]]:
    """Split rows: marked text of the plain ones, and, as they are, those with a quote or a backslash."""
    marked = rows.translate(table.marks)
    plain: list[bytes] = []
    apart: list[bytes] = []
    start = 0
    while (at := marked.find(_APART, start)) >= 0:
        begin = marked.rfind(_ROW, start, at) + 1 or start
        end = marked.find(_ROW, at) + 1
        plain.append(marked[start:begin])
        apart.append(rows[begin:end])
        start = end
    plain.append(marked[start:])
    return b"".join(plain), apart


def _regular(marked: bytes, table: _Table) -> str | None:
    """Return the values of plain rows; None if one is too short or too long, or must be refused."""
    text = _ROW.decode() + marked[:-1].decode()  # so that a row begins with NUL, and ends with TAB for its CR
    rows = text.count("\0")
    *cells, rest = text.split("\t")
    firsts = "\t".join(cells[:: table.width])
    if rest or len(cells) != rows * table.width or firsts.count("\t\0") != rows - 1:
        return None if marked else ""
    if not all(_CLASS.fullmatch(class_.lstrip("\0")) for class_ in {*cells[table.class_ :: table.width]}):
        return None
    block = "\n".join(chain.from_iterable(cells[column :: table.width] for column in table.addresses)).replace("\0", "")
    return None if block.startswith("=") or _POINTER.search(block) else block


def _values(rows: bytes, table: _Table) -> str:
    """Return the values of rows that are read as CSV, as lines. Raises BadRow."""
    lines = rows.decode().replace("\r\n", "\n").split("\n")[:-1]
    if not table.double_byte or not has_half_letters("\n".join(lines)):
        return _read(lines, table)
    lettered = [whole_letters(line) for line in lines]
    try:
        return unite_readings(_read(lettered, table), _read(lines, table), "%")
    except BadRow:  # perhaps in one of the readings alone: in the other a quote is closed that is not in this one
        return _read_both_ways(lines, lettered, table)


def _read_both_ways(lines: Sequence[str], lettered: Sequence[str], table: _Table) -> str:
    """Return the values of rows in both readings, of each row in those in which it is valid. Raises BadRow."""
    ones, others = (_only_rows(some, table) for some in (lettered, lines))
    for number, (one, other) in enumerate(zip(ones, others)):
        if one is other is None:
            raise BadRow(number, _UNCLOSED)
    one, other = (_read([line or "" for line in some], table) for some in (ones, others))
    return unite_readings(one, other, "%")


def _only_rows(lines: Sequence[str], table: _Table) -> list[str | None]:
    return [line if is_row(_hide_escapes(line), table.separator) else None for line in lines]


def _hide_escapes(text: str) -> str:
    """Return a text in which each escaped character is replaced by one that does not split it."""
    for written, kept, _ in _ESCAPED:
        text = text.replace(written, kept)
    return text


def _read(lines: Sequence[str], table: _Table) -> str:
    """Return the parsed lines. Columns an editor dropped at a row's end are empty. Raises BadRow."""
    rows = _fields(_hide_escapes("\n".join(lines)).split("\n"), table.separator) if lines else []
    for number, row in enumerate(rows) if max(map(len, rows), default=0) > table.width else ():
        if any(row[table.width :]):
            raise BadRow(number, f"a row of {len(row)} columns; the header has {table.width}")
    classes = [row[table.class_] if len(row) > table.class_ else "" for row in rows]
    if not all(map(_CLASS.fullmatch, {*classes})):
        number = next(at for at, class_ in enumerate(classes) if not _CLASS.fullmatch(class_))
        raise BadRow(number, "there is no such Obj-Class: a value before it holds a line end, and was cut there")
    return _without_escapes(rows, table)


def _fields(lines: Sequence[str], separator: str) -> list[list[str]]:
    try:
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error:
        rows = []
    if len(rows) == len(lines):
        return rows
    number = next(at for at, line in enumerate(lines) if not is_row(line, separator))
    raise BadRow(number, _UNCLOSED)


def _without_escapes(rows: Sequence[Sequence[str]], table: _Table) -> str:
    """Return the values of the address columns without their escapes. Raises BadRow."""
    text = "\n".join([row[column] for row in rows for column in table.addresses if len(row) > column])
    text = text.replace("%", "\n")
    if text.startswith("=") or _POINTER.search(text):
        cells = ("\n".join(["", *(row[at] for at in table.addresses if len(row) > at)]) for row in rows)
        number = next(at for at, cell in enumerate(cells) if _POINTER.search(cell.replace("%", "\n")))
        raise BadRow(number, "a value names an include file: ADMIN wrote part of the addresses elsewhere")
    for _, kept, meant in _ESCAPED:
        text = text.replace(kept, meant)
    return text
