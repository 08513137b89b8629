"""What a person must hear of, each thing once a day.

Each function `_alarm_...` looks for one thing at one customer. A new thing to look for gets a function of its own.
"""

from __future__ import annotations

import os
import re
import syslog
import time
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from common.exit_codes import DONE
from common.paths import Places
from common.settings import RelaySettings, Settings
from receiver.formatting import DAY, count, escape, format_time, printable
from receiver.monitoring import schedule
from receiver.monitoring.status import Status
from receiver.outcome import AHEAD, Failed
from receiver.system import atomic_files, subprocesses

REFUSED_FOR = DAY  # seconds without a good upload, after which refused ones are an alarm
STALE = "stale"
UNPROVEN_FOR = 600  # seconds that a list may take into the tables: two runs of the timer
_CALL = 60  # seconds that the operator's program may take
_TOLD, _UNTOLD = "alarms.json", "alarms-untold.json"
_MOST_UNTOLD = 200
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s/@'\"]*@)?([^\s/?#'\":]+(?::[0-9]+)?)[/?#][^\s'\"]*")


class Alarm(NamedTuple):
    """One thing a person must hear of."""

    customer: str  # empty: it is the relay's own
    kind: str  # what it is, and when it began: one that ends and begins again on a day is another
    text: str

    @property
    def name(self) -> str:
        """Return what is raised once a day."""
        return f"{self.customer} {self.kind}"

    @property
    def line(self) -> str:
        """Return one line for people."""
        return printable(f"{self.customer}: {self.text}" if self.customer else self.text)


def find_alarms(status: Status, settings: Settings, now: int) -> Iterator[Alarm]:
    """Yield the alarms of one customer."""
    for watch in (
        _alarm_held,
        _alarm_frozen,
        _alarm_refused,
        _alarm_unverified,
        _alarm_stale,
        _alarm_ageing,
        _alarm_opened,
        _alarm_opened_by_person,
        _alarm_ahead,
        _alarm_no_additions,
        _alarm_put_off,
        _alarm_noted,
    ):
        yield from watch(status, settings, now)


def merge_outage(alarms: Iterable[Alarm], watched: int) -> list[Alarm]:
    """Return the alarms, with one for all stale customers if these are most of the `watched`: it is not their fault."""
    every = list(alarms)
    stale = [alarm.customer for alarm in every if alarm.kind.startswith(STALE)]
    text = schedule.describe_outage(stale, watched)
    if not text:
        return every
    return [Alarm("", STALE, text), *(alarm for alarm in every if not alarm.kind.startswith(STALE))]


def raise_alarms(
    alarms: Iterable[Alarm], places: Places, relay: RelaySettings, now: int, ending: Collection[str] = ()
) -> list[Alarm]:
    """Raise the alarms that were not raised today, and return them.

    All go into one call of the operator's program, so that a hundred customers with one fault ring once. If that call
    fails, they are kept for the next run, which may not find them again: a table may be mended by then.

    `ending`: the first words of kinds that say nothing of when they began and that the caller looks for in each run.
    One of them that is not among `alarms` has ended, so it is raised again when it comes again on the same day.
    """
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    with atomic_files.hold_directory(places.run) as run:
        before = atomic_files.load_json(run, _TOLD) or {}
        every = {alarm.name: alarm for alarm in (*_read_untold(run), *alarms)}
        told = {
            name: day for name, day in before.items() if day == today and (name in every or not _is_of(name, ending))
        }
        new = [alarm for name, alarm in every.items() if name not in told]
        is_told = not new or _run_alarm_program(relay.alarm, [alarm.line for alarm in new])
        now_told = {**told, **{alarm.name: today for alarm in new}} if is_told else before
        try:
            if now_told != before:
                atomic_files.store_json(run, _TOLD, now_told)
            if new:
                atomic_files.store_json(run, _UNTOLD, {"alarms": [] if is_told else new[:_MOST_UNTOLD]})
        except OSError as error:
            syslog.syslog(syslog.LOG_ERR, f"which alarms were told cannot be written down: {error}")
    return new


def are_told(run: int) -> bool:
    """Return whether no alarm waits to be told: the operator's program has taken all of them."""
    return not _read_untold(run)


def _is_of(name: str, kinds: Collection[str]) -> bool:
    """Return whether an alarm of this name is of one of some kinds, each given by its first word."""
    return name.partition(" ")[2].partition(" ")[0] in kinds


def _read_untold(run: int) -> list[Alarm]:
    """Return the alarms of earlier runs that could not be raised; none where the file is damaged."""
    found = (atomic_files.load_json(run, _UNTOLD) or {}).get("alarms")
    fields = found if isinstance(found, list) else []
    return [Alarm(*map(str, each)) for each in fields if isinstance(each, list) and len(each) == len(Alarm._fields)]


def _run_alarm_program(argv: tuple[str, ...], lines: list[str]) -> bool:
    for line in lines:
        syslog.syslog(syslog.LOG_WARNING, f"alarm: {line}")
    text = "".join(f"{line}\n" for line in (f"Postern on {os.uname().nodename}:", *lines))
    try:
        code, _, err = subprocesses.run_command(argv, text, _CALL) if argv else subprocesses.CommandResult(DONE, "", "")
        if code != DONE:
            raise Failed(f"{argv[0]} ended {code}: {escape(hide_urls(err.strip()))}")
    except Failed as error:
        syslog.syslog(syslog.LOG_ERR, f"alarm could not be told, and is tried again: {error}")
        return False
    return True


