"""Asks about refusals that look wrong, the customer's server and this relay itself, and raises what is borne out."""

from __future__ import annotations

import time
from collections.abc import Mapping

from common.settings import Settings
from receiver.lists.spool import Spool
from receiver.monitoring import next_hop_probe
from receiver.monitoring.alarms import Alarm
from receiver.monitoring.next_hop_probe import Answers, Reply, Sender, Server
from receiver.monitoring.refusal_alarms import Answered, Known, RefusalAlarm, Suspects, daily, judge, suspects
from receiver.monitoring.refusal_watch import Watch, Watched
from receiver.monitoring.refusals import Raised
from receiver.outcome import Failed
from receiver.tables_client import Tables

_SECONDS = 60.0  # for all questions of one run; what was not asked then is asked in the next one
_EVERYWHERE = ("", "all", "loopback-only")


class RefusalCheck:
    """One run's questions."""

    def __init__(self, tables: Tables, routes: Mapping[str, str], postfix: Mapping[str, str], today: str) -> None:
        """Go by where mail for each domain goes, and by settings of main.cf."""
        self._tables, self._routes, self._postfix, self._today = tables, routes, postfix, today
        self._end = time.monotonic() + _SECONDS

    def raise_alarms(self, watch: Watch) -> list[Alarm]:
        """Ask what is to be asked; return all alarms of today."""
        return [alarm for watched in watch.customers.values() for alarm in self._of_customer(watched)]

    def _of_customer(self, watched: Watched) -> list[Alarm]:
        refusals, customer = watched.refusals, watched.settings.customer
        if refusals.refused or refusals.faults:
            with Spool(self._tables.places, customer) as spool:
                known = _known(spool, watched.settings)
            asked = suspects(refusals, known, self._today)
            answered = self._ask(asked, watched.settings)
            for alarm in judge(known, asked, answered):
                self._raise(watched, alarm)
            line = daily(refusals, known)
            if line:
                self._raise(watched, line)
            refusals.asked.update(dict.fromkeys((*answered.next_hop.replies, *answered.relay), self._today))
        today = ((name, each) for name, each in refusals.raised.items() if each.day == self._today)
        return [Alarm(customer, name, each.text) for name, each in today]

    def _raise(self, watched: Watched, alarm: RefusalAlarm) -> None:
        watched.refusals.raised[alarm.name] = Raised(self._today, alarm.text)
        watched.refusals.named.update(dict.fromkeys(alarm.addresses, self._today))

    def _ask(self, asked: Suspects, settings: Settings) -> Answered:
        missing = self._missing(asked.for_next_hop)
        next_hop = self._ask_next_hop([name for name in asked.for_next_hop if name in missing], settings)
        return Answered(next_hop, self._ask_relay(asked.for_relay), missing)

    def _missing(self, names: list[str]) -> frozenset[str]:
        """Return those that Postfix does not find in our tables; none where they cannot be read, which is told."""
        try:
            return frozenset(self._tables.missing(names)) if names else frozenset()
        except Failed:
            return frozenset()

    def _ask_next_hop(self, names: list[str], settings: Settings) -> Answers:
        """Ask where the first of their domains with a route goes: a customer has one next hop."""
        route = next((self._routes[name] for name in settings.domains if name in self._routes), "")
        where = next_hop_probe.server(route)
        if not names or where is None:
            return Answers()
        domain = names[0].rpartition("@")[2]
        return next_hop_probe.ask(where, self._probe_sender, names, domain, self._left)

    def _ask_relay(self, names: list[str]) -> Mapping[str, Reply]:
        if not names:
            return {}
        return next_hop_probe.ask(self._relay, Sender(self._name), names, seconds=self._left).replies

    @property
    def _left(self) -> float:
        return min(next_hop_probe.SECONDS, self._end - time.monotonic())

    @property
    def _name(self) -> str:
        return self._postfix.get("myhostname", "") or "localhost"

    @property
    def _probe_sender(self) -> Sender:
        """Return the sender of Postfix's own address verification."""
        sender = self._postfix.get("address_verify_sender", "double-bounce")
        if sender in ("", "<>"):
            return Sender(self._name)
        return Sender(self._name, sender if "@" in sender else f"{sender}@{self._name}")

    @property
    def _relay(self) -> Server:
        """Return where this relay listens, as inet_interfaces has it."""
        first = (self._postfix.get("inet_interfaces", "").replace(",", " ").split() or [""])[0]
        return Server("127.0.0.1" if first in _EVERYWHERE else first)


def _known(spool: Spool, settings: Settings) -> Known:
    held = spool.held()
    recipients = spool.in_force().recipients
    listed = recipients | frozenset(settings.include)
    return Known(spool.customer, listed, held.recipients if held else frozenset(), shrink_floor=settings.shrink_floor)
