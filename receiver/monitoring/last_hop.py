"""Tells a mail's last hop, which delivers it, from a hop into a filter or a second Postfix.

A hop is the last one if it goes where Postfix routes the domain, or if no other line has the queue id that its reply
names. A mail that a filter on this machine accepts without naming one, or that agent `discard` takes, reaches nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from receiver.monitoring.postfix_message import Delivery

SENT, WAITING = "sent", "deferred"
_MOST = 5_000  # hops that wait for a line with their queue id, and queue ids that are remembered
_RELAY = re.compile(r"(?P<host>[^\[\]]+)\[(?P<address>[^\[\]]+)\](?::(?P<port>\d+))?")
_ROUTE = re.compile(r"(?P<transport>[^:]+):(?:inet:)?\[?(?P<host>[^\[\]]+?)\]?(?::(?P<port>\d+))?")
_LOOPBACK = re.compile(r"127\.[\d.]+|::1|::ffff:127\.[\d.]+")


class Trace(NamedTuple):
    """The last thing known of some addresses' mail on a day."""

    day: str
    order: int  # rises from line to line
    addresses: tuple[str, ...]
    status: str  # SENT or WAITING


class LastHops:
    """Holds back hops whose reply names a queue id until the log shows whether that is one of ours."""

    def __init__(self, routes: Mapping[str, str], held_back: Iterable[tuple[str, Trace]] = ()) -> None:
        """Go by where Postfix routes each domain, as TRANSPORT:NEXTHOP, and what an earlier reading held back."""
        self._routes = routes
        self._held_back = dict(held_back)
        self._seen: dict[str, None] = {}

    @property
    def held_back(self) -> list[tuple[str, Trace]]:
        """Return the hops that are not decided yet."""
        return list(self._held_back.items())

    def follow(self, delivery: Delivery, day: str, order: int) -> Iterator[Trace]:
        """Yield the traces that a line decides at once."""
        if delivery.status == WAITING:
            yield Trace(day, order, delivery.addresses, WAITING)
        if delivery.status != SENT or delivery.relay == "none":
            return
        trace = Trace(day, order, delivery.addresses, SENT)
        if self._is_routed(delivery):
            yield trace
        elif delivery.queued_as:
            yield from self._hold_back(delivery.queued_as[-1], trace)
        elif not is_loopback(delivery.relay):
            yield trace

    def settle(self, queue_ids: Iterable[str] | None = None) -> list[Trace]:
        """Return what was held back for these queue ids, or all: no line has them, so those hops were the last."""
        names = list(self._held_back if queue_ids is None else queue_ids)
        return [self._held_back.pop(name) for name in names if name in self._held_back]

    def see(self, queue_id: str) -> None:
        """Record that a line has this queue id: the hop that named it was not the last."""
        self._held_back.pop(queue_id, None)
        self._seen[queue_id] = None
        if len(self._seen) > _MOST:
            del self._seen[next(iter(self._seen))]

    def _hold_back(self, queue_id: str, trace: Trace) -> Iterator[Trace]:
        """Hold a hop back until its queue id turns up again; of too many the oldest counts, as filters are quick."""
        if queue_id in self._seen:
            return
        self._held_back[queue_id] = trace
        if len(self._held_back) > _MOST:
            yield self._held_back.pop(next(iter(self._held_back)))

    def _is_routed(self, delivery: Delivery) -> bool:
        domains = {address.rpartition("@")[2] for address in delivery.addresses}
        return any(is_route(delivery.relay, self._routes[domain]) for domain in domains if domain in self._routes)


def is_loopback(relay: str) -> bool:
    """Return whether relay= names this machine."""
    found = _RELAY.fullmatch(relay)
    return bool(found and _LOOPBACK.fullmatch(found["address"]))


def is_route(relay: str, route: str) -> bool:
    """Return whether relay= is the very place that a route names."""
    found, wanted = _RELAY.fullmatch(relay), _ROUTE.fullmatch(route)
    if not found or not wanted:
        return False
    port = wanted["port"] or ("24" if wanted["transport"] == "lmtp" else "25")
    host = wanted["host"].lower()
    return host in (found["host"].lower(), found["address"].lower()) and port == found["port"]
