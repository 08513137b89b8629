"""The text of an export: which encoding it has, its lines as UTF-8 many at once, and where a fault lies in it."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from receiver.upload.formats.values import BadExport

HEADER = 1 << 16  # bytes of the longest first line; all attributes of Active Directory are a third of it
_CHUNK = 1 << 16  # bytes at once: small enough for a processor's cache
_BOMS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_LONE_CR = re.compile(rb"\r(?!\n)")
_BLANK_LINES = re.compile(rb"^(?:\r?\n)+", re.MULTILINE)
_BLANK_BEHIND = re.compile(rb"\n\r?\n")


class Text(NamedTuple):
    """An export that is text, line after whole line, the first of which is its header."""

    export: bytes
    encoding: str
    start: int  # where the header begins
    rows: int  # where the rows begin

    @classmethod
    def of(cls, export: bytes) -> Text:
        """Return the decoded text of an export. Raises BadExport for bytes that are no text."""
        encoding, start = _encoding(export)
        text = cls(export, encoding, start, _line_end(export, start, "\n".encode(encoding)))
        if text.rows - text.start > HEADER:
            raise BadExport(1, f"it is longer than {HEADER:,} bytes: no export has such a header")
        return text

    @property
    def header(self) -> str:
        """Return the first line."""
        return self.export[self.start : self.rows].decode(self.encoding, "replace").rstrip("\r\n")

    def check_whole(self) -> None:
        """Raise BadExport if the last line does not end: what follows may be anything, or half an address."""
        newline = "\n".encode(self.encoding)
        if not self.export.endswith(newline) or len(self.export) % len(newline):
            why = "the last row is not whole: the export was cut off, by a full disk or on its way here"
            raise BadExport(self.line(len(self.export)), why)

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the rows as UTF-8, many whole ones at once, each time with where in the export they begin.

        The last line must end. There is no NUL in them, and no carriage return but before a line end.
        """
        newline = "\n".encode(self.encoding)
        at = self.rows
        while at < len(self.export):
            end = _line_end(self.export, min(at + _CHUNK, len(self.export) - len(newline)), newline)
            chunk = self._utf8(at, end)
            self._check(at, chunk)
            yield at, chunk
            at = end

    def line(self, at: int) -> int:
        """Return the number of the line that byte `at` is in: counted when something is wrong, not for every row."""
        return self.export[:at].decode(self.encoding, "replace").count("\n") + 1

    def _utf8(self, at: int, end: int) -> bytes:
        chunk = self.export[at:end]
        if self.encoding == "utf-8":
            return chunk
        if self.encoding == "cp1252":
            return chunk.decode("cp1252", "replace").encode()  # five bytes mean nothing in it
        try:
            return chunk.decode(self.encoding).encode()
        except UnicodeDecodeError as error:
            raise BadExport(self.line(at + error.start), "half a character of UTF-16") from None

    def _check(self, at: int, chunk: bytes) -> None:
        lone = _LONE_CR.search(chunk)
        broken = chunk.find(b"\0") if lone is None else lone.start()
        if broken >= 0:
            what = "a NUL character" if lone is None else "a carriage return inside a row"
            raise BadExport(self.line(at) + chunk.count(b"\n", 0, broken), what)


def without_blank_lines(chunk: bytes) -> bytes:
    """Return a chunk without its empty lines; an attacker can send millions of them for next to nothing."""
    has_blank = chunk[:1] in b"\r\n" or _BLANK_BEHIND.search(chunk)  # where every line ends alike, faster than `in`
    return _BLANK_LINES.sub(b"", chunk) if has_blank else chunk


def lines_of(chunk: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number in a chunk, counted from 0, of each line that is not empty, and the line without its end."""
    lines = (line.rstrip(b"\r") for line in chunk.split(b"\n"))
    return ((number, line) for number, line in enumerate(lines) if line)


def line_of(chunk: bytes, number: int) -> int:
    """Return on which line of a chunk a row lies, both counted from 0; empty lines are no rows."""
    return next(islice(lines_of(chunk), number, None))[0]


def is_row(line: str, separator: str = ",") -> bool:
    """Return whether a line is a whole row of CSV."""
    try:
        list(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return False
    return True


def _encoding(export: bytes) -> tuple[str, int]:
    """Return the encoding and where the text begins. ADMIN writes ANSI; UTF-16 into a file that was UTF-16 before."""
    if not export:
        raise BadExport(None, "the export is empty")
    for bom, encoding in _BOMS.items():
        if export.startswith(bom):
            if encoding == "utf-8":
                _check_utf8(export)
            return encoding, len(bom)
    if export[:100].lstrip().startswith(b"<"):
        raise BadExport(1, "this is a page of HTML: a web server or a proxy answered in place of the export")
    nul = export.find(b"\0")
    if nul >= 0:
        why = "a NUL byte: the export is UTF-16 without its byte order mark, or no text at all"
        raise BadExport(export.count(b"\n", 0, nul) + 1, why)
    return "utf-8" if _is_utf8(export) else "cp1252", 0


def _is_utf8(export: bytes) -> bool:
    if export.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(export), _CHUNK):
            decoder.decode(export[at : at + _CHUNK], at + _CHUNK >= len(export))
    except UnicodeDecodeError:
        return False
    return True


def _check_utf8(export: bytes) -> None:
    if not _is_utf8(export):
        try:
            export.decode()
        except UnicodeDecodeError as error:
            line = export.count(b"\n", 0, error.start) + 1
            raise BadExport(line, "its mark says UTF-8, and this line is not: it was changed on its way") from None


def _line_end(export: bytes, at: int, newline: bytes) -> int:
    """Return where the line that holds byte `at` ends; the end of the export if it does not end."""
    end = export.find(newline, at)
    while end >= 0 and end % len(newline):  # half of one UTF-16 character and half of the next
        end = export.find(newline, end + 1)
    return len(export) if end < 0 else end + len(newline)
