"""The form of an address in a list and in a table, and how long one may be (RFC 5321)."""

from __future__ import annotations

import re

LOCAL_OCTETS = 64
OCTETS = 255  # of a whole address
LINE = 321  # octets of the longest address that Postfix can ask for, 64 @ 255, and its line end

_ATOM = rb'[^\x00-\x20"(),:;<>@\[\\\].\x7f]+'
_LOCAL = rb'(?!#|\*@)(?:%b(?:\.%b)*|"(?:[^"\\]|\\.)+")' % (_ATOM, _ATOM)  # postmap skips a line that begins with #
is_address = re.compile(_LOCAL + rb"@[a-z0-9.-]+").fullmatch
"""Match the bytes of a whole address, folded, as a table has it for a key."""


def domain_of(recipient: str) -> str:
    """Return the part behind the last @: a quoted local part may hold others."""
    return recipient.rpartition("@")[2]
