"""Asks the customer's server and this relay about refusals that look wrong, and raises those that are confirmed."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping

from common import next_hop_probe
from common.next_hop_probe import Answers, Sender, Server
from common.settings import Settings
from receiver.addresses import domain_of
from receiver.formatting import DAY
from receiver.lists import removed_addresses
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import Spool
from receiver.monitoring.alarms import Alarm
from receiver.monitoring.log_findings import Watch, WatchedCustomer, local_day
from receiver.monitoring.next_hop import ask_by_domain
from receiver.monitoring.refusal_alarms import (
    DAILY,
    ListSnapshot,
    RecentRemoval,
    RefusalAlarm,
    SuspectAnswers,
    Suspects,
    daily_line,
    find_mended,
    find_refusal_alarms,
    find_suspects,
)
from receiver.monitoring.refusal_watch import keep_apart
from receiver.monitoring.refusals import DAYS, RaisedAlarm, alarm_day, raised_today
from receiver.outcome import Failed
from receiver.tables_client import Tables

_SECONDS = 60.0  # for all questions of one run; what was not asked then is asked in the next one
_EVERYWHERE = ("", "all", "loopback-only")
_FOREIGN = "postern.invalid"  # a domain that no relay takes mail for: a client that may send there is no stranger
_LOOPBACK = "127.81.67.1"  # this machine's as well, and in fewer mynetworks than 127.0.0.1
_MOST_SOURCES = 4


class RefusalCheck:
    """One run's questions."""

    def __init__(self, tables: Tables, routes: Mapping[str, str], postfix: Mapping[str, str], now: int) -> None:
        """Take the routes by domain, and settings of main.cf."""
        self._tables, self._routes, self._postfix = tables, routes, postfix
        self._now, self._today = now, local_day(now)
        self._end = time.monotonic() + _SECONDS

    def raise_alarms(self, watch: Watch) -> list[Alarm]:
        """Probe the suspects; return all alarms of today."""
        found: list[Alarm] = []
        for name, watched in watch.customers.items():
            with keep_apart(name, watch.broken):
                found += self._of_customer(watched)
        return found

    def _of_customer(self, watched: WatchedCustomer) -> list[Alarm]:
        refusals, customer = watched.refusals, watched.settings.customer
        if any((refusals.refused, refusals.faults, refusals.named, refusals.noticed)):  # the named may be listed now
            known = self._read_known(watched.settings)
            refusals.forget_named(known.listed)
            asked = find_suspects(refusals, known, self._today)
            answered = self._ask(asked, watched.settings, known.listed)
            for alarm in find_refusal_alarms(known, asked, answered):
                self._raise(watched, alarm)
            if DAILY not in dict(raised_today(refusals.raised, self._now)) and (line := daily_line(refusals, known)):
                self._raise(watched, line)
            replied = [name for answers in answered.next_hop.values() for name in answers.replies]
            refusals.asked.update(dict.fromkeys((*replied, *answered.relay), self._today))
            refusals.mend(find_mended(asked, answered))
        return [Alarm(customer, kind, text) for kind, text in raised_today(refusals.raised, self._now)]

    def _read_known(self, settings: Settings) -> ListSnapshot:
        """Read a customer's list, the held list, and who left recently."""
        with Spool(self._tables.places, settings.customer) as spool:
            held, recipients = spool.read_held(), spool.read_in_force().recipients
            removals = removed_addresses.find_gone(spool.folder, self._now)
        return ListSnapshot(
            settings.customer,
            recipients | frozenset(settings.include),
            held.recipients if held else frozenset(),
            {name: _describe_removal(each) for name, each in removals.items() if each.when >= self._now - DAYS * DAY},
            settings.shrink_floor,
            self._next_hop(settings) is not None,
        )

    def _raise(self, watched: WatchedCustomer, alarm: RefusalAlarm) -> None:
        watched.refusals.raised[alarm.kind] = RaisedAlarm(alarm_day(self._now), alarm.text)
        told = watched.refusals.noticed if alarm.is_daily else watched.refusals.named
        told.update(dict.fromkeys(alarm.addresses, self._today))

    def _ask(self, asked: Suspects, settings: Settings, listed: Collection[str]) -> SuspectAnswers:
        missing = self._missing_in_tables(asked.for_tables)
        names, people = [name for name in asked.for_next_hop if name in missing], {*listed} - {*settings.include}
        next_hop = self._ask_next_hop(names, people, settings) if names else {}
        return SuspectAnswers(next_hop, self.ask_relay(asked.for_relay).replies, missing)

    def _missing_in_tables(self, names: list[str]) -> frozenset[str]:
        """Return those that Postfix does not find in our tables; none where they cannot be read, an alarm by itself.

        Nobody is missing in a domain that is open.
        """
        try:
            domains = {f"@{domain_of(name)}" for name in names}
            missing = frozenset(self._tables.find_missing((*names, *domains))) if names else frozenset()
        except Failed:
            return frozenset()
        return frozenset(name for name in missing - domains if f"@{domain_of(name)}" in missing)

    def _ask_next_hop(self, names: list[str], listed: Collection[str], settings: Settings) -> dict[str, Answers]:
        where, sender = self._next_hop(settings), next_hop_probe.verify_sender(self._postfix)
        return ask_by_domain(where, sender, names, listed, lambda: self._left) if where else {}

    def ask_relay(self, names: list[str]) -> Answers:
        """Return what this relay says about addresses; who is not asked has no reply.

        It is asked from an address outside mynetworks where it has one, because clients in mynetworks are let through.
        """
        found = Answers()
        for source in _sources(self._relay.host) if names else ():
            sender = Sender(self._postfix.get("myhostname", "") or "localhost", source=source)
            found = next_hop_probe.ask(self._relay, sender, names, _FOREIGN, self._left)
            if found.random and not found.random.is_taken:  # 454 of some releases is 554 of others
                break
        return found

    def _next_hop(self, settings: Settings) -> Server | None:
        """Return where the first of the domains with a route goes, as a customer has one next hop; None: by MX."""
        route = next((self._routes[name] for name in settings.domains if name in self._routes), "")
        return next_hop_probe.server_of(route)

    @property
    def _left(self) -> float:
        return min(next_hop_probe.SECONDS, self._end - time.monotonic())

    @property
    def _relay(self) -> Server:
        """Return where this relay listens, as inet_interfaces has it."""
        first = (self._postfix.get("inet_interfaces", "").replace(",", " ").split() or [""])[0]
        return Server("127.0.0.1" if first in _EVERYWHERE else first)


def _sources(host: str) -> list[str]:
    """Return addresses of this machine from which to ask it, its own networks' first; empty: as it comes."""
    if ":" in host:
        return [""]
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            found = re.findall(r"\|-- (\S+)\n\s*/32 host LOCAL", file.read())
    except OSError:
        found = []
    own = [each for each in dict.fromkeys(found) if not each.startswith("127.")]
    return [*own[:_MOST_SOURCES], _LOOPBACK, ""]


def _describe_removal(removal: Removal) -> RecentRemoval:
    return RecentRemoval(removal.entry, removal.is_by_person, local_day(removal.when - DAY))
