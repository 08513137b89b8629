"""Any LDAP directory: what runexport.sh had `ldapsearch` find, addresses in attributes of the operator's choice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from urllib.parse import unquote

from common.settings import Settings
from receiver.formatting import name_some
from receiver.upload.formats import ldif
from receiver.upload.formats.values import BadExport, Block, Values
from receiver.upload.recipient_types import OWNER, kind_of_addresses, may_tell_a_kind, owner_kinds

MOST = 20  # entries, or values, for each of max_recipients: an export with more is refused, to bound the time
REFERENCES = 10_000
NAMED = 5  # references that are named; the others are counted

_BLANKS = " \t\r\n\v\f\0"  # around a value; Exchange and others strip them too
_TYPED = re.compile(r"(=?[A-Za-z0-9][A-Za-z0-9 _.-]{0,31}):(.*)", re.DOTALL)
_TYPED_BY_DOLLAR = re.compile(r"(?:internet|smtp|e?-?mail|rfc-?822)[ \t]*\$[ \t]*([^@$]+@[^@$]+)", re.IGNORECASE)
_CATCH_ALL = re.compile(r'(?:\*|"")?@([^@]+)')
_NOBODY_THERE = re.compile(r"(?:DC=(?:Domain|Forest)DnsZones|(?:.*,)?CN=Configuration)(?:,.*)?", re.IGNORECASE)
"""The parts of Active Directory in which nobody lives."""


def values(export: bytes, settings: Settings) -> Values:
    """Return the values of the address attributes. Raises BadExport."""
    search = _Search(settings)
    rows = partial(_entries, export, settings)
    for response in ldif.responses(export, settings.ldap_paged):
        if isinstance(response, ldif.Entry):
            search.add(response)
        elif not _NOBODY_THERE.fullmatch(unquote(response.url.partition("://")[2].partition("/")[2].partition("?")[0])):
            search.refer(response.url)
    search.check()
    return Values(search.blocks(rows), search.open_domains, tuple(search.notes()))


class _Search:
    """The entries that have been read so far."""

    def __init__(self, settings: Settings) -> None:
        self.references: list[str] = []
        self.open_domains: dict[str, str] = {}
        self._settings = settings
        self._domains = _every_spelling(settings)
        self._addresses = {name.lower().encode() for name in settings.ldap_attributes}
        names = b"|".join(re.escape(name) for name in (*self._addresses, *map(str.encode, OWNER)))
        self._line = re.compile(rb"\n(" + names + rb")(?:;[^:\n]*)?:([:<]?) *([^\n]*)", re.IGNORECASE)
        self._found: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        self._entries = self._values = self._without = 0

    def add(self, entry: ldif.Entry) -> None:
        """Add the addresses of an entry. Raises BadExport."""
        owner, addresses, has_one = self.read(entry)
        self._entries += 1
        self._values += len(addresses)
        self._without += not has_one
        self._check_bound(entry.line)
        if not has_one and self._settings.ldap_filter_is_default:
            why = f"none of {', '.join(self._settings.ldap_attributes)}, though only who has one was asked for"
            raise BadExport(entry.line, f"the entry that begins here has {why}: part of it is lost or hidden")
        self._found[_kinds(owner, addresses)] += addresses
        self._see_catch_alls(addresses)

    def read(self, entry: ldif.Entry) -> tuple[Mapping[str, str], list[str], bool]:
        """Return what an entry says of its owner, its addresses, and whether it has any. Raises BadExport."""
        owner: dict[str, str] = {}
        addresses, has_one = [], False
        for name, mark, written in self._line.findall(entry.attributes):
            if name.lower() in self._addresses:
                has_one = True
                addresses += _addresses(ldif.value(entry.line, mark, written))
            elif mark != b"<":  # of several classes the last is the most specific
                owner[name.decode().casefold()] = ldif.value(entry.line, mark, written)
        return owner, addresses, has_one

    def refer(self, url: str) -> None:
        """Record a reference to another server, which may know more recipients. Raises BadExport for too many."""
        self.references.append(url)
        if len(self.references) > REFERENCES:
            raise BadExport(None, f"more than {REFERENCES} references to other servers: no directory has so many")

    def check(self) -> None:
        """Raise BadExport where not one address was found."""
        if not self._entries:
            raise BadExport(None, "nobody was found: are base and filter right, and may bind_dn read what is there?")
        if not any(self._found.values()):
            why = f"none of {self._entries} entries has an address: may bind_dn read the attributes it asks for?"
            raise BadExport(None, why)

    def blocks(self, rows: Callable[[], Iterator[tuple[int, str]]]) -> Iterator[Block]:
        """Yield the addresses, by the kinds of their owners; `rows`, those of each entry."""
        yield from (Block("\n".join(addresses), kinds, rows) for kinds, addresses in self._found.items())

    def notes(self) -> Iterator[str]:
        """Yield notes for a person."""
        yield from self.open_domains.values()
        if self._without:
            names = ", ".join(self._settings.ldap_attributes)
            yield f"{self._without} of {self._entries} entries have none of {names}"
        if self.references:
            yield f"recipients on other servers are not listed: {name_some(self.references, NAMED, 100)}"

    def _check_bound(self, line: int) -> None:
        most = MOST * (self._settings.max_recipients + 1_000)
        if max(self._entries, self._values) > most:
            why = f"more than {most} entries or values up to here: narrow the filter, or raise guard.max_recipients"
            raise BadExport(line, why)

    def _see_catch_alls(self, addresses: list[str]) -> None:
        for address in addresses:
            everybody = _CATCH_ALL.fullmatch(address, 5) if "@" in address[5:8] else None
            domain = self._domains.get(everybody[1].casefold()) if everybody else None
            if domain and domain not in self._settings.partial:
                why = f"the directory has a catch-all @{domain}, so its server takes mail to anybody there"
                self.open_domains[domain] = f"{why}; {domain} stays open"


def _entries(export: bytes, settings: Settings) -> Iterator[tuple[int, str]]:
    """Yield the first line of each entry of an export that could be read, and its addresses."""
    search = _Search(settings)
    for response in ldif.responses(export, settings.ldap_paged):
        if isinstance(response, ldif.Entry):
            yield response.line, "\n".join(search.read(response)[1])


def _every_spelling(settings: Settings) -> Mapping[str, str]:
    both = {u_label.casefold(): a_label for a_label, u_label in settings.unicode.items()}
    return {**both, **{domain.casefold(): domain for domain in settings.domains}}


def _addresses(value: str) -> list[str]:
    """Return the addresses of a value as `smtp:a@b`; one without a TYPE: is an internet address.

    There is one in most values. A value may hold several lines by accident. `internet $ a@b` may be a type and an
    address (RFC 2252, Other Mailbox) or an address with a $ in it: both are returned.
    """
    found = [part.strip(_BLANKS) for part in re.split("[\r\n]+", value.strip(_BLANKS))]
    behind = [typed[1] for typed in map(_TYPED_BY_DOLLAR.fullmatch, found) if typed]
    return [_with_type(part) for part in (*found, *behind) if part]


def _with_type(value: str) -> str:
    typed = _TYPED.fullmatch(value)
    if typed is None:
        return f"smtp:{value}"
    return f"smtp:{typed[2].strip(_BLANKS)}" if typed[1].casefold() == "smtp" else value


def _kinds(owner: Mapping[str, str], addresses: list[str]) -> tuple[str, ...]:
    """Return the kinds of an entry by the attributes of Active Directory with Exchange; no other entry has a kind."""
    said = [owner.get(name.casefold(), "") for name in OWNER]
    kinds = owner_kinds(*said)
    if owner.get("msexchrecipienttypedetails") or not may_tell_a_kind(joined := ";".join(addresses)):
        return kinds
    kind = kind_of_addresses(joined)
    return (kind, *kinds) if kind and kind not in kinds else kinds
