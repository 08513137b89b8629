"""Keeps every customer's refusals up to date from the relay's logs. One run at a time, under the timer's lock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from common.paths import Places
from common.settings import BadSettings, Settings, load_settings
from receiver.lists import history, judged_mail, list_file, removed_addresses
from receiver.lists.review_record import MailSeen
from receiver.lists.spool import DAY, Spool
from receiver.monitoring import log_state, refusals_file
from receiver.monitoring.collector import Collector, owners
from receiver.monitoring.journal import read_journal
from receiver.monitoring.last_hop import LastHops
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.log_reading import Part, Reading, begin, distinct, known_cuts, parts
from receiver.monitoring.log_state import LogState
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.refusals import DAYS, Refusals
from receiver.monitoring.refusals_file import StoredRefusals
from receiver.outcome import Failed

SECONDS = 20.0  # for one reading; what is left is read by the next one
SILENT = 2  # days without a line of smtpd, after which the log is not where it writes
_LINES = 1_000_000_000  # that one reading has at most: lines of a later one have higher numbers


class WatchedCustomer(NamedTuple):
    """One customer's refusals."""

    settings: Settings
    refusals: Refusals
    since: str  # the day since which they count
    domains: tuple[str, ...] = ()  # those for which they count; of others the days before are read once more

    @property
    def counted(self) -> Settings:
        """Return the customer's settings with those domains alone."""
        return self.settings._replace(domains=tuple(name for name in self.settings.domains if name in self.domains))

    @property
    def new_domains(self) -> tuple[str, ...]:
        """Return the domains of which nothing has been counted yet."""
        return tuple(name for name in self.settings.domains if name not in self.domains)


class SeenMail(NamedTuple):
    """Who had mail in the last days, and why there may have been more."""

    mail: Mapping[str, MailSeen] = {}
    unseen: tuple[str, ...] = ()  # in words; empty: all was seen


class Watch(NamedTuple):
    """What is known after a reading."""

    customers: Mapping[str, WatchedCustomer]
    state: LogState

    def record(self, customer: str, now: float) -> dict[str, Any]:
        """Return what `refusals` says of a customer, as plain JSON."""
        refusals, oldest = self.customers[customer].refusals, oldest_day(now)
        return {
            "customer": customer,
            **refusals.document,
            "gaps": self.has_gaps(oldest),
            "unread": self.state.unread,
            "seen": {name: each.record for name, each in refusals.of_strangers.items()},
            "mail_days": {name: mail.days for name, mail in refusals.mail.items()},
            "days": DAYS,
            "incomplete": self._incomplete(customer, now),
        }

    def seen_mail(self, customer: str, now: float) -> SeenMail:
        """Return the mail that reached a customer's addresses lately, or waits for them.

        Mail that waits counts: while a server is down it is the only sign.
        """
        why = self._incomplete(customer, now)
        if customer not in self.customers:
            return SeenMail(unseen=(why,))
        return SeenMail(self.customers[customer].refusals.mail, (why,) if why else ())

    def _incomplete(self, customer: str, now: float) -> str:
        """Return why there may have been more; nothing: all was seen."""
        oldest = oldest_day(now)
        if not self.state.read:
            return "the mail log has not been read yet; the timer does that as root, every five minutes"
        if self.state.is_behind:
            return "the mail log is longer than what could be read so far"
        if self.has_gaps(oldest):
            return f"the mail log cannot be read, or lines of it are missing or damaged, the last on {self.state.gap}"
        if customer not in self.customers:
            return "the customer's settings or files cannot be read"
        since = self.customers[customer].since
        return f"the mail log is known since {since}" if since > oldest else self.silence(now)

    def silence(self, now: float) -> str:
        """Return why the log cannot be all that Postfix says: its smtpd has written nothing there for days."""
        return _silence(self.state, now)

    def has_gaps(self, oldest: str) -> bool:
        """Return whether lines since a day are missing, or not read yet."""
        return self.state.gap >= oldest or self.state.is_behind


def _silence(state: LogState, now: float) -> str:
    """Return since when smtpd has written nothing; nothing: it has, or the log is not read for so long yet.

    It may write elsewhere, or not get at the logger: from a chroot it needs a socket of its own.
    """
    if not state.heard or state.heard >= day(now - SILENT * DAY):
        return ""
    return f"no line of Postfix's smtpd is in the mail log since {state.heard}: it writes elsewhere, or to no logger"


def day(now: float) -> str:
    """Return a day as log lines print it, in the relay's own time."""
    return time.strftime("%Y-%m-%d", time.localtime(now))


