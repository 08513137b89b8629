"""Whether one address is a recipient of the customer's: the form in which a list has it, or the reason why it is none.

An address is kept as Postfix looks it up: folded as its tables fold keys, the domain as its A-label, the local part as
common.addresses has it. Encapsulated addresses (IMCEAEX-...) that Exchange lists are recipients like any other, because
replies to old mail go there. A customer who does not want that names them in `exclude`.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from common.addresses import AROUND, LOCAL_CHARACTERS, has_unlisted_characters, listed_local_part
from common.settings import Settings
from receiver.addresses import OCTETS
from receiver.upload import joined_values, own_domains
from receiver.upload.recipient_types import KINDS

NOT_INTERNET = "not internet"  # X400, MS, CCMAIL, ...
OTHER_DOMAIN = "other domain"
EXCLUDED = "excluded"
NOT_AN_ADDRESS = "not an address"  # no domain, controls, or another notation than an address; nothing is guessed
NO_LOCAL_PART = "no local part"  # as a key it would be the whole domain
WILDCARD = "wildcard"  # `*@domain`, meant as the whole domain
TOO_LONG = "too long"  # for Exchange
UNASSIGNED = "unassigned character"  # Postfix' Unicode may know it, and fold it into another as ours cannot
REASONS = (
    *(NOT_INTERNET, OTHER_DOMAIN, EXCLUDED, NOT_AN_ADDRESS, NO_LOCAL_PART, WILDCARD),
    *(TOO_LONG, UNASSIGNED, *KINDS),
)
UNINTENDED = (NOT_AN_ADDRESS, NO_LOCAL_PART, WILDCARD, TOO_LONG, UNASSIGNED)  # nobody decided this, unlike the others

_WRITTEN = 2 * LOCAL_CHARACTERS + 2 + 1 + 255  # characters, with a backslash before each of the local part
_PLAIN_ATOM = r"[a-z0-9!$%&'+/=?^_`{|}~-]"  # without # and *, which need a closer look
_PLAIN_LOCAL = rf"{_PLAIN_ATOM}{{1,24}}(?:\.{_PLAIN_ATOM}{{1,19}}){{0,2}}"
_PLAIN_DOMAIN = r"[a-z0-9_-]{1,62}(?:\.[a-z0-9_-]{1,62}){0,2}"
_BLANKS = r"[^\S\n]*"  # before a type, typed by mistake
INTERNET = re.compile(rf"\n{_BLANKS}smtp:([^\n]*)")
_APART = r"(?:[^\S\n]{0,9}[:;=,][^\S\n]{0,9}|[^\S\n]{1,9})"
_MISTYPED = rf"(?!smtp:)(?:s[mtp]{{2,4}}|\uff53\uff4d\uff54\uff50|mailto|e?-?mail){_APART}"
"""In place of `smtp:`: typed wrong, with a blank, on an East Asian keyboard, or as a browser has it."""


def listed_form(value: str, settings: Settings) -> str:
    """Return how an address, with or without `smtp:`, would be listed; empty: in no domain of the customer."""
    lowered = INTERNET.fullmatch("\nsmtp:" + re.sub(r"(?i)^\s*smtp:", "", value).lower().replace("\n", "\r"))
    return check_address(lowered[1], rules_of(settings._replace(exclude=())))[0] if lowered else ""


def reason_left_out(value: str, settings: Settings) -> str | None:
    """Return why a value is no recipient, in one of REASONS; None: it is one."""
    lowered = INTERNET.fullmatch("\n" + value.lower().replace("\n", "\r"))
    return check_address(lowered[1], rules_of(settings))[1] if lowered else NOT_INTERNET


class Rules(NamedTuple):
    """The settings, prepared for a million values."""

    domains: Mapping[str, str]  # as written in lower case: A-label; empty: any
    plain: re.Pattern[str]  # a line that is a recipient beyond doubt, in lower case, just as it is looked up
    untyped: re.Pattern[str]  # a line that is an address of the customer's, without its type before it
    inner: re.Pattern[str]  # an address of the customer's within another value
    excluded: re.Pattern[str] | None  # matches an address as it is looked up


def rules_of(settings: Settings) -> Rules:
    """Return the rules of these settings, compiled once."""
    return _compile_rules(settings.domains, tuple(sorted(settings.unicode.items())), settings.exclude)


@lru_cache(maxsize=4)
def _compile_rules(domains: tuple[str, ...], labels: tuple[tuple[str, str], ...], exclude: tuple[str, ...]) -> Rules:
    known = {**{u_label.lower(): a_label for a_label, u_label in labels}, **{name.lower(): name for name in domains}}
    ours = "|".join(map(re.escape, domains)) if domains else _PLAIN_DOMAIN
    return Rules(
        known if domains else {},
        re.compile(rf"\nsmtp:({_PLAIN_LOCAL}@(?:{ours}))(?=\n)"),
        re.compile(rf"\n{_BLANKS}((?:{_MISTYPED})?[^\s:@]+@(?:{ours if domains else '(?!)'})){_BLANKS}(?=\n)"),
        joined_values.compile_inner(known),
        re.compile("|".join(_exclusion(pattern, known) for pattern in exclude)) if exclude else None,
    )


def _exclusion(pattern: str, domains: Mapping[str, str]) -> str:
    """Return a line of exclude-users.txt as a regular expression: a bare word is a local part in any domain."""
    folded = pattern.casefold()
    if not set(folded) & set("@*?["):
        return re.escape(listed_local_part(folded) or folded) + r"@[^@]*\Z"
    local, at, domain = folded.rpartition("@")
    shell = fnmatch.translate(f"{local}{at}{domains.get(domain, domain)}")
    try:
        re.compile(shell)
    except re.error:  # a range the wrong way round, as in [z-a]: it matches nothing
        return "(?!)"
    return shell


def check_address(address: str, rules: Rules) -> tuple[str, str | None]:
    """Return a lower-case address as it is looked up, and why it is no recipient; None where it is one."""
    local, at, domain = parts = address.strip(AROUND).rpartition("@")
    if len(local) + len(domain) > _WRITTEN:  # looked at no closer: megabytes of it would cost gigabytes
        return "", TOO_LONG
    named = _our_domain(parts, rules)
    if at and rules.domains and named is None:
        return "", NOT_AN_ADDRESS if _holds_own(parts, rules) else OTHER_DOMAIN
    if named is None or not own_domains.is_domain(named) or has_unlisted_characters(named):
        return "", NOT_AN_ADDRESS
    local = local.strip(AROUND)
    if local in ("", '""'):
        return "", NO_LOCAL_PART
    spelled = listed_local_part(local.casefold())
    if spelled is None:
        return "", NOT_AN_ADDRESS
    recipient = f"{spelled}@{named}"
    return recipient, _objection(spelled, recipient, rules)


def is_own(address: str, rules: Rules) -> bool:
    """Return whether an address, or one within the value, is in a domain of the customer's."""
    parts = address.strip(AROUND).rpartition("@")
    return bool(_our_domain(parts, rules)) or _holds_own(parts, rules)


