"""Runs on the relay: whether unlisted addresses can be deferred or asked about here, and of which domains they are.

Our member stands first in smtpd_recipient_restrictions. What refuses a stranger's attempt to relay must come before it:
otherwise our 450 would answer for an address within an address, such as `"a@b"@acme.example`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.main_cf_params import RESTRICTIONS, TABLES, members, without_unlisted
from remote.postfix.asking import find_unaskable
from remote.postfix.instance import Postfix, Service
from remote.postfix.listeners import find_answering_services
from remote.postfix.outsider import Way, find_way
from remote.postfix.restrictions import is_asked
from remote.postfix.smtp import DENIED

DEFER, ASK = "defer", "ask"
RELAY, FIRST = "smtpd_relay_restrictions", "smtpd_relay_before_recipient_restrictions"
DELAYED, EXPLICIT = "smtpd_delay_reject", "reject_unlisted_recipient"
EARLIER = [f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender")]
UNTRUSTED = "allow_untrusted_routing"
AT_ONCE = "strangers may name an address within an address, and would be told what ours is"
UNAUTHORISED = ("reject_unauth_destination", "defer_unauth_destination")
ELSEWHERE = '"postern@postern.invalid"'  # an address within the address: who asks wants it passed on


def find_our_table(restrictions: str) -> str:
    """Return the table that our member asks, where that stands first; otherwise empty."""
    words = members(restrictions)
    return words[1] if words[:2] != members(without_unlisted(restrictions))[:2] else ""


def find_words(postfix: Postfix, domains: Iterable[str]) -> dict[str, str]:
    """Return by domain what happens to unlisted addresses, where it is closed and they are not refused."""
    table = f"{TABLES}/unlisted_domains"
    if not os.path.exists(table) or not find_our_table(postfix.value(RESTRICTIONS)):
        return {}
    word = f"q{os.urandom(8).hex()}"
    found = postfix.lookup(f"regexp:{table}", [f"{word}@{domain}" for domain in domains])
    return {address.partition("@")[2]: each for address, each in found.items()}


def find_relayed(way: Way, domains: Iterable[str]) -> Iterator[str]:
    """Yield what a stranger is told who names another address within one, where that is no refusal to relay."""
    asked = [f"{ELSEWHERE}@{domain}" for domain in domains]
    if way.caller.is_outside and asked:
        for address, answer in way.ask(asked).items():
            if DENIED not in answer:
                yield f"{way.where} answers {way.caller} about {address}: {answer}, and does not refuse to relay it"


def find_obstacles(postfix: Postfix, wanted: Mapping[str, str], hops: Mapping[str, str | None]) -> list[str]:
    """Return why unlisted addresses in these domains cannot be deferred or asked about.

    `wanted`: the word by domain; `hops`: its next hop, None: as Postfix has it.
    """
    values = postfix.values(RESTRICTIONS, RELAY, FIRST, DELAYED, UNTRUSTED, *EARLIER)
    found = [f"main.cf: {UNTRUSTED} = yes: {AT_ONCE}"] if values.get(UNTRUSTED) == "yes" else []
    found += [
        fault
        for one in find_answering_services(postfix)
        for fault in _of_service(one, values, DEFER in wanted.values())
    ]
    asked = [domain for domain, word in wanted.items() if word == ASK]
    found += find_unaskable(postfix, asked, hops) if asked else []
    return [*dict.fromkeys(found), *find_relayed(find_way(postfix), wanted)]


def _of_service(service: Service, values: Mapping[str, str], is_deferring: bool) -> Iterator[str]:
    place = f"master.cf, {service.name}/{service.type}"
    if service.command != "smtpd":
        return
    if RESTRICTIONS in service.overrides:
        yield f"{place}: {RESTRICTIONS} = {service.overrides[RESTRICTIONS]}: our member of main.cf is not reached there"
    stages = _earlier_restrictions(service, values)
    if not any(is_asked(stage, name) for stage in stages.values() for name in UNAUTHORISED):
        yield (
            f"{place}: {' or '.join(UNAUTHORISED)} does not come before {RESTRICTIONS}: have it in {RELAY}, and "
            f"{FIRST} = yes"
        )
    for name, restrictions in stages.items():
        if is_deferring and EXPLICIT in restrictions:
            yield f"{place}: {name} has {EXPLICIT}, which refuses before our member is reached: leave it out"


def _earlier_restrictions(service: Service, values: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """Return the restrictions that are evaluated at RCPT TO before those of recipients."""
    merged = {**values, **service.overrides}
    names = [*(EARLIER if merged.get(DELAYED) == "yes" else ()), *([RELAY] if merged.get(FIRST) == "yes" else ())]
    return {name: members(merged.get(name, "").lower()) for name in names}
