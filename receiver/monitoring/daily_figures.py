"""One customer's last 90 days in numbers, a day each: what `inv report` draws. Pure.

Days are UTC's, as the log counts seconds; those of refusals are the mail log's own, in the relay's time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from receiver.formatting import DAY
from receiver.lists.upload_log import LogEntry
from receiver.monitoring.refusals import RefusedAddress

DAYS = 90
_DECISIONS = ("accepted", "rolled back", "brought back")  # what a person did, and no upload


class DayFigures(NamedTuple):
    """The sums of a day's uploads and decisions."""

    day: str  # YYYY-MM-DD
    total: int  # recipients in force at its end
    added: int = 0
    removed: int = 0
    uploads: int = 0  # that were judged; equal ones in a row are spread over their days
    held: int = 0  # uploads that were held
    decisions: int = 0  # a person accepted a list, or rolled back


def sum_days(entries: Iterable[LogEntry], now: int) -> list[DayFigures]:
    """Return the days of the last DAYS on which something came, the oldest first. `entries`: the newest first."""
    last = now // DAY
    first = last - DAYS + 1
    days: dict[int, DayFigures] = {}
    for entry in entries:
        if max(entry.when, entry.last) // DAY < first:
            break
        _add_entry(days, entry, first, last)
    return [days[number] for number in sorted(days)]


def count_refused(refused: Mapping[str, RefusedAddress]) -> dict[str, int]:
    """Return, by day, how many addresses were refused."""
    counts: dict[str, int] = {}
    for each in refused.values():
        for day in each.days:
            counts[day] = counts.get(day, 0) + 1
    return dict(sorted(counts.items()))


def figures_record(days: Iterable[DayFigures], refused: Mapping[str, RefusedAddress]) -> dict[str, Any]:
    """Return both as plain JSON; a day is a list of DayFigures' fields in their order."""
    return {"days": [list(each) for each in days], "refused": count_refused(refused)}


def _add_entry(days: dict[int, DayFigures], entry: LogEntry, first: int, last: int) -> None:
    """Count an entry on its day, and equal uploads after it evenly on the days until the last."""
    began, ended = entry.when // DAY, max(entry.when, entry.last) // DAY
    is_decision = entry.did in _DECISIONS
    share, rest = divmod(max(1, entry.times), ended - began + 1)
    for number in range(max(began, first), min(ended, last) + 1):
        uploads = share + (number - began < rest)
        is_first = number == began
        day = days.get(number) or DayFigures(_format_day(number), entry.total)  # the newest entry has the day's end
        days[number] = day._replace(
            added=day.added + entry.added * is_first,
            removed=day.removed + entry.removed * is_first,
            uploads=day.uploads + uploads * (not is_decision),
            held=day.held + uploads * (entry.did == "held"),
            decisions=day.decisions + (is_first and is_decision),
        )


def _format_day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * DAY))
