"""Runs on the relay: the domains it relays, as far as they can be listed, and which of them are ours."""

from __future__ import annotations

import os

from common.main_cf_params import DOMAINS, TABLES, is_ours, members
from common.table_types import BY_NAME
from remote.postfix.customer_trees import customers, tree_settings
from remote.postfix.instance import Postfix, first_words

OWN = ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains")


def our_domains() -> list[str]:
    """Return the domains of all customers, from the text our table was built from."""
    return first_words(os.path.join(TABLES, "relay_domains"))


def adopted_ours() -> set[str]:
    """Return those of them that something of somebody else still closes, while their lists are adopted."""
    found: set[str] = set()
    for customer in customers():
        settings = tree_settings(customer)
        names = [name for name, closer in (settings.get("closed_by") or {}).items() if closer]
        found.update(form for name in names for form in (name, (settings.get("unicode") or {}).get(name, name)))
    return found


def open_ours() -> set[str]:
    """Return those of them in which every address is listed."""
    return {word[1:] for word in first_words(os.path.join(TABLES, "exchange_recipients")) if word.startswith("@")}


def foreign_domains(postfix: Postfix) -> list[str]:
    """List relay domains that are not ours. One that stands for what is below it keeps its dot: `.old.example`."""
    found: set[str] = set()
    for member in members(postfix.value("relay_domains")):
        if not is_ours(DOMAINS, member):
            found.update(_names(postfix, member))
    return sorted(found - set(our_domains()))


def delivered_domains(postfix: Postfix) -> list[str]:
    """List the domains that the relay delivers itself, as far as they can be listed and are not ours."""
    found: set[str] = set()
    for name in OWN:
        for member in members(postfix.value(name)):
            found.update(_names(postfix, member))
    return sorted(found - set(our_domains()))


def _names(postfix: Postfix, member: str) -> list[str]:
    """List the domains a member of relay_domains stands for: none of a pattern, or of a database that lists nothing."""
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
