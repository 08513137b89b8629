"""How an address stands in a list: as Postfix asks its tables for it, with the local part quoted where it must be.

Exchange makes and takes local parts that RFC 5321 does not know without quotes: two dots in a row (Microsoft KB
Q230331), a dot at an end, blanks, up to 315 characters. Senders write them without quotes, and Postfix asks for the
quoted form.
"""

from __future__ import annotations

import re

LOCAL_CHARACTERS = 315  # of a local part, the most that Exchange allows

AROUND = "".join(
    map(
        chr,
        (
            *range(0x21),
            *range(0x7F, 0xA1),
            *(0xAD, 0x1680, *range(0x2000, 0x2010), *range(0x2028, 0x2030)),
            *(*range(0x205F, 0x2065), 0x3000, 0xFEFF),
        ),
    )
)
"""Characters that are no part of an address at its ends: blanks, line ends, controls and invisible characters."""

_ATOM = r'[^\x00-\x20\x7f"(),.:;<>@\[\\\]]+'
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OTHER_NOTATION = re.compile(r'["<>@()\[\]:;,\\]')
_NEVER = re.compile("[^\\S ]|[\x00-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")  # controls, other blanks, undecodable bytes


def has_unlisted_characters(text: str) -> bool:
    """Return whether a text holds a control, a blank other than the usual one, or a mark for undecodable bytes."""
    return bool(_NEVER.search(text))


def listed_local_part(local: str) -> str | None:
    r"""Return a folded local part as a list has it; None where it is none.

    `john..doe` is `"john..doe"`. `"joe.smith"` is `joe.smith`: Postfix never looks up the quoted form of that one.
    None is also returned for an unquoted character that has a meaning in addresses, such as `<` or `:`: the value is in
    another notation, or is a name together with an address.
    """
    if has_unlisted_characters(local):
        return None
    quoted = _QUOTED.fullmatch(local)
    if not quoted and _OTHER_NOTATION.search(local):
        return None
    meant = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else local
    return meant if _DOT_ATOM.fullmatch(meant) else '"' + re.sub(r'(["\\])', r"\\\1", meant) + '"'
