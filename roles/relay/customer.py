"""A customer's tree on a relay: what they may do, who may write, and where their mail goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from common.key_line import KEY_WORD, NAME_WORD, KeyLine
from common.paths import PLACES
from common.settings import Settings
from deploy.items import Item, ProtectedLines, ProtectedSetting, State, file, tree
from inventory import domains
from inventory.model import Customer
from inventory.validators import ANYWHERE, BY_MX
from templates import render

PROTECTED = (
    # Another key of the same name is another checkout's.
    ProtectedLines("authorized_keys", "key", NAME_WORD, same=KEY_WORD),
    ProtectedLines("relay_domains", "domain", 0),
    ProtectedLines("transport", "route", 0),
    # A domain that closes refuses those whose mailboxes are elsewhere.
    ProtectedLines("settings.json#partial", "partial", 0),
    ProtectedLines("settings.json#include", "include", 0),
    # Each value refuses more of those whom the list lacks than the next.
    ProtectedSetting(
        "settings.json", "unlisted", (("refuse", ""), (None, ""), ("defer", "unlisted:defer"), ("ask", "unlisted:ask"))
    ),
    # None is yes where an export has said so, which the tree does not have.
    ProtectedSetting("settings.json", "plus_addresses", ((False, ""), (None, "plus"), (True, "plus"))),
)
"""What goes from a tree only when it is named on the command line."""


NOBODY: Mapping[str, str] = MappingProxyType({})


def customer_tree(customer: Customer, closed_by: Mapping[str, str] = NOBODY, revision: str = "") -> Item:
    """Return the tree as it must be.

    `closed_by`: who else closes domains that are being adopted, by A-label. `revision`: store.json; empty: no store.
    """
    facts = {
        "customer": customer,
        "names": domain_names(customer),
        "routes": routes(customer, closed_by),
    }
    rendered = {
        name: render(f"relay/{name}.j2", **facts) for name in ("exclude-users.txt", "relay_domains", "transport")
    }
    sources = _sources(customer)
    lines = [KeyLine(customer.id, key.name, key.public, sources).text() for key in customer.keys]
    rendered["authorized_keys"] = "".join(f"{line}\n" for line in lines)
    adopted = {name: closer for name, closer in closed_by.items() if name in customer.domains}
    files = {"settings.json": settings(customer)._replace(closed_by=adopted).text(), **rendered}
    if revision:
        files["store.json"] = revision
    return tree(PLACES.tree(customer.id), files, about=customer.id, protected=PROTECTED)


def no_tree(customer_id: str) -> Item:
    """Return the tree of a customer who is to go: the losses name all that goes with it."""
    return tree(PLACES.tree(customer_id), None, about=customer_id, protected=PROTECTED)


def without_uploads(customer: Customer) -> Customer:
    """Return the customer as a follower has it: no key opens it, and no account of its own takes files."""
    exchange = customer.exchange.model_copy(update={"client": "openssh"})
    return customer.model_copy(update={"keys": (), "exchange": exchange})


def open_marker(customer: Customer) -> Item:
    """Return the marker by which root holds the customer's domains open. Raises ValueError where it has none."""
    if customer.opened is None:
        raise ValueError(f"{customer.id} is not opened")
    return file(PLACES.opened(customer.id), customer.opened.text(), about=customer.id)


def no_marker(customer_id: str) -> Item:
    """Return that there is no such marker: a person ended it, or the customer goes."""
    return file(PLACES.opened(customer_id), None, about=customer_id)


def domain_names(customer: Customer) -> list[str]:
    """Return the domains, an internationalised one in both its forms: Postfix makes neither of the other."""
    return [name for domain in customer.domains for name in (domain, domains.table_form(domain)) if name]


def routes(customer: Customer, closed_by: Mapping[str, str] = NOBODY) -> dict[str, str]:
    """Return the right side of a transport(5) line for each form of its domains; none where Postfix has a route.

    Nor for a domain that is being adopted: its route may be what closes it.
    """
    hop = customer.next_hop
    if hop is None:
        return {}
    staying = [domain for domain in customer.domains if domain not in closed_by]
    forms = {name: domain for domain in staying for name in (domain, domains.table_form(domain)) if name}
    return {name: f"relay:{domain}" if hop == BY_MX else hop for name, domain in forms.items()}


def has_new_filter(before: State, after: State) -> bool:
    """Return whether two states of a tree differ in what is chosen from an export: that shows with the next list."""
    return _choice(tree_files(before)) != _choice(tree_files(after))


def plus_notes(customer: str, before: State | None, after: State, delimiter: str) -> list[str]:
    """Return what becomes of user+tag@ on a relay, where the word for it changes; `delimiter`: recipient_delimiter."""
    was, word = (tree_settings(tree_files(state)).get("plus_addresses") for state in (before, after))
    if word == was:
        return []
    if "+" in delimiter:
        return [f"{customer}: user+tag@ is taken there where user@ is, whatever we say: recipient_delimiter has a +"]
    taken: dict[object, str] = {True: "is taken where user@ is", False: "is unlisted unless the list has it"}
    return [f"{customer}: user+tag@ {taken.get(word, 'is taken where user@ is, from the first export that says so')}"]


def tree_files(state: State | None) -> Mapping[str, str]:
    """Return the files of a tree by name; none where it is not there."""
    return (state or {}).get("files") or {}


def tree_settings(files: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings.json of a tree's files; one that cannot be read has no settings."""
    try:
        found = json.loads(files.get("settings.json", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _choice(files: Mapping[str, str]) -> tuple[object, ...]:
    return tree_settings(files).get("leave_out", []), files.get("exclude-users.txt")


def _sources(customer: Customer) -> str:
    """Return what from= says; nothing: the key may be used from anywhere."""
    return "" if customer.exchange.addresses == (ANYWHERE,) else ",".join(customer.exchange.addresses)


def settings(customer: Customer) -> Settings:
    """Return what the receiver goes by, here as there."""
    guard, schedule, ldap = customer.guard, customer.exchange.schedule, customer.exchange.ldap
    return Settings(
        customer=customer.id,
        format=customer.exchange.source,
        domains=customer.domains,
        unicode=customer.unicode,
        partial=customer.partial,
        include=customer.include,
        canaries=customer.canaries,
        exclude=customer.exclude,
        leave_out=customer.exchange.left_out,
        open_after_days=customer.open_after_days,
        shrink_percent=guard.shrink_percent,
        shrink_floor=guard.shrink_floor,
        growth_factor=guard.growth_factor,
        max_recipients=guard.max_recipients,
        max_megabytes=guard.max_megabytes,
        no_additions_days=guard.no_additions_days,
        drop=customer.exchange.copies_files,
        days=" ".join(schedule.days),
        starts=" ".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in schedule.starts(customer.id)),
        timezone=schedule.timezone,
        ldap_attributes=ldap.attributes if ldap else (),
        ldap_filter_is_default=ldap is None or ldap.finds_addresses_alone,
        ldap_paged=ldap is None or ldap.page_size > 0,
        unlisted=customer.unlisted,
        plus_addresses=customer.plus_addresses,
    )
