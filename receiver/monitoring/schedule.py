"""Whether the exports that were due have come: by the customer's own schedule, in its server's own time zone.

The one place that judges it, for the timer of a relay and for `inv status`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import islice

from common.settings import Settings
from receiver.formatting import DAY, format_time

DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MISSED = 2  # exports in a row that are missing before an alarm is raised
MOST = 3  # customers at least whose lateness at once is one outage, if that is most of them
_RUN = 1800  # seconds that an export may take to come
_STRANGE = DAY  # seconds of patience more where the time zone is not known here: no zone is further off


def describe_lateness(settings: Settings, heard: int, now: int) -> str:
    """Return a sentence where too many exports are missing. `heard`: when the last good one came; 0: none ever."""
    wanted = find_due(settings, now)
    if not 0 < heard < wanted:
        return ""
    return f"stale: no usable export since {format_time(heard)}, one was due {format_time(wanted)}"


def find_due(settings: Settings, now: int) -> int:
    """Return since when there must have been an export; 0 where settings of an older release have no schedule."""
    if not (settings.days and settings.starts):
        return 0
    zone, patience = _zone(settings.timezone)
    starts = _starts(settings, zone, now - _RUN - patience)
    return next(islice(starts, MISSED - 1, None), 0)


def describe_outage(stale: Sequence[str], watched: int) -> str:
    """Return in one sentence that most of a relay's customers are stale at once; empty where they are not."""
    if len(stale) < MOST or 2 * len(stale) <= watched:
        return ""
    names = ", ".join(stale[:5]) + (" ..." if len(stale) > 5 else "")
    return f"{len(stale)} of {watched} customers are stale at once: is it this relay, its address or its sshd? {names}"


def _starts(settings: Settings, zone: tzinfo, before: int) -> Iterator[int]:
    """Yield when exports were to start, the latest first."""
    last = datetime.fromtimestamp(before, zone).date()
    for day in (last - timedelta(days=back) for back in range(7 * MISSED + 1)):
        if DAYS[day.weekday()] in settings.days.split():
            moments = (_start_second(day, start, zone) for start in sorted(settings.starts.split(), reverse=True))
            yield from (at for at in moments if at <= before)


def _start_second(day: date, start: str, zone: tzinfo) -> int:
    """Return the epoch second of a time of that day; one that the clocks skip is the hour after."""
    hours, _, minutes = start.partition(":")
    return int(datetime(day.year, day.month, day.day, int(hours), int(minutes), tzinfo=zone).timestamp())


def _zone(name: str) -> tuple[tzinfo, int]:
    """Return the time zone, and how much more patience it takes: an old relay may not know a new name."""
    if name == "UTC":
        return timezone.utc, 0
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # 8 ms, and no upload needs it

    try:
        return ZoneInfo(name), 0
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc, _STRANGE
