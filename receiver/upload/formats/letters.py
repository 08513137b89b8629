"""Text of an unknown code page, in which byte 5C, the backslash, may be the second half of a letter.

That is so in Shift-JIS, Big5, GBK and others. There a backslash may escape the next character or be part of a letter,
and both readings count: when in doubt an address is listed. Such text is read as code page 1252, so that each byte is
a character.
"""

from __future__ import annotations

import re

KEPT = "\udc5c"  # stands for a backslash that escapes nothing (no decoder gives half a surrogate pair)

_HALF = re.compile(r"([^\x00-\x7f])\\")  # a range up to the last letter takes 2 ms to compile, at each upload


def has_half_letters(text: str) -> bool:
    """Return whether a text has a backslash that may be half a letter."""
    return bool(_HALF.search(text))


def whole_letters(text: str) -> str:
    """Return a text with KEPT for each backslash that may be half a letter."""
    return _HALF.sub(rf"\1{KEPT}", text)


def unite_readings(lettered: str, escaped: str, separator: str) -> str:
    """Return the values of both readings, each on a line as they are given.

    A value that one of them alone has, with a type behind a separator in it, is several values in the other.
    """
    several = re.compile(f"{separator}[A-Za-z0-9]{{1,8}}:")
    ones, others = lettered.split("\n"), escaped.split("\n")
    in_ones, in_others = {*ones}, {*others}
    found = [value for value in ones if value in in_others or not several.search(value)]
    return "\n".join(found + [value for value in others if value not in in_ones and not several.search(value)])