def hide_urls(text: str) -> str:
    """Return a text in which each URL ends after its host: the rest of a webhook's address is its secret."""
    return _URL.sub(r"\1\2/...", text)


def _alarm_held(status: Status, _: Settings, __: int) -> Iterator[Alarm]:
    held = status.held
    if held and held.reasons and not status.frozen:
        text = f"held since {format_time(held.since)}: {'; '.join(held.reasons)}; see `inv review {status.customer}`"
        yield Alarm(status.customer, f"held {held.since}", text)


def _alarm_frozen(status: Status, _: Settings, __: int) -> Iterator[Alarm]:
    if status.frozen:
        since = f"frozen since {format_time(status.frozen.since)} by {escape(status.frozen.by)}"
        yield Alarm(
            status.customer, f"pinned {status.frozen.since}", f"{since}; `inv resume {status.customer}` ends it"
        )


def _alarm_refused(status: Status, _: Settings, now: int) -> Iterator[Alarm]:
    last, good = status.last, max(status.in_force.accepted.domains.values(), default=0)
    if last and last.did in ("refused", "failed") and now - good > REFUSED_FOR:
        text = f"no upload is taken since {format_time(good)}" if good else "no upload has been taken yet"
        yield Alarm(
            status.customer, "refused", f"{text}; the last, on {format_time(last.origin.when)}, {last.did}: {last.why}"
        )


def _alarm_unverified(status: Status, _: Settings, now: int) -> Iterator[Alarm]:
    if status.unproven and now - status.unproven > UNPROVEN_FOR:
        why = f": {status.last.trouble}" if status.last and status.last.trouble else ""
        text = f"the list of {format_time(status.unproven)} is not in the tables{why}"
        yield Alarm(status.customer, f"unproven {status.unproven}", text)


def _alarm_stale(status: Status, settings: Settings, now: int) -> Iterator[Alarm]:
    text = schedule.describe_lateness(settings, status.heard, now)
    if text:
        yield Alarm(status.customer, f"{STALE} {status.heard}", text)


def _alarm_ageing(status: Status, settings: Settings, now: int) -> Iterator[Alarm]:
    """Yield a warning every day, from half of open_after_days on."""
    most = settings.open_after_days
    old = [name for name in _closing_domains(status, settings) if 2 * (now - _last_good(status, name)) > most * DAY]
    names = [name for name in old if name not in status.opens]
    if names:
        age = (now - _last_good(status, names[0])) // DAY
        text = f"no good list for {count(age, 'day')}; after {most}, nobody is refused in {', '.join(names)}"
        yield Alarm(status.customer, "ageing", text)


def _alarm_opened(status: Status, settings: Settings, now: int) -> Iterator[Alarm]:
    names = [
        name for name in _closing_domains(status, settings) if name in status.opens and _last_good(status, name) <= now
    ]
    if names and not status.opened:
        age = (now - _last_good(status, names[0])) // DAY
        yield Alarm(status.customer, "opened", f"OPEN, no good list for {count(age, 'day')}: {', '.join(names)}")


def _alarm_opened_by_person(status: Status, settings: Settings, _: int) -> Iterator[Alarm]:
    """Yield, every day, that a person has had the customer's domains opened, until a person ends it."""
    opened = status.opened
    if opened:
        since = f" since {format_time(opened.since)} by {escape(opened.by, 100)}" if opened.since else ""
        text = f"OPEN{since}: nobody is refused in {', '.join(settings.domains)}"
        yield Alarm(status.customer, f"open {opened.since}", f"{text}; `inv open {status.customer} --end` ends it")


def _alarm_ahead(status: Status, _: Settings, now: int) -> Iterator[Alarm]:
    latest = max((*status.in_force.accepted.domains.values(), status.last.origin.when if status.last else 0))
    if latest > now + AHEAD:
        when = f"its last upload is of {format_time(latest)}, which is to come"
        text = f"{when}: this relay's clock was wrong then, or is now"
        yield Alarm(status.customer, "ahead", text)


def _alarm_no_additions(status: Status, settings: Settings, now: int) -> Iterator[Alarm]:
    days = (now - status.last_addition) // DAY
    if settings.no_additions_days and status.last_addition and days >= settings.no_additions_days:
        since = f"the list has gained nobody since {format_time(status.last_addition)}, for {count(days, 'day')}"
        yield Alarm(status.customer, f"no additions {status.last_addition}", f"{since}: is the export an old one?")


def _alarm_put_off(status: Status, _: Settings, __: int) -> Iterator[Alarm]:
    if status.is_put_off:
        text = "its server refuses to be asked about unlisted addresses, or refuses all who are listed"
        yield Alarm(status.customer, "put-off", f"{text}: until it can be asked, these get 450")


def _alarm_noted(status: Status, _: Settings, __: int) -> Iterator[Alarm]:
    """Yield the notes of the last export."""
    for note in status.last.notes if status.last else ():
        yield Alarm(status.customer, f"note {note}", note)


def _closing_domains(status: Status, settings: Settings) -> list[str]:
    """Return the domains that an accepted list closes, or closed until it was too old."""
    return [name for name in settings.domains if name not in settings.partial and _last_good(status, name)]


def _last_good(status: Status, domain: str) -> int:
    return status.in_force.accepted.domains.get(domain, 0)
