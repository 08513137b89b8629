"""Runs on the relay: which parameters take in a list that we edit, so that an edit of one would change the other.

`relay_domains = $transport_maps` is one: our table of routes would become a list of domains. Pure, but for postconf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from common.main_cf_params import DOMAINS, RECIPIENTS, ROUTES, TABLE_OF
from common.main_cf_references import Reference
from remote.postfix.instance import Postfix

DECIDING = re.compile(
    r"(mydestination|virtual_(alias|mailbox)_(domains|maps)|local_recipient_maps|relay_domains|transport_maps"
    r"|relay_recipient_maps|(\w+_)?canonical_maps|relocated_maps|smtpd_\w+_restrictions|\w*_login_maps)"
)
"""The parameters that decide who gets mail, where it goes and who may send; others, as proxy_read_maps, do no harm."""

_NAME = re.compile(r"\$[{(]?\s*(\w+)")


def find_references(postfix: Postfix) -> list[Reference]:
    """Return all of them, in main.cf and in services of master.cf."""
    given = postfix.main_cf()
    values = {f"main.cf: {name}": (name, value) for name, value in given.items()}
    for service in postfix.services():
        for name, value in service.overrides.items():
            values[f"master.cf, {service.name}/{service.type}: {name}"] = (name, value)
    return [
        Reference(f"{place} = {value}", one)
        for place, (name, value) in values.items()
        if DECIDING.fullmatch(name) or name in given.get("smtpd_restriction_classes", "").replace(",", " ").split()
        for one in (DOMAINS, ROUTES, RECIPIENTS)
        if one != name and one in {*_names(value, given, frozenset({name}))}
    ]


def _names(value: str, given: Mapping[str, str], seen: frozenset[str]) -> Iterator[str]:
    """Yield the parameters that a value takes in, through others if need be; not those in one of our lists."""
    for name in _NAME.findall(value):
        if name not in seen:
            yield name
            if name not in TABLE_OF:
                yield from _names(given.get(name, ""), given, seen | {name})
