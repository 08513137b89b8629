"""Runs on the relay: the domains it relays, as far as they can be listed, and which of them are ours."""

from __future__ import annotations

import os
from collections.abc import Iterable

from common.main_cf_params import DOMAINS, TABLES, is_ours, members
from common.table_types import BY_NAME
from remote.postfix.customer_trees import list_customers, read_tree_settings
from remote.postfix.instance import Postfix, first_words

OWN = ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains")
PARENTS = "parent_domain_matches_subdomains"
_PATTERNS = tuple(f"{proxy}{kind}:" for proxy in ("", "proxy:") for kind in ("regexp", "pcre"))


def read_our_domains() -> list[str]:
    """Return the domains of all customers, from the text our table was built from."""
    return first_words(os.path.join(TABLES, "relay_domains"))


def find_adopted_domains() -> set[str]:
    """Return those of our domains that something else still closes, while their lists are adopted."""
    found: set[str] = set()
    for customer in list_customers():
        settings = read_tree_settings(customer)
        names = [name for name, closer in (settings.get("closed_by") or {}).items() if closer]
        found.update(form for name in names for form in (name, (settings.get("unicode") or {}).get(name, name)))
    return found


def find_open_domains() -> set[str]:
    """Return those of our domains in which every address is listed."""
    return {word[1:] for word in first_words(os.path.join(TABLES, "exchange_recipients")) if word.startswith("@")}


def find_foreign_domains(postfix: Postfix) -> list[str]:
    """Return relay domains that are not ours. One that stands for its subdomains keeps its dot: `.old.example`."""
    found: set[str] = set()
    for member in members(postfix.value("relay_domains")):
        if not is_ours(DOMAINS, member):
            found.update(_names(postfix, member))
    return sorted(found - set(read_our_domains()))


def find_delivered_domains(postfix: Postfix) -> list[str]:
    """List the domains that the relay delivers itself, as far as they can be listed and are not ours."""
    found: set[str] = set()
    for name in OWN:
        for member in members(postfix.value(name)):
            found.update(_names(postfix, member))
    return sorted(found - set(read_our_domains()))


def is_named(postfix: Postfix, domain: str) -> bool:
    """Return whether relay_domains has the name of this domain, not only of one above it, nor a pattern for both."""
    named = [member for member in members(postfix.value(DOMAINS)) if not member.startswith(("!", *_PATTERNS))]
    return any(_has(postfix, member, [domain]) for member in named)


def keys_of(domain: str, with_parents: bool) -> list[str]:
    """Return what stands for a domain in a list of domains or in transport_maps, in the order it is asked for."""
    labels = domain.lower().split(".")
    above = [".".join(labels[at:]) for at in range(1, len(labels))]
    return [domain.lower(), *(name if with_parents else f".{name}" for name in above)]


def find_taken_out(postfix: Postfix, domains: Iterable[str]) -> dict[str, str]:
    """Return by domain the member, as `!acme.example`, that excludes it before our table is asked."""
    values = postfix.values(DOMAINS, PARENTS)
    with_parents = DOMAINS in members(values.get(PARENTS, ""))
    found = {}
    for domain in domains:
        keys = keys_of(domain, with_parents)
        for member in members(values[DOMAINS]):
            if is_ours(DOMAINS, member) and domain in read_our_domains():
                break
            if not is_ours(DOMAINS, member) and _has(postfix, member.lstrip("!"), keys):
                if member.startswith("!"):
                    found[domain] = member
                break
    return found


def _has(postfix: Postfix, member: str, keys: list[str]) -> bool:
    if member.startswith("/"):
        return any(_has(postfix, line, keys) for line in first_words(member))
    return bool(postfix.lookup(member, keys)) if ":" in member else member.lower() in keys


def _names(postfix: Postfix, member: str) -> list[str]:
    """Return the domains that a member of relay_domains stands for; none for a pattern or an unlistable database."""
    table = member.removeprefix("proxy:")
    kind, colon, _ = table.partition(":")
    if member.startswith("!"):
        return []
    if member.startswith("/"):
        return [name for line in first_words(member) for name in _names(postfix, line)]
    if not colon:
        return [member.lower()] if "." in member and "{" not in member else []
    keys = postfix.keys(table) if kind in BY_NAME else []
    return [key.lower() for key in keys if "." in key and "@" not in key]  # keys of aliases are addresses, too
