"""Root's tree of a customer, `/etc/postern/customers/ID`, checked again before anything is built from it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.key_line import read_key_line
from common.names import CUSTOMER
from common.paths import Places
from common.settings import UNLISTED, BadSettings, Settings, load_settings
from receiver.addresses import table_key
from receiver.formatting import escape
from receiver.outcome import Failed

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{3,253}}$)(?:{_LABEL}\.)+{_LABEL}")
_ROUTE = re.compile(r"[a-z][a-z0-9_-]*:[!-~]*")


class Damaged(Exception):
    """A tree or a list is damaged; the text says how, and may be printed."""


class CustomerTree(NamedTuple):
    """The content of a tree. Domains stand in every form Postfix may meet, folded as Postfix folds."""

    customer: str
    domains: Mapping[str, Sequence[str]]  # A-label: its forms, itself first
    partial: Sequence[str]
    include: Sequence[str]  # keys of a table: folded, their domain as A-label
    open_after_days: int
    max_recipients: int
    routes: Mapping[str, str]  # form of a domain: transport:nexthop
    keys: Sequence[str]  # lines of authorized_keys
    drop: bool = False  # it has an upload account and an SFTP inbox
    unlisted: str = "refuse"  # what an address gets that is not listed: a word of UNLISTED
    plus_addresses: bool | None = None  # user+tag@ is taken where user@ is; None: where an export has said so
    closed_by: Mapping[str, str] = {}  # A-label: who else closes it while its list is adopted


def list_customers(places: Places) -> list[str]:
    """Return the customers that have a tree.

    Raises Failed where all trees are gone though tables were built of some.
    """
    where = os.path.join(places.etc, "customers")
    try:
        return sorted(name for name in os.listdir(where) if CUSTOMER.fullmatch(name))
    except FileNotFoundError as error:
        if os.path.exists(os.path.join(places.tables, "built.json")):
            raise Failed(f"{where} is gone; the tables stay as they are; provision this relay again") from error
        return []


def read_tree(places: Places, customer: str) -> CustomerTree:
    """Read a tree. Raises Damaged."""
    try:
        return _tree(places, load_settings(places, customer), customer)
    except BadSettings as error:
        raise Damaged(escape(str(error), 400)) from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"its tree is damaged: {escape(str(error), 400)}") from error


def _tree(places: Places, settings: Settings, customer: str) -> CustomerTree:
    if settings.customer != customer:
        raise Damaged(f"settings.json is that of customer {escape(settings.customer)}")
    if settings.unlisted not in (None, *UNLISTED):
        raise Damaged(f"settings.json: unlisted {escape(str(settings.unlisted))!r} is none of {', '.join(UNLISTED)}")
    domains = {domain: _forms(settings, domain) for domain in settings.domains}
    routes = _values(places, customer, "transport")
    _check_domains(
        {form for each in domains.values() for form in each}, _values(places, customer, "relay_domains"), routes
    )
    return CustomerTree(
        customer=customer,
        domains=domains,
        partial=settings.partial,
        include=[_fold_include(address, domains) for address in settings.include],
        open_after_days=int(settings.open_after_days),
        max_recipients=int(settings.max_recipients),
        routes=routes,
        keys=[_key(line, customer) for line in _lines(places, customer, "authorized_keys")],
        drop=bool(settings.drop),
        unlisted=settings.unlisted or UNLISTED[0],
        plus_addresses=None if settings.plus_addresses is None else bool(settings.plus_addresses),
        closed_by={name: str(closer) for name, closer in settings.closed_by.items() if name in domains},
    )


def _forms(settings: Settings, domain: str) -> Sequence[str]:
    written = settings.unicode.get(domain, domain)
    if not _DOMAIN.fullmatch(domain) or _ascii(written) != domain:
        raise Damaged(f"settings.json: {escape(domain)!r} is no domain")
    if written != written.casefold():  # Postfix would take it for another domain, as straße for strasse
        return [domain]
    return list(dict.fromkeys((domain, written)))


def _ascii(domain: str) -> str:
    labels = domain.split(".")
    return ".".join(label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels)


def _fold_include(address: str, domains: Mapping[str, Sequence[str]]) -> str:
    local, _, form = address.casefold().rpartition("@")
    for domain, forms in domains.items():
        if form in forms:
            return table_key(f"{local}@{domain}")
    raise Damaged(f"settings.json: include {escape(address)!r} is in none of its domains")


def _check_domains(forms: set[str], listed: Mapping[str, str], routes: Mapping[str, str]) -> None:
    for wrong in sorted(forms ^ listed.keys()):
        raise Damaged(f"relay_domains {'lacks' if wrong in forms else 'holds the foreign domain'} {escape(wrong)}")
    for form, route in routes.items():
        if form not in forms or not _ROUTE.fullmatch(route):
            raise Damaged(f"transport: {escape(f'{form} {route}')!r} is no route of a domain of its own")


def _key(line: str, customer: str) -> str:
    found = read_key_line(line)
    if found is None or found.customer != customer:
        raise Damaged(f"authorized_keys: {escape(line, 60)!r} is no key line of {customer}")
    return line


def _values(places: Places, customer: str, name: str) -> dict[str, str]:
    words = [line.split(" ") for line in _lines(places, customer, name)]
    if any(len(each) != 2 for each in words):
        raise Damaged(f"{name} is no table of two words a line")
    return {key.casefold(): value for key, value in words}


def _lines(places: Places, customer: str, name: str) -> list[str]:
    with open(os.path.join(places.tree(customer), name), encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line]