def oldest_day(now: float) -> str:
    """Return the first day that is remembered."""
    return day(now - DAYS * DAY)


def all_settings(places: Places) -> list[Settings]:
    """Read the settings of every customer here; one whose are broken is told by the timer, and not counted."""
    names = sorted(name for name in os.listdir(os.path.join(places.etc, "customers")) if not name.startswith("."))
    found = []
    for name in names:
        with suppress(BadSettings):
            found.append(load_settings(places, name))
    return found


def load(places: Places, run: int, customers: Iterable[Settings]) -> Watch:
    """Read what the last reading left. A customer whose files are damaged, or who is new, has none since then."""
    state = log_state.load(run)
    watched = {}
    for settings in customers:
        with suppress(Failed), Spool(places, settings.customer) as spool:  # Failed: its spool is not made yet
            found = refusals_file.load(spool.folder)
            counted = found.domains if found else ()
            refusals, since = (found.refusals, found.since) if found else (Refusals(), "")
            for name, when in judged_mail.read_judged(spool.folder, state.read).items():
                refusals.named[name] = day(when)
            watched[settings.customer] = WatchedCustomer(settings, refusals, since, counted)
    return Watch(watched, state)


def update(places: Places, run: int, customers: Sequence[Settings], logs: OpenedLogs, now: float) -> Watch:
    """Read on in the logs and write what they say."""
    before, is_over = load(places, run, customers), deadline(SECONDS)
    if before.state.read > now + DAY:  # a clock was ahead, and let days be forgotten that are in the logs still
        before = before._replace(state=LogState())
    watch = before if before.state.read else before._replace(customers=_customers_to_recount(before.customers))
    routes = read_routes(places, watch.customers)
    for name, each in watch.customers.items():
        each.refusals.keep_known(partial(_known_addresses, places, name, int(now)))
    known = {name: frozenset(each.refusals.refused) for name, each in before.customers.items()}
    state = _read_on(watch, logs, routes, now, is_over)
    found = {
        name: _read_past_days(each, watch.state, logs, routes, now, is_over) for name, each in watch.customers.items()
    }
    if not before.state.read:
        _keep_totals(before.customers, found)
    for name, each in found.items():
        with Spool(places, name) as spool:
            _mark_listed(spool, each.refusals, known[name], int(now))
            each.refusals.forget(oldest_day(now))
            refusals_file.save(spool.folder, StoredRefusals(each.refusals, each.since, each.domains))
    log_state.save(run, state)
    return Watch(found, state)


def save(places: Places, watch: Watch) -> None:
    """Write what was noted of customers besides what the log says."""
    for name, each in watch.customers.items():
        with Spool(places, name) as spool:
            refusals_file.save(spool.folder, StoredRefusals(each.refusals, each.since, each.domains))