def _holds_own(address: tuple[str, str, str], rules: Rules) -> bool:
    """Return whether a value that is not just one address contains an address of the customer's."""
    local, at, domain = address
    is_one = at and domain.isascii() and own_domains.is_domain(domain) and "@" not in local
    return not is_one and own_domains.holds_address("".join(address), rules.domains)


def _our_domain(address: tuple[str, str, str], rules: Rules) -> str | None:
    """Return the customer's domain of an address that was split at its last @; None where it has no such domain."""
    _, at, domain = address
    if not at or len(domain) > _WRITTEN:
        return None
    return own_domains.find(domain, rules.domains) if rules.domains else domain.casefold()


def has_another_behind(address: str, rules: Rules) -> bool:
    """Return whether an address of the customer's is followed by a possible separator and another type."""
    return bool(_our_domain(("", "@", joined_values.domain_before_type(address)), rules))


def _objection(local: str, recipient: str, rules: Rules) -> str | None:
    """Return why an address that is well-formed is no recipient."""
    if local == "*":
        return WILDCARD
    if len(local) > LOCAL_CHARACTERS + _count_quoting(local) or len(recipient.encode()) > OCTETS:
        return TOO_LONG
    if not recipient.isprintable() and "Cn" in map(unicodedata.category, recipient):
        return UNASSIGNED
    return EXCLUDED if rules.excluded and rules.excluded.match(recipient) else None


def _count_quoting(local: str) -> int:
    """Count the characters of a local part that only quote it."""
    return 2 + len(re.findall(r"\\.", local)) if local.startswith('"') else 0
