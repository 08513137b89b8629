"""The list in force, and the dates by which its domains are closed."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from common.adopted_domains import is_closed_by_maps
from common.settings import Settings
from receiver.formatting import DAY
from receiver.system.checked_json import whole_numbers


class Accepted(NamedTuple):
    """The accepted domains, each with the date of its last good upload."""

    domains: Mapping[str, int] = {}  # those with an accepted list: when their last good upload came
    list: str = ""  # SHA-256 of the list that passed or was accepted last
    counts: Mapping[str, int] = {}  # its recipients in each domain; empty: the first release wrote this

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Accepted:
        """Return what _asdict() gave, without what another release may have added; nothing where it is damaged."""
        if not isinstance(fields.get("domains"), dict):
            return cls()
        return cls(whole_numbers(fields["domains"]), str(fields.get("list", "")), whole_numbers(fields.get("counts")))

    def without(self, open_domains: Container[str]) -> Accepted:
        """Return it without domains in which everybody gets mail: each needs a first list once that has ended."""
        return self._replace(domains={name: when for name, when in self.domains.items() if name not in open_domains})

    def unexpired(self, settings: Settings, now: int) -> Accepted:
        """Return it without the domains that are open by their date, too old or in the future: a first list comes next.

        Whoever came while they were open is on no list.
        """
        oldest = now - settings.open_after_days * DAY
        return self._replace(domains={name: when for name, when in self.domains.items() if oldest <= when <= now + DAY})

    def only_listed(self, text: bytes) -> Accepted:
        """Return it without the domains in which a list, given as it is written, has nobody: these are open."""
        return self.without([name for name in self.domains if f"@{name}\n".encode() not in text])

    def opens(self, settings: Settings, now: int) -> tuple[str, ...]:
        """Return the domains that the build keeps open: partial ones, and those without a recent accepted list.

        A date more than a day in the future does not count. A domain that another list on the relay closes stays
        closed while it is adopted.
        """
        closed = {*self.unexpired(settings, now).domains}
        closed |= {
            name
            for name, closer in settings.closed_by.items()
            if closer and (name not in self.domains or not is_closed_by_maps(closer))
        }
        return tuple(name for name in settings.domains if name in settings.partial or name not in closed)


class InForce(NamedTuple):
    """The list in force. Where there is none, or it is damaged, nothing counts as accepted: the domains open."""

    text: bytes = b""
    recipients: frozenset[str] = frozenset()
    accepted: Accepted = Accepted()


class Summary(NamedTuple):
    """The list in force without its recipients."""

    total: int = 0
    list: str = ""  # its SHA-256; empty where there is no list
    accepted: Accepted = Accepted()
