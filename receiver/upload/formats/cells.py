r"""Cells of a table that hold all addresses of a recipient: `SMTP:a@b;smtp:c@d`, a `;` or `\` in one after a `\`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from receiver.upload.formats.values import Block

_ESCAPED = (("\\\\", "\udc5c", "\\"), ("\\;", "\udc3b", ";"))
"""As written, as kept while the list is taken apart (no decoder gives half a surrogate pair), and as meant.

A backslash before anything else is itself.
"""


def blocks(cells: Sequence[str], kinds: Sequence[tuple[str, ...]]) -> Iterator[Block]:
    """Give the addresses of many cells, a block for each sort of owners. `kinds` says of each cell what they are."""
    if not any(kinds):
        yield Block(_apart(cells))
        return
    sorts: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for cell, sort in zip(cells, kinds):
        sorts[sort].append(cell)
    for sort, alike in sorts.items():
        yield Block(_apart(alike), sort)


def _apart(cells: Sequence[str]) -> str:
    """Give each address a line. Blanks before one are by hand: Microsoft's own example of a file has them."""
    text = "\n".join(cells)
    escaped = _ESCAPED if "\\" in text else ()
    for written, kept, _ in escaped:
        text = text.replace(written, kept)
    text = text.replace(";", "\n")
    if text.startswith(" ") or "\n " in text:
        text = "\n".join(line.lstrip(" ") for line in text.split("\n"))
    for _, kept, meant in escaped:
        text = text.replace(kept, meant)
    return text
