r"""Cells of a table that hold all addresses of a recipient: `SMTP:a@b;smtp:c@d`, a `;` or `\` in one after a `\`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from receiver.upload.formats.letters import KEPT, has_half_letters, unite_readings, whole_letters
from receiver.upload.formats.values import Block

_ESCAPED = (("\\\\", KEPT, "\\"), ("\\;", "\udc3b", ";"))
"""As written, as kept while the list is split (no decoder returns half a surrogate pair), and as meant.

A backslash before anything else is itself.
"""


def blocks(cells: Sequence[str], kinds: Sequence[tuple[str, ...]], double_byte: bool = False) -> Iterator[Block]:
    """Yield the addresses of many cells, a block for each sort of owners. `kinds` says of each cell what they are.

    `double_byte`: a backslash may be half a letter, and the values of both readings count.
    """
    if not any(kinds):
        yield Block(_values(cells, double_byte))
        return
    sorts: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for cell, sort in zip(cells, kinds):
        sorts[sort].append(cell)
    for sort, alike in sorts.items():
        yield Block(_values(alike, double_byte), sort)


def _values(cells: Sequence[str], double_byte: bool) -> str:
    """Return the addresses, one a line."""
    text = "\n".join(cells)
    if not double_byte or not has_half_letters(text):
        return _split_values(text)
    return unite_readings(_split_values(whole_letters(text)), _split_values(text), ";")


def _split_values(text: str) -> str:
    escaped = _ESCAPED if "\\" in text or KEPT in text else ()
    for written, kept, _ in escaped:
        text = text.replace(written, kept)
    text = text.replace(";", "\n")
    for _, kept, meant in escaped:
        text = text.replace(kept, meant)
    return text
