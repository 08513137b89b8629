"""Exchange 2007 and later: the file runexport.ps1 writes in UTF-8, a recipient a line, all addresses in one column.

As `UserMailbox<TAB>hidden,disabled<TAB>SMTP:a@b;smtp:c@d`, below a line that names the three columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from receiver.upload.formats import cells
from receiver.upload.formats.decode import Text
from receiver.upload.formats.values import BadExport, Block, Values
from receiver.upload.recipient_types import kinds_of_type

COLUMNS = ("Type", "Flags", "Addresses")
_TYPE = re.compile("[A-Za-z0-9]+")
FLAGS = ("internal", "hidden", "disabled")  # of each recipient none, or some with a comma between


def values(export: bytes) -> Values:
    """Return the addresses of all recipients. Reading them raises BadExport."""
    return Values(_blocks(export))


def _blocks(export: bytes) -> Iterator[Block]:
    text = Text.of(export)
    if tuple(text.header.split("\t")) != COLUMNS:
        raise BadExport(1, f"this is not the header of runexport.ps1: {', '.join(COLUMNS)}, with tabs between")
    yield from blocks(text)


def blocks(text: Text) -> Iterator[Block]:
    """Yield the addresses of the rows below a header that is right. Raises BadExport."""
    text.check_whole()
    empty = True
    for at, chunk in text.chunks():
        empty = False
        lines = chunk.decode().replace("\r\n", "\n").split("\n")[:-1]
        owners, _, addresses = zip(*[line.rpartition("\t") for line in lines])
        sorts = [_kinds(owner) for owner in owners]
        if None in sorts:
            why = "runexport.ps1 writes no such row: it has a type, known flags and addresses, with tabs between"
            raise BadExport(text.line(at) + sorts.index(None), why)
        for block in cells.blocks(addresses, [sort or () for sort in sorts]):
            yield block._replace(rows=partial(_rows, text, at, addresses))
    if empty:
        raise BadExport(
            text.line(text.rows) - 1,
            "there is no row below the header: may the account that runs the script see any recipient?",
        )


def _rows(text: Text, at: int, addresses: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the line of each row that begins at or below a place, and its addresses."""
    for line, cell in enumerate(addresses, text.line(at)):
        (block,) = cells.blocks([cell], [()])
        yield line, block.text


@lru_cache(maxsize=1024)
def _kinds(owner: str) -> tuple[str, ...] | None:
    """Return the kinds of the recipient in whose row this stands before the addresses; None: it cannot stand there."""
    type_, tab, written = owner.partition("\t")
    flags = written.split(",") if written else []
    if not tab or not _TYPE.fullmatch(type_) or not set(flags) <= set(FLAGS):
        return None
    internal_only, hidden, disabled = (flag in flags for flag in FLAGS)
    return kinds_of_type(type_, internal_only=internal_only, hidden=hidden, disabled=disabled)
