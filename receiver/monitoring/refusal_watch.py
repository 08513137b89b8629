"""Keeps every customer's refusals up to date from the relay's logs; one run at a time, under the timer's lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from common.paths import Places
from common.settings import Settings
from receiver.formatting import DAY, escape
from receiver.lists import history, judged_mail, list_file, removed_addresses
from receiver.lists.spool import Spool
from receiver.monitoring import log_state, refusals_file
from receiver.monitoring.collector import Collector, map_owners
from receiver.monitoring.journal import read_journal
from receiver.monitoring.last_hop import LastHops
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.log_findings import Watch, WatchedCustomer, describe_silence, local_day, oldest_day
from receiver.monitoring.log_reading import Part, Reading, drop_copies, find_cut_lengths, find_parts, read_first_day
from receiver.monitoring.log_state import LogState
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.next_hop import read_routes
from receiver.monitoring.refusals import Refusals
from receiver.monitoring.refusals_file import StoredRefusals
from receiver.outcome import Failed

SECONDS = 20.0  # for one reading; what is left is read by the next one
_LINES = 1_000_000_000  # that one reading has at most: lines of a later one have higher numbers


def load(places: Places, run: int, customers: Sequence[Settings]) -> Watch:
    """Return the findings of the last reading; a customer who is new, or whose files are damaged, has none."""
    state = log_state.load(run)
    watched: dict[str, WatchedCustomer] = {}
    broken: dict[str, str] = {}
    for settings in customers:
        with (
            keep_apart(settings.customer, broken),
            suppress(Failed),  # its spool is not made yet
            Spool(places, settings.customer) as spool,
        ):
            found = refusals_file.load(spool.folder)
            counted = found.domains if found else ()
            refusals, since = (found.refusals, found.since) if found else (Refusals(), "")
            for name, when in judged_mail.read_judged(spool.folder, state.read).items():
                refusals.named[name] = local_day(when)
            watched[settings.customer] = WatchedCustomer(settings, refusals, since, counted)
    for settings in customers:
        if settings.customer in broken:
            watched[settings.customer] = WatchedCustomer(settings, Refusals(), "", ())
    return Watch(watched, state, broken)


@contextmanager
def keep_apart(customer: str, broken: dict[str, str]) -> Iterator[None]:
    """Run what reads or writes one customer's files; whatever they hold, the other customers are watched.

    An attacker who has the account may have written them.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        broken[customer] = f"{type(error).__name__}: {escape(str(error), 200)}"


def update(places: Places, run: int, customers: Sequence[Settings], logs: OpenedLogs, now: float) -> Watch:
    """Read what is new in the logs; write and return the findings."""
    before, is_over = load(places, run, customers), make_deadline(SECONDS)
    if before.state.read > now + DAY:  # a clock was ahead, and let days be forgotten that are in the logs still
        before = before._replace(state=LogState())
    watch = before if before.state.read else before._replace(customers=_customers_to_recount(before.customers))
    routes = read_routes(places, watch.customers)
    for name, each in watch.customers.items():
        with keep_apart(name, watch.broken):
            each.refusals.keep_known(partial(_known_addresses, places, name, int(now)))
    known = {name: frozenset(each.refusals.refused) for name, each in before.customers.items()}
    state = _read_on(watch, logs, routes, now, is_over)
    found = {
        name: _read_past_days(each, watch.state, logs, routes, now, is_over) for name, each in watch.customers.items()
    }
    if not before.state.read:
        _keep_totals(before.customers, found)
    for name, each in found.items():
        with keep_apart(name, watch.broken), Spool(places, name) as spool:
            _mark_listed(spool, each.refusals, known[name], int(now))
            each.refusals.forget(oldest_day(now))
            refusals_file.save(spool.folder, StoredRefusals(each.refusals, each.since, each.domains))
    log_state.save(run, state)
    return Watch(found, state, watch.broken)


def save(places: Places, watch: Watch) -> None:
    """Write the findings again, with what was noted about them since."""
    for name, each in watch.customers.items():
        with keep_apart(name, watch.broken), Spool(places, name) as spool:
            refusals_file.save(spool.folder, StoredRefusals(each.refusals, each.since, each.domains))