def deadline(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has gone by."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _customers_to_recount(customers: Mapping[str, WatchedCustomer]) -> dict[str, WatchedCustomer]:
    """Return customers whose days are counted once more, because nobody knows how far that was done."""
    anew = {
        name: WatchedCustomer(each.settings, Refusals(), "", each.settings.domains) for name, each in customers.items()
    }
    for name, each in customers.items():
        anew[name].refusals.named, anew[name].refusals.noticed = each.refusals.named, each.refusals.noticed
    return anew


def _keep_totals(before: Mapping[str, WatchedCustomer], anew: Mapping[str, WatchedCustomer]) -> None:
    """Copy the totals, which only grow, to records whose days are counted once more."""
    for name, each in before.items():
        if any(each.refusals.totals.values()):
            anew[name].refusals.totals = each.refusals.totals


def _read_on(
    watch: Watch, logs: OpenedLogs, routes: Mapping[str, str], now: float, is_over: Callable[[], bool]
) -> LogState:
    """Count in what came since the last reading; return where this one ended."""
    state, losses = watch.state, Losses()
    hops, earlier = LastHops(routes, state.held_back), [queue_id for queue_id, _ in state.held_back]
    counted = [each for each in watch.customers.values() if each.since or not state.read]
    collector = Collector(owners((each.counted, each.refusals) for each in counted), hops, int(now) * _LINES)
    losses.gaps = not logs.logs and logs.journal is None  # nothing is there that could be read
    log = MailLog(losses, state.cuts)
    positions, is_whole = dict(state.positions), True
    for opened in logs.logs:
        some, is_found = parts(opened.files, state.positions.get(opened.path), state.read)
        losses.gaps |= not is_found
        reading = Reading(log, losses, collector, is_over)
        is_whole &= reading.read(some)
        if reading.position:
            positions[opened.path] = reading.position
    cursor = _read_journal(logs, log, losses, collector, is_over) or state.cursor
    collector.settle(hops.settle(earlier))
    losses.gaps |= bool(_silence(state, state.read) and losses.heard)  # what it said meanwhile is nowhere
    unread, gap = state.unread + losses.unread, day(now) if losses.gaps else state.gap
    heard = min(max(state.heard or day(now), losses.heard), day(now))
    return LogState(
        int(now), positions, tuple(log.cut), tuple(hops.held_back), cursor, unread, gap, not is_whole, heard
    )


def _read_journal(
    logs: OpenedLogs, log: MailLog, losses: Losses, collector: Collector, is_over: Callable[[], bool]
) -> str:
    """Count in what the journal says; return its cursor."""
    last = ""
    for event, cursor in read_journal(logs.journal.stream, log, losses) if logs.journal else ():
        collector.collect([event] if event else [])
        last = cursor
        if is_over():
            break
    return last


def _read_past_days(
    watched: WatchedCustomer,
    state: LogState,
    logs: OpenedLogs,
    routes: Mapping[str, str],
    now: float,
    is_over: Callable[[], bool],
) -> WatchedCustomer:
    """Return a customer with the day since which it counts.

    For one who is new, and for a domain that is, the days before are read for them alone.
    """
    if watched.since and not watched.new_domains:
        return watched._replace(domains=watched.settings.domains)
    refusals, since = watched.refusals, first_day(logs, now)
    if state.read:
        domains = watched.new_domains if watched.since else watched.settings.domains
        found, is_whole = read_history(watched.settings._replace(domains=domains), logs, routes, is_over)
        refusals.add(found)
        since = since if is_whole else day(now)
    since = max(watched.since, oldest_day(now), since)
    return watched._replace(refusals=refusals, since=since, domains=watched.settings.domains)


def read_history(
    settings: Settings, logs: OpenedLogs, routes: Mapping[str, str], is_over: Callable[[], bool]
) -> tuple[Refusals, bool]:
    """Count the days of some domains from the log files alone, and tell whether all that is there could be read."""
    refusals, losses, hops = Refusals(), Losses(), LastHops(routes)
    collector = Collector(owners([(settings, refusals)]), hops)
    is_whole = True
    for opened in logs.logs:
        some = [Part(file) for file in distinct(opened.files)]
        is_whole &= Reading(MailLog(losses, known_cuts(some)), losses, collector, is_over).read(some)
    collector.settle(hops.settle())
    return refusals, is_whole and not losses.gaps


def first_day(logs: OpenedLogs, now: float) -> str:
    """Return the day on which the logs begin; today where that cannot be told."""
    return min((begins for opened in logs.logs if (begins := begin(Part(opened.files[0])))), default=day(now))


def read_routes(places: Places, customers: Iterable[str]) -> dict[str, str]:
    """Return where Postfix routes each domain, as TRANSPORT:NEXTHOP; what goes by MX records has none."""
    routes: dict[str, str] = {}
    for customer in customers:
        with suppress(OSError, ValueError), open(f"{places.tree(customer)}/transport", encoding="utf-8") as lines:
            pairs = (line.partition(" ") for line in lines)
            routes.update((domain, route.strip()) for domain, blank, route in pairs if blank)
    return routes


def _known_addresses(places: Places, customer: str, now: int) -> Collection[str]:
    """Return who is on a customer's list or on the one that waits, or left in the last 90 days."""
    with Spool(places, customer) as spool:
        held, gone = spool.held(), removed_addresses.find_gone(spool.folder, now)
        return spool.in_force().recipients | gone.keys() | (held.recipients if held else frozenset())


def _mark_listed(spool: Spool, refusals: Refusals, known: Collection[str], now: int) -> None:
    """Note who of the refused is on the list in force, and of those who are new here, who was on an earlier one."""
    unlisted = {name for name, each in refusals.refused.items() if not each.was_listed}
    if unlisted:
        refusals.mark_listed(spool.in_force().recipients)
    if unlisted - set(known):
        refusals.mark_listed(removed_addresses.find_gone(spool.folder, now).keys())
        for entry in history.entries(spool.folder):
            with suppress(Failed, ValueError):  # a list that is damaged says nothing
                refusals.mark_listed(list_file.decode_recipients(history.read_list(spool.folder, entry.number)))
