"""What is known of one customer's recipients from the mail log: who was refused, had mail, or waits for it. Bounded."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from common.next_hop_probe import RANDOM
from receiver.addresses import without_tag
from receiver.lists.review_record import MailSeen
from receiver.monitoring.last_hop import SENT, Trace
from receiver.monitoring.postfix_message import KINDS, Breakage, OtherRefusal, Refusal

DAYS = 14  # that are remembered
MOST = 2_000  # refused addresses
MOST_WITH_MAIL = 200_000
MOST_WAITING = 20_000
MOST_FAULTS = 100  # addresses that a fault of this relay kept from mail
_MOST_SEEN = 40  # days and networks of one address


class RefusalDay(NamedTuple):
    """A day on which somebody of a network was refused an address."""

    day: str  # YYYY-MM-DD
    network: str  # as 192.0.2.0/24 or 2001:db8:1::/48
    has_sender: bool  # False: only bounces and call-outs


class RefusedAddress(NamedTuple):
    """An address that was refused."""

    kinds: Mapping[str, int]  # kind: how often
    seen: tuple[RefusalDay, ...]
    was_listed: bool = False  # it was on a list of the customer's at some time

    @property
    def days(self) -> list[str]:
        """Return the days on which it was refused, sorted."""
        return sorted({each.day for each in self.seen})

    @property
    def networks(self) -> list[str]:
        """Return the networks it was refused to, sorted."""
        return sorted({each.network for each in self.seen})

    @property
    def record(self) -> dict[str, Any]:
        """Return, as plain JSON, when it was refused and to whom."""
        return {"days": self.days, "networks": self.networks, "was_listed": self.was_listed}

    @property
    def worth(self) -> tuple[bool, int, int, int]:
        """Return what decides who is kept when there are too many: the highest are."""
        return self.was_listed, len(self.days), len(self.networks), sum(self.kinds.values())


class Mail(NamedTuple):
    """Mail that reached an address."""

    last: str  # the day of the last one
    days: int  # on how many it was seen


class WaitingMail(NamedTuple):
    """Mail for an address that was deferred, and nothing reached it since."""

    day: str
    order: int  # of the line, as Trace has it


class Fault(NamedTuple):
    """An address that was refused by something else than its list."""

    day: str
    text: str  # Postfix's words
    is_broken: bool  # a table that cannot be read, or a domain that is not taken


class RaisedAlarm(NamedTuple):
    """An alarm that was raised on a day."""

    day: str  # in UTC: alarms are raised once on it
    text: str


class Refusals:
    """One customer's. Mutable: events are counted in as they are read."""

    def __init__(self, most: int = MOST) -> None:
        """Nothing is known yet."""
        self.refused: dict[str, RefusedAddress] = {}
        self.had_mail: dict[str, Mail] = {}
        self.waiting: dict[str, WaitingMail] = {}
        self.faults: dict[str, Fault] = {}
        self.totals: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.named: dict[str, str] = {}  # address: the day on which an alarm named it
        self.noticed: dict[str, str] = {}  # address: the day on which the line of the day did, which is no alarm
        self.asked: dict[str, str] = {}  # address: the day on which a server was asked about it last
        self.raised: dict[str, RaisedAlarm] = {}  # kind of an alarm: what it says; it is raised until its day is over
        self._most = most
        self._known: Callable[[], Collection[str]] = frozenset

    def refuse(self, address: str, refusal: Refusal, day: str, count: int) -> None:
        """Count a refusal."""
        self.totals[refusal.kind] += count
        before = self.refused.get(address, RefusedAddress({}, ()))
        seen = RefusalDay(day, network_of(refusal.client), refusal.has_sender)
        kinds = {**before.kinds, refusal.kind: before.kinds.get(refusal.kind, 0) + count}
        self.refused[address] = before._replace(kinds=kinds, seen=_add_seen(before.seen, seen))
        if len(self.refused) > 2 * self._most:
            self._evict()

    def deliver(self, address: str, trace: Trace) -> None:
        """Note that mail reached an address, or waits for it."""
        if trace.status != SENT:
            self.waiting[address] = WaitingMail(trace.day, trace.order)
            return
        before = self.had_mail.get(address, Mail("", 0))
        if trace.day > before.last:
            self.had_mail[address] = Mail(trace.day, before.days + 1)
        if address in self.waiting and self.waiting[address].order < trace.order:
            del self.waiting[address]

    def add(self, other: Refusals) -> None:
        """Add the counts of other domains."""
        self.refused.update(other.refused)
        self.had_mail.update(other.had_mail)
        self.waiting.update(other.waiting)
        self.faults.update(other.faults)
        self.totals = {kind: count + other.totals[kind] for kind, count in self.totals.items()}

    def fail(self, address: str, fault: Breakage | OtherRefusal, day: str) -> None:
        """Note that something else than the list refused an address."""
        is_broken = isinstance(fault, Breakage)
        text = fault.what if isinstance(fault, Breakage) else fault.text[:300]
        self.faults.pop(address, None)
        self.faults[address] = Fault(day, text, is_broken)
        if len(self.faults) > MOST_FAULTS:
            del self.faults[next(iter(self.faults))]

    def keep_known(self, known: Callable[[], Collection[str]]) -> None:
        """Prefer what `known` returns when there are too many addresses; it is called only then."""
        self._known = known

    def mark_listed(self, listed: Collection[str]) -> None:
        """Note which of the refused addresses are on a list now; that they were is kept."""
        for address, refused in self.refused.items():
            if not refused.was_listed and address in listed:
                self.refused[address] = refused._replace(was_listed=True)

    def mend(self, addresses: Iterable[str]) -> None:
        """Forget the faults of some addresses, which have ended, and that they were asked about and told."""
        for name in addresses:
            for some in (self.faults, self.asked, self.named):
                some.pop(name, None)

    def forget_named(self, listed: Collection[str]) -> None:
        """Allow addresses that are listed again to be named again, except those that another rule refuses."""
        self.named = {name: day for name, day in self.named.items() if name in self.faults or name not in listed}
        self.noticed = {name: day for name, day in self.noticed.items() if name not in listed}

    def forget(self, oldest: str) -> None:
        """Forget what ended before a day, and what is too much."""
        recent = {name: each._replace(seen=_seen_since(each.seen, oldest)) for name, each in self.refused.items()}
        self.refused = {name: each for name, each in recent.items() if each.seen}
        self.had_mail = {name: mail for name, mail in self.had_mail.items() if mail.last >= oldest}
        self.waiting = {name: each for name, each in self.waiting.items() if each.day >= oldest}
        self.faults = {name: fault for name, fault in self.faults.items() if fault.day >= oldest}
        self.named = {name: day for name, day in self.named.items() if name in self.refused or day >= oldest}
        self.noticed = {name: day for name, day in self.noticed.items() if name in self.refused or day >= oldest}
        self.asked = {name: day for name, day in self.asked.items() if day >= oldest}
        self.raised = {name: each for name, each in self.raised.items() if each.day >= oldest}
        self._evict()

    def _evict(self) -> None:
        """Keep who was ever listed, waits to be or had mail, then who was refused on most days, to most networks."""
        if len(self.refused) > self._most:
            known = self._known()

            def worth(name: str) -> tuple[int, ...]:
                is_known = name in known or name in self.had_mail or name in self.waiting
                return (is_known, without_tag(name) in known, *self.refused[name].worth)

            kept = sorted(self.refused, key=worth, reverse=True)[: self._most]
            self.refused = {name: self.refused[name] for name in kept}
        self.had_mail = _latest(self.had_mail, MOST_WITH_MAIL)
        self.waiting = _latest(self.waiting, MOST_WAITING)

    @property
    def mail(self) -> dict[str, MailSeen]:
        """Return who had mail, or has mail waiting, which is a day of its own where there is no other."""
        found = {}
        for name in {**self.had_mail, **self.waiting}:
            had, waiting = self.had_mail.get(name, Mail("", 0)), self.waiting.get(name)
            found[name] = MailSeen(max(had.last, waiting.day if waiting else ""), max(had.days, 1))
        return found

    @property
    def of_strangers(self) -> dict[str, RefusedAddress]:
        """Return who was refused, without the random names that Postern makes up to ask about.

        An address of that form that was ever listed, had mail or waits for mail was not made up.
        """
        return {name: each for name, each in self.refused.items() if not self._is_made_up(name)}

    def _is_made_up(self, name: str) -> bool:
        is_known = self.refused[name].was_listed or name in self.had_mail or name in self.waiting
        return bool(RANDOM.fullmatch(name)) and not is_known

    @property
    def document(self) -> dict[str, Any]:
        """Return what `inv refusals --json` has of it, who was ever listed first."""
        shown = self.of_strangers
        first = sorted(shown, key=lambda name: (not shown[name].was_listed, name))
        return {
            "refused": {name: dict(shown[name].kinds) for name in first},
            "had_mail": {name: self.had_mail[name].last for name in sorted(self.had_mail)},
            "waiting": {name: self.waiting[name].day for name in sorted(self.waiting)},
        }


