"""Finds the year of lines that print none, backwards from when the file was written last."""

from __future__ import annotations

import calendar
import re
import time

from receiver.formatting import DAY
from receiver.monitoring.log_head import MONTHS, Stamp, read_head

_MONTH = 31  # days as they are counted here: 31 in each month
_BACK = _MONTH  # a day may be so much earlier than the line before in the same year: a clock was set back
_YEAR = 12 * _MONTH
_TWO_TIMES = re.compile(rb"\d{4}-\S+Z (?:std\w+ [FP] )?[A-Z][a-z]{2} ")  # docker's, and a line's own
_AHEAD = 2 * DAY  # seconds that a line may be later than the file, in another time zone


class YearCounter:
    """Counts the turns of the year in the lines of a file, followed in their order."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self.turns = 0
        self.last: Stamp | None = None
        self._day = b""  # of the line before, as it is printed

    def _unprinted_day(self, line: bytes) -> Stamp | None:
        """Return the day of a line that prints no year; None: it prints one, or has the day of the line before."""
        line = line.lstrip(b"\0")
        day, self._day = self._day, line[:6] if line.startswith(MONTHS) else b""
        if (day and day == self._day) or (line[:1].isdigit() and not _TWO_TIMES.match(line)):
            return None
        head = read_head(line)
        return head.stamp if head and not head.stamp.year else None

    def follow(self, line: bytes) -> None:
        """Go on to the next line of the file."""
        if stamp := self._unprinted_day(line):
            self._count(stamp)

    def _count(self, stamp: Stamp) -> None:
        if self.last:
            later = (stamp.month - self.last.month) * _MONTH + stamp.day - self.last.day
            self.turns += (later < -_BACK) - (later > _YEAR - _BACK)
        self.last = stamp


class Days:
    """Names the days of lines: as they print them, with the year where they print none."""

    def __init__(self, whole: YearCounter, written: float) -> None:
        """Go by the turns in the whole file and when it was written last, epoch seconds."""
        self._first = _latest_year(whole.last, written) - whole.turns if whole.last else 0
        self._counter = YearCounter()

    def follow(self, line: bytes) -> None:
        """Go on to the next line of the file."""
        self._counter.follow(line)

    def name(self, stamp: Stamp) -> str:
        """Return the day of the line followed last as YYYY-MM-DD."""
        year = stamp.year or self._first + self._counter.turns
        while not _is_day(year, stamp):
            year -= 1
        return f"{year:04}-{stamp.month:02}-{stamp.day:02}"


def _latest_year(stamp: Stamp, written: float) -> int:
    """Return the last year in which a day is not after the file."""
    latest = time.localtime(written + _AHEAD)
    year = latest.tm_year
    while not _is_day(year, stamp) or (year, stamp.month, stamp.day) > latest[:3]:
        year -= 1
    return year


def _is_day(year: int, stamp: Stamp) -> bool:
    return stamp.day <= calendar.monthrange(year, stamp.month)[1] if (stamp.month, stamp.day) == (2, 29) else True
