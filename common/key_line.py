"""The line of authorized_keys by which a customer's key opens our forced command: how it is written and read."""

from __future__ import annotations

import re
from typing import NamedTuple

from common.paths import RECEIVE

KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Types of key, a machine's as well, in the order in which they are preferred."""
NAME_WORD, KEY_WORD = -1, -3
"""Among a line's words, counted from its end: the key's name, and the key itself."""
_WORD = r"[a-z0-9-]+"
_LINE = re.compile(
    r'restrict,(?:from="(?P<sources>[!#-\[\]-~]+)",)?'
    rf'command="{re.escape(RECEIVE)} (?P<customer>{_WORD}) (?P<name>{_WORD})" '
    rf"(?P<public>(?:{'|'.join(KEY_TYPES)}) [A-Za-z0-9+/]+={{0,2}}) (?P=customer) (?P=name)"
)


class KeyLine(NamedTuple):
    """Which key may call for which customer, and from where. `restrict` leaves it the forced command alone."""

    customer: str
    name: str  # of the key
    public: str  # type and key, as in a .pub file
    sources: str = ""  # what from= says, with commas between; empty: it may be used from anywhere

    def text(self) -> str:
        """Return the line, without its end."""
        source = f'from="{self.sources}",' if self.sources else ""
        options = f'restrict,{source}command="{RECEIVE} {self.customer} {self.name}"'
        return f"{options} {self.public} {self.customer} {self.name}"


def read_key_line(line: str) -> KeyLine | None:
    """Return what text() wrote; None: it is no such line, or has an option that we do not write."""
    found = _LINE.fullmatch(line)
    return KeyLine(found["customer"], found["name"], found["public"], found["sources"] or "") if found else None