def make_deadline(seconds: float) -> Callable[[], bool]:
    """Return a function that tells whether so much time has passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _customers_to_recount(customers: Mapping[str, WatchedCustomer]) -> dict[str, WatchedCustomer]:
    """Return customers whose days are counted from the beginning, because the place where counting ended is lost."""
    anew = {
        name: WatchedCustomer(each.settings, Refusals(), "", each.settings.domains) for name, each in customers.items()
    }
    for name, each in customers.items():
        anew[name].refusals.named, anew[name].refusals.noticed = each.refusals.named, each.refusals.noticed
    return anew


def _keep_totals(before: Mapping[str, WatchedCustomer], anew: Mapping[str, WatchedCustomer]) -> None:
    """Copy the totals, which only grow, to customers whose days are counted from the beginning."""
    for name, each in before.items():
        if any(each.refusals.totals.values()):
            anew[name].refusals.totals = each.refusals.totals


def _read_on(
    watch: Watch, logs: OpenedLogs, routes: Mapping[str, str], now: float, is_over: Callable[[], bool]
) -> LogState:
    """Count what came since the last reading; return where this one ended."""
    state, losses = watch.state, Losses()
    hops, earlier = LastHops(routes, state.held_back), [queue_id for queue_id, _ in state.held_back]
    counted = [each for each in watch.customers.values() if each.since or not state.read]
    collector = Collector(map_owners((each.counted, each.refusals) for each in counted), hops, int(now) * _LINES)
    losses.gaps = not logs.logs and logs.journal is None  # nothing is there that could be read
    log = MailLog(losses, state.cuts)
    positions, is_whole = dict(state.positions), True
    for opened in logs.logs:
        some, is_found = find_parts(opened.files, state.positions.get(opened.path), state.read)
        losses.gaps |= not is_found
        reading = Reading(log, losses, collector, is_over)
        is_whole &= reading.read(some)
        if reading.position:
            positions[opened.path] = reading.position
    cursor, is_all = _read_journal(logs, log, losses, collector, is_over)
    collector.settle(hops.settle(earlier))
    losses.gaps |= bool(describe_silence(state, state.read) and losses.heard)  # what it said meanwhile is nowhere
    unread, gap = state.unread + losses.unread, local_day(now) if losses.gaps else state.gap
    heard = min(max(state.heard or local_day(now), losses.heard), local_day(now))
    is_behind = not (is_whole and is_all)
    return LogState(
        int(now),
        positions,
        tuple(log.cut),
        tuple(hops.held_back),
        cursor or state.cursor,
        unread,
        gap,
        is_behind,
        heard,
    )


def _read_journal(
    logs: OpenedLogs, log: MailLog, losses: Losses, collector: Collector, is_over: Callable[[], bool]
) -> tuple[str, bool]:
    """Count what the journal says; return its cursor, and whether its end was reached."""
    last = ""
    for event, cursor in read_journal(logs.journal.stream, log, losses) if logs.journal else ():
        if is_over() and last:
            return last, False
        collector.collect([event] if event else [])
        last = cursor
    return last, True


def _read_past_days(
    watched: WatchedCustomer,
    state: LogState,
    logs: OpenedLogs,
    routes: Mapping[str, str],
    now: float,
    is_over: Callable[[], bool],
) -> WatchedCustomer:
    """Return a customer with the day since which it counts.

    For a new customer, and for a new domain, the days before are read for these alone.
    """
    if watched.since and not watched.new_domains:
        return watched._replace(domains=watched.settings.domains)
    refusals, since = watched.refusals, find_first_day(logs, now)
    if state.read:
        domains = watched.new_domains if watched.since else watched.settings.domains
        found, is_whole = read_history(watched.settings._replace(domains=domains), logs, routes, is_over)
        refusals.add(found)
        since = since if is_whole else local_day(now)
    since = max(watched.since, oldest_day(now), since)
    return watched._replace(refusals=refusals, since=since, domains=watched.settings.domains)


def read_history(
    settings: Settings, logs: OpenedLogs, routes: Mapping[str, str], is_over: Callable[[], bool]
) -> tuple[Refusals, bool]:
    """Return the counts of some domains from the log files alone, and whether all of these could be read."""
    refusals, losses, hops = Refusals(), Losses(), LastHops(routes)
    collector = Collector(map_owners([(settings, refusals)]), hops)
    is_whole = True
    for opened in logs.logs:
        some = [Part(file) for file in drop_copies(opened.files)]
        is_whole &= Reading(MailLog(losses, find_cut_lengths(some)), losses, collector, is_over).read(some)
    collector.settle(hops.settle())
    return refusals, is_whole and not losses.gaps


def find_first_day(logs: OpenedLogs, now: float) -> str:
    """Return the day on which the logs begin; today where that cannot be told."""
    return min(
        (begins for opened in logs.logs if (begins := read_first_day(Part(opened.files[0])))), default=local_day(now)
    )


def _known_addresses(places: Places, customer: str, now: int) -> Collection[str]:
    """Return who is on a customer's list or on the one that waits, or left in the last 90 days."""
    with Spool(places, customer) as spool:
        held, gone = spool.read_held(), removed_addresses.find_gone(spool.folder, now)
        return spool.read_in_force().recipients | gone.keys() | (held.recipients if held else frozenset())


def _mark_listed(spool: Spool, refusals: Refusals, known: Collection[str], now: int) -> None:
    """Mark the refused addresses that are listed now, and the newly refused that were on an earlier list."""
    unlisted = {name for name, each in refusals.refused.items() if not each.was_listed}
    if unlisted:
        refusals.mark_listed(spool.read_in_force().recipients)
    if unlisted - set(known):
        refusals.mark_listed(removed_addresses.find_gone(spool.folder, now).keys())
        for entry in history.read_entries(spool.folder):
            with suppress(Failed, ValueError):  # a list that is damaged says nothing
                refusals.mark_listed(list_file.decode_recipients(history.read_list(spool.folder, entry.number)))
