"""Runs on the relay: what its access restrictions say about a whole domain, before any list of recipients is asked.

They are read as for a stranger who writes to an address in the domain that no table has. Restrictions about clients are
ignored, and those that let only known clients pass do not apply. Format: access(5), postconf(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from common.main_cf_params import members, without_unlisted
from remote.postfix.instance import Postfix
from remote.postfix.listeners import find_answering_services

STAGES = [f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender", "relay", "recipient", "data")]
RECIPIENT = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
CLASSES, PARENTS = "smtpd_restriction_classes", "parent_domain_matches_subdomains"
PASSING = ("permit", "permit_auth_destination")
REFUSING = ("reject", "defer", "defer_if_permit")
WITH_ARGUMENT = ("reject_rbl_client", "reject_rhsbl_", "permit_dnswl_client", "permit_rhswl_client", "sleep", "check_")
WHOLE = ("regexp", "pcre", "cidr", "tcp", "socketmap")  # tables that are asked for the whole address alone
ON = ("dunno", "hold", "filter", "warn", "prepend", "redirect", "bcc", "info", "defer_if_reject")
PERMITTED = "permitted"
DEPTH = 10  # classes in classes; Postfix gives up at 100


class Rules(NamedTuple):
    """The settings by which the restrictions of one service are read."""

    postfix: Postfix
    classes: Mapping[str, str]
    is_for_parents: bool  # an entry of an access table stands for what is below a domain, too
    stage: str = ""  # whose restrictions are read: a table by itself is asked about what that stage is about


def find_refusals(postfix: Postfix, domains: Iterable[str]) -> dict[str, str]:
    """Return by domain what refuses its recipients whatever our list says, for the domains where something does."""
    names = postfix.values(CLASSES, PARENTS)
    classes = postfix.values(*members(names.get(CLASSES, ""))) if members(names.get(CLASSES, "")) else {}
    rules = Rules(postfix, classes, "smtpd_access_maps" in members(names.get(PARENTS, "")))
    values = postfix.values(*STAGES)
    lists = [
        (stage, members(without_unlisted(service.overrides.get(stage, values.get(stage, "")))))
        for service in find_answering_services(postfix)
        for stage in STAGES
    ]
    found = {domain: _first_refusal(rules, lists, domain) for domain in domains}
    return {domain: why for domain, why in found.items() if why}


def is_asked(restrictions: Sequence[str], name: str) -> bool:
    """Return whether a list comes to this restriction before it lets a stranger pass."""
    for word in restrictions:
        if word in PASSING:
            return False
        if word == name:
            return True
    return False


def _first_refusal(rules: Rules, lists: Sequence[tuple[str, list[str]]], domain: str) -> str:
    for stage, restrictions in lists:
        why = _find_verdict(rules._replace(stage=stage), restrictions, f"q{os.urandom(8).hex()}@{domain}", DEPTH)
        if why and why != PERMITTED:
            return f"{stage}: {why}"
    return ""


def _find_verdict(rules: Rules, restrictions: Sequence[str], address: str, depth: int) -> str:
    """Return why an address is refused, PERMITTED, or an empty text where the list goes on."""
    asked: list[str] = []  # tables that might have let it pass
    for name, argument in split_restrictions(restrictions, rules.stage in RECIPIENT):
        if name in PASSING:
            return PERMITTED
        if name in REFUSING:
            lacks = f", and {' and '.join(asked)} has nothing that lets everybody in the domain pass" if asked else ""
            return f"it comes to `{name}`{lacks}"
        if name == "reject_unverified_recipient":
            return f"`{name}` asks the next hop about each address, so that nobody can tell what our list says"
        if name == "check_recipient_access":
            asked.append(argument)
            verdict = _look_up(rules, argument, address, depth)
        else:
            verdict = _find_verdict(rules, members(rules.classes.get(name, "")), address, depth - 1) if depth else ""
        if verdict:
            return verdict
    return ""


def split_restrictions(restrictions: Sequence[str], is_recipient: bool) -> Iterator[tuple[str, str]]:
    """Yield each restriction, lower case, with its argument. One that only warns is left out."""
    words = iter(restrictions)
    for word in words:
        name = word.lower()
        if name == "warn_if_reject":
            _argument(next(words, "").lower(), words)
        elif ":" in word and "{" not in name.partition(":")[0]:  # a table without check_..., as old releases have it
            yield ("check_recipient_access", word) if is_recipient else ("", "")
        else:
            yield name, _argument(name, words)


def _argument(name: str, words: Iterator[str]) -> str:
    return next(words, "") if name.startswith(WITH_ARGUMENT) else ""


def _look_up(rules: Rules, table: str, address: str, depth: int) -> str:
    keys = [address] if table.partition(":")[0] in WHOLE else _keys(rules, address)
    found = rules.postfix.lookup(table, keys)
    key = next((key for key in keys if key in found), None)
    if key is None:
        return ""
    action = found[key].strip()
    first = action.partition(" ")[0].lower()
    if first in ON:
        return ""
    if first in ("ok", "relay", "permit", "discard") or re.fullmatch(r"[0-9]+", action):
        return PERMITTED
    if first in REFUSING or re.match(r"[45][0-9][0-9]\b", first):
        return f"{table} says {action!r} of {'everybody in it' if key == address else key}"
    return _find_verdict(rules, members(action), address, depth - 1) if depth else ""


def _keys(rules: Rules, address: str) -> list[str]:
    domain = address.partition("@")[2]
    labels = domain.split(".")
    above = [".".join(labels[place:]) for place in range(1, len(labels))]
    return [address, domain, *(name if rules.is_for_parents else f".{name}" for name in above)]
