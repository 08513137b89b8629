"""Exchange Online: what the script of this source writes in UTF-8, first of the tenant and then of its recipients.

Exchange Online<TAB>1<TAB>acme.onmicrosoft.com
domain<TAB>acme.example<TAB>Authoritative<TAB>exact        or `subdomains`: those below it are taken too
plus<TAB>yes                                               or `no`: user+tag@ is not taken
Type<TAB>Flags<TAB>Addresses                               and what follows as runexport.ps1 writes it
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from common.settings import Settings
from receiver.upload.formats import powershell
from receiver.upload.formats.decode import Text
from receiver.upload.formats.values import BadExport, Values

TITLE = "Exchange Online\t1\t"
AUTHORITATIVE = "Authoritative"  # the only type of domain without mailboxes elsewhere, says Exchange

_COLUMNS = "\t".join(powershell.COLUMNS)
_LONGEST = 4 << 20  # bytes before the recipients: a tenant has at most 5,000 domains
_DOMAIN = re.compile(r"domain\t([^\s/]{1,255})\t([A-Za-z0-9]{0,32})\t(exact|subdomains)")
_PLUS = re.compile(r"plus\t(yes|no)")
_CURE = "Authoritative serves dynamic groups and public folders as well since June 2025"


def values(export: bytes, settings: Settings) -> Values:
    """Return the addresses of all recipients, and what the tenant says of the customer's domains.

    Raises BadExport for another tenant's export; other faults are found when the values are read.
    """
    text = Text.of(export)
    if not text.header.startswith(TITLE):
        raise BadExport(1, "this is not the first line of the script for Exchange Online")
    tenant, text = _tenant(text)
    open_domains = dict(tenant.open_domains(settings))
    return Values(powershell.blocks(text), open_domains, tuple(open_domains.values()), tenant.plus_addresses)


class _Accepted(NamedTuple):
    """A line of `Get-AcceptedDomain`."""

    type: str
    takes_subdomains: bool


class _Tenant(NamedTuple):
    """The part of the export before the recipients."""

    domains: Mapping[str, _Accepted]  # in lower case, in the form that Exchange has them
    plus_addresses: bool

    def open_domains(self, settings: Settings) -> Iterator[tuple[str, str]]:
        """Yield the customer's domains for which this tenant is not authoritative, and why. Raises BadExport."""
        for domain in settings.domains:
            accepted = self._read_accepted_domains(domain, settings)
            above = None if accepted else self._parent_domain(domain, settings)
            if accepted is None and above is None:
                why = "wrong app or organization, or a domain that is still to be added there"
                raise BadExport(None, f"{domain} is none of the domains of this Exchange Online: {why}")
            if domain in settings.partial or (accepted and accepted.type == AUTHORITATIVE):
                continue
            type_ = accepted.type or "of no type" if accepted else f"known as a subdomain of {above} alone"
            yield domain, f"{domain} stays open: Exchange Online has it {type_}, not {AUTHORITATIVE}; {_CURE}"

    def _read_accepted_domains(self, domain: str, settings: Settings) -> _Accepted | None:
        return self.domains.get(domain.lower()) or self.domains.get(settings.unicode.get(domain, domain).lower())

    def _parent_domain(self, domain: str, settings: Settings) -> str | None:
        """Return the accepted domain that takes all those below it, this one among them."""
        for form in (domain, settings.unicode.get(domain, domain)):
            labels = form.lower().split(".")
            for parent in (".".join(labels[at:]) for at in range(1, len(labels))):
                if f"*.{parent}" in self.domains or (parent in self.domains and self.domains[parent].takes_subdomains):
                    return parent
        return None


def _tenant(text: Text) -> tuple[_Tenant, Text]:
    """Read what stands before the recipients; return the text from their header on as well. Raises BadExport."""
    domains: dict[str, _Accepted] = {}
    plus: set[str] = set()
    for number, line, end in _lines(text):
        if line == _COLUMNS and domains and len(plus) == 1:
            return _Tenant(domains, plus == {"yes"}), text._replace(rows=end)
        domain, said = _DOMAIN.fullmatch(line), _PLUS.fullmatch(line)
        if domain:
            _add(domains, domain[1].lower(), _Accepted(domain[2], domain[3] == "subdomains"))
        elif said:
            plus.add(said[1])
        else:
            raise BadExport(number, "the script writes no such line before the recipients")
    raise BadExport(None, "the recipients are missing: the export was cut off before them")


def _lines(text: Text) -> Iterator[tuple[int, str, int]]:
    """Yield the number of each line below the first, its words, and where it ends in the export."""
    at, number = text.rows, 2
    while at < min(len(text.export), _LONGEST):
        end = text.export.find(b"\n", at, _LONGEST) + 1
        if not end:
            return
        yield number, text.export[at:end].decode("utf-8", "replace").rstrip("\r\n"), end
        at, number = end, number + 1


def _add(domains: dict[str, _Accepted], name: str, new: _Accepted) -> None:
    """Add a domain; of two lines with the same name, the one that keeps the domain open counts."""
    before = domains.get(name)
    if before is None or before.type == AUTHORITATIVE:
        domains[name] = new
