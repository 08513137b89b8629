"""Finds the customer's domain of an address, however somebody wrote it, and values that hold such an address.

Directories keep what was typed or pasted: a dot at the end, invisible characters, the full stops and letters of an East
Asian keyboard, and addresses with brackets, quotes or a remark around them. PowerShell cuts what it shows, with `...`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

LONGEST = 2_000  # characters of a text that is looked into; an address with every character escaped is shorter

_FULL_STOPS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # as IDNA has them (RFC 3490, 3.1)
_INVISIBLE = re.compile("[\xad\u034f\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_LABEL = r"[^\x00-,./:-^`{-\x7f]+"  # a-z, 0-9, _, - and all that is not ASCII: named so it compiles in no time
is_domain = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
"""Match a domain in lower case."""

_BEHIND_AT = re.compile(r"@[\[ ]*([\w.-]+)(?=[^\w.@-])")


def find(domain: str, domains: Mapping[str, str]) -> str | None:
    """Return a lower-case domain as it is looked up; None where it is none of `domains`, which has each form."""
    return domains.get(domain) or domains.get(_plain(domain))


def holds_address(text: str, domains: Mapping[str, str]) -> bool:
    """Return whether a text holds a whole address in one of some domains: `<a@acme.example>`, `a@acme.example, b@c`."""
    if len(text) > LONGEST:
        return False
    plain = _plain(text)
    if plain.endswith(".."):  # PowerShell cut it: it may have been an address of theirs
        begun = plain.rstrip(".").rpartition("@")[2] if "@" in plain else ""
        return any(domain.startswith(begun) for domain in domains)
    return any(
        find(domain, domains) for form in {plain, "".join(plain.split())} for domain in _BEHIND_AT.findall(f"{form} ")
    )


@lru_cache(maxsize=1024)
def _plain(text: str) -> str:
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text.translate(_FULL_STOPS))).lower()
    return text.removesuffix(".")