def alarm_day(now: float) -> str:
    """Return the day, in UTC, on which an alarm is raised once."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def raised_today(raised: Mapping[str, RaisedAlarm], now: float) -> list[tuple[str, str]]:
    """Return the kind and text of each alarm that was raised today."""
    return [(kind, each.text) for kind, each in raised.items() if each.day == alarm_day(now)]


@lru_cache(maxsize=4_096)
def network_of(client: str) -> str:
    """Return the network of a client's address, whose clients count as one."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network(f"{address}/{24 if address.version == 4 else 48}", strict=False))


def _add_seen(seen: tuple[RefusalDay, ...], new: RefusalDay) -> tuple[RefusalDay, ...]:
    """Add one. Where there are too many, drop the first whose day another one has."""
    if new in seen:
        return seen
    if len(seen) < _MOST_SEEN:
        return (*seen, new)
    days = [each.day for each in seen]
    spare = next((at for at, day in enumerate(days) if days.count(day) > 1), 0)
    return (*seen[:spare], *seen[spare + 1 :], new)


def _seen_since(seen: Iterable[RefusalDay], oldest: str) -> tuple[RefusalDay, ...]:
    return tuple(each for each in seen if each.day >= oldest)


def _latest(some: dict[str, Any], most: int) -> dict[str, Any]:
    """Keep those with the latest day, which is their first field."""
    if len(some) <= most:
        return some
    kept = sorted(some, key=lambda name: some[name][0], reverse=True)[:most]
    return {name: some[name] for name in kept}
