"""What the reader of a format returns, the values of an export, and what it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple


class BadExport(Exception):
    """An export is refused as a whole. The text is one line, words from outside escaped."""

    def __init__(self, line: int | None, why: str) -> None:
        """Take the line of the export where the fault is, counted from 1, or None, and the reason."""
        super().__init__(why if line is None else f"line {line}: {why}")
        self.line = line
        self.why = why


class BadRow(Exception):
    """A fault in one of several rows, counted from 0."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
        self.why = why


def _no_rows() -> Iterator[tuple[int, str]]:
    return iter(())


class Block(NamedTuple):
    """Values, each on a line of a long text, with empty lines between. A string for each would be most of the cost."""

    text: str
    kinds: tuple[str, ...] = ()  # what all their owners are, in words of receiver.upload.recipient_types
    rows: Callable[[], Iterator[tuple[int, str]]] = _no_rows  # the line of each row, and its values: for a fault alone


class Values(Iterator[str]):
    """The values of an export, one by one.

    `blocks` holds the same values, many at once, with the kinds of their owners. Read one or the other.
    `open_domains`: domains in which everybody gets mail whatever the list says, and the sentence that says why.
    `notes`: sentences for a person, those among them.
    `plus_addresses`: whether the server takes user+tag@ where it takes user@; None: the export does not say.
    """

    def __init__(
        self,
        blocks: Iterator[Block],
        open_domains: Mapping[str, str] | None = None,
        notes: tuple[str, ...] = (),
        plus_addresses: bool | None = None,
    ) -> None:
        """Take the blocks; nothing is read before it is asked for."""
        self.blocks = blocks
        self.open_domains = open_domains or {}
        self.notes = notes
        self.plus_addresses = plus_addresses
        self._values = chain.from_iterable(filter(None, block.text.split("\n")) for block in blocks)

    def __next__(self) -> str:
        """Return the next value. Raises BadExport."""
        return next(self._values)
