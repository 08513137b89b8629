"""Reads JSON that an attacker may have written: one who has the account, or who hands a list over.

What it returns can be printed, written again as UTF-8 and calculated with. No file of ours holds fractions.
"""

from __future__ import annotations

import json
from typing import Any

_LONGEST = 19  # digits: what the mail log's lines are numbered by has as many


def decode_json(content: bytes) -> Any:
    """Return what JSON in UTF-8 says. Raises ValueError, also for half surrogates and numbers that none of ours is."""
    text = content.decode()
    try:
        found = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if "\\u" in text:
        json.dumps(found, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError, for half a surrogate
    return found


def whole_numbers(found: object) -> dict[str, int]:
    """Return the members of an object that are whole numbers; nothing where it is no object."""
    return {str(name): n for name, n in found.items() if isinstance(n, int)} if isinstance(found, dict) else {}


def check_types(kind: type | tuple[type, ...], *values: object) -> None:
    """Raise TypeError unless all values are of a type, or of one of several."""
    if not all(isinstance(value, kind) for value in values):
        raise TypeError("a field is of the wrong type")


def _decode_number(digits: str) -> int:
    if len(digits) > _LONGEST:
        raise ValueError("a number is too long")
    return int(digits)


def _refuse_number(written: str) -> int:
    raise ValueError(f"{written[:20]} is no whole number")


_DECODER = json.JSONDecoder(parse_int=_decode_number, parse_float=_refuse_number, parse_constant=_refuse_number)
