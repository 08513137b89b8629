"""A table as text, its drafts, and the one in force: all that is known of it without Postfix."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_ALTERNATIVES = 100  # of a regular expression
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_SPECIAL = frozenset(".[]()*+?{}|^$\\/")  # a backslash before anything else may mean something of its own


class Table:
    """A table to be built: folded keys, each once, and their values; no values: each is OK.

    A text of regular expressions may have lines without a value, and its `endif` more than once.
    """

    def __init__(
        self, name: str, keys: Sequence[bytes], values: Mapping[bytes, bytes] | None = None, *, built: bool = True
    ) -> None:
        """Compose its text. `built`: Postfix reads what postmap makes of it; else the text itself."""
        self.name, self.keys, self.built = name, keys, built
        self._values = values or {}
        self.text = self.lines(b" ")
        self.digest = hashlib.sha256(self.text).hexdigest()

    def lines(self, between: bytes, keys: Sequence[bytes] | None = None) -> bytes:
        """Return its lines, or those of some keys: with a blank what postmap reads, with a tab what it answers."""
        keys = self.keys if keys is None else keys
        if self._values:
            pairs = ((key, self._values[key]) for key in keys)
            return b"".join((key + between + value if value else key) + b"\n" for key, value in pairs)
        ending = between + b"OK\n"
        return ending.join((*keys, b""))


class Draft(NamedTuple):
    """A table, built and verified, in a directory of its own beside those in force."""

    directory: str
    files: Sequence[str]  # as they are put in place: what Postfix reads, then the text it was built from
    beside: Sequence[str] = ()  # the same as another type, which Postfix reads as well, or still

    def install(self) -> None:
        """Put the draft in force. Each rename is whole; Postfix sees it without a reload."""
        tables = os.path.dirname(self.directory)
        for name in (*self.beside, *self.files):
            os.rename(os.path.join(self.directory, name), os.path.join(tables, name))
        flush(tables)
        os.rmdir(self.directory)


class InstalledTable(NamedTuple):
    """A built table in force that was not changed since it was verified."""

    text: bytes  # it was built from
    file: str  # Postfix reads


def write_file(path: str, content: bytes, mode: int = 0o644) -> None:
    """Replace a file and flush it to the disk, or leave the old one as it is. Raises OSError."""
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    with open(beside, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(beside, path)
    flush(os.path.dirname(path))


def flush(path: str) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def any_case(text: str) -> str:
    """Return a regular expression for a text; in it Postfix ignores the case of ASCII, and of nothing else."""
    return "".join(c if c in _PLAIN else _either_case(c) for c in text)


def any_of(texts: Iterable[str]) -> list[bytes]:
    """Return regular expressions for one of some texts, as any_case(): each text is in one of them.

    Every smtpd has a copy, and memory grows with the square of a number of alternatives, or with the number of
    expressions: 10,000 domains take 810 MB as one of them, 59 MB as one each, and 32 MB as these (Postfix 3.7).
    """
    each = [any_case(text) for text in texts]
    groups = (each[first : first + _ALTERNATIVES] for first in range(0, len(each), _ALTERNATIVES))
    return ["|".join(some).encode() for some in groups]


def _either_case(character: str) -> str:
    if character.isascii():
        return f"\\{character}" if character in _SPECIAL else character
    upper = character.upper()
    return f"({character}|{upper})" if upper != character and len(upper) == 1 else character
