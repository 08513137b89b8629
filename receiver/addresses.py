"""The form of an address in a list and in a table, and how long one may be; common.addresses has its local part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable
from operator import itemgetter, methodcaller

OCTETS = 1_024  # of an address in a list, more than one of Exchange's needs: 315 letters at 255 octets
LINE = OCTETS + 1  # octets of the longest address and its line end
KEY_OCTETS = 510  # of a key that every table type holds: postmap ends the build of an lmdb table at 511

_ATOM = rb'[^\x00-\x20"(),:;<>@\[\\\].\x7f]+'
_LOCAL = rb'(?!\*@)(?:%b(?:\.%b)*|"(?:[^"\\]|\\.)+")' % (_ATOM, _ATOM)
is_address = re.compile(_LOCAL + rb"@[a-z0-9._-]+").fullmatch
"""Match the bytes of a whole address, folded, as a list has it."""


def domain_of(recipient: str) -> str:
    """Return the part behind the last @: a quoted local part may hold others."""
    return recipient.rpartition("@")[2]


def count_domains(recipients: Iterable[str]) -> Counter[str]:
    """Return how many of some recipients each domain has; a call of ours for each would take twice as long."""
    return Counter(map(itemgetter(2), map(methodcaller("rpartition", "@"), recipients)))


def keep_domains(recipients: Iterable[str], domains: Container[str]) -> frozenset[str]:
    """Return the recipients that are in one of some domains: mostly all of them."""
    whole = frozenset(recipients)
    others = {name for name in count_domains(whole) if name not in domains}
    return frozenset(one for one in whole if domain_of(one) not in others) if others else whole


def without_tag(address: str) -> str:
    """Return user@ of user+tag@; empty where there is no tag. A name that begins with + has none."""
    local, _, domain = address.rpartition("@")
    user, plus, _ = local.partition("+")
    return f"{user}@{domain}" if user and plus else ""


def table_key(address: str) -> str:
    """Return the key under which a listed address stands in a table.

    postmap takes a line that begins with # for a comment, so `#sales@` stands there as `"#sales"@`.
    """
    if not address.startswith("#"):
        return address
    local, _, domain = address.rpartition("@")
    return f'"{local}"@{domain}'
