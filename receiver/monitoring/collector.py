"""Counts what a mail log says into the refusals of the customers whose domains it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from common.settings import Settings
from receiver.monitoring.last_hop import LastHops, Trace
from receiver.monitoring.mail_log import Event
from receiver.monitoring.postfix_message import Breakage, Delivery, OtherRefusal, Refusal
from receiver.monitoring.refusals import Refusals


class DomainOwner(NamedTuple):
    """The customer that has a domain, and the form of the domain in lists."""

    refusals: Refusals
    domain: str


class Collector:
    """Counts events; events of other domains are dropped."""

    def __init__(self, owners: Mapping[str, DomainOwner], last_hops: LastHops, first: int = 0) -> None:
        """Count for the owners of these domains; lines are numbered from `first` on."""
        self._owners, self._last_hops, self._order = owners, last_hops, first

    def collect(self, events: Iterable[Event]) -> None:
        """Count events."""
        for event in events:
            self._order += 1
            self._count(event)

    def settle(self, traces: Iterable[Trace]) -> None:
        """Count where mail went."""
        for trace in traces:
            for name in trace.addresses:
                if (owned := self._owner_of(name)) is not None:
                    owned.refusals.deliver(_in_domain(name, owned.domain), trace)

    def _count(self, event: Event) -> None:
        message = event.message
        if isinstance(message, Delivery):
            self._last_hops.see(message.queue_id)
            if any(self._owner_of(name) for name in message.addresses):
                self.settle(self._last_hops.follow(message, event.day, self._order))
            return
        if not isinstance(message, (Refusal, Breakage, OtherRefusal)) or not (owned := self._owner_of(message.address)):
            return
        name = _in_domain(message.address, owned.domain)
        if isinstance(message, Refusal):
            owned.refusals.refuse(name, message, event.day, event.times)
        else:
            owned.refusals.fail(name, message, event.day)

    def _owner_of(self, address: str) -> DomainOwner | None:
        return self._owners.get(address.rpartition("@")[2])


def map_owners(customers: Iterable[tuple[Settings, Refusals]]) -> dict[str, DomainOwner]:
    """Return who owns each domain, in each form a log may have of it."""
    found = {}
    for settings, refusals in customers:
        for domain in settings.domains:
            for form in {domain, settings.unicode.get(domain, domain).casefold()}:
                found[form] = DomainOwner(refusals, domain)
    return found


def _in_domain(address: str, domain: str) -> str:
    return f"{address.rpartition('@')[0]}@{domain}"
