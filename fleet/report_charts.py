"""The charts of `inv report`: numbers to the paths of one SVG a customer. Pure; paths hold digits and letters alone.

The drawing is WIDTH by HEIGHT and is stretched to the page's width, never in height; so it holds no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from fleet.relay_figures import Figures
from receiver.monitoring.daily_figures import DAYS

STEP = 10  # a day's width
WIDTH, HEIGHT = DAYS * STEP, 268
WEEK = 7
_SIZE_TOP, _SIZE_BOTTOM = 6, 86
_CHANGE_MIDDLE, _CHANGE_MOST = 124, 24  # additions go up from the middle, removals down
_HELD, _DECIDED = 160, 178
_REFUSED_BOTTOM, _REFUSED_MOST = 226, 30
_UPLOADS_BOTTOM, _UPLOADS_MOST = 260, 20
_LEAST = 2  # a bar that is not nothing can be seen


class Week(NamedTuple):
    """The uploads of seven days beside what the schedule wanted."""

    first: int  # its first day, an ordinal
    came: int
    due: int


class Chart(NamedTuple):
    """The paths of one drawing, and what stands beside it."""

    sizes: tuple[str, ...]  # a line for each relay, the one that the other paths are about first
    added: str
    removed: str
    held: str
    decided: str
    refused: str
    came: str
    due: str
    most: int  # recipients, at the top of the first band
    least: int
    most_added: int
    most_removed: int
    most_refused: int
    dates: tuple[str, ...]  # first, middle, last day

    @property
    def grid(self) -> str:
        """Return the lines that the bands stand on."""
        bases = (_SIZE_BOTTOM, _CHANGE_MIDDLE, _REFUSED_BOTTOM, _UPLOADS_BOTTOM)
        return "".join(f"M0 {y}H{WIDTH}" for y in bases)


def draw_chart(
    relays: Sequence[Figures], refused: Mapping[int, int], weeks: Sequence[Week], today: date
) -> Chart | None:
    """Return the drawing; `relays`: the one that has logged most first. None: nothing came on any day."""
    if not relays or not any(each.days for each in relays):
        return None
    first, days = today.toordinal() - DAYS + 1, relays[0].days
    totals = [day.total for each in relays for day in each.days.values()]
    added = {day: found.added for day, found in days.items() if found.added}
    removed = {day: found.removed for day, found in days.items() if found.removed}
    tallest = max((max(week.came, week.due) for week in weeks), default=0)
    return Chart(
        sizes=tuple(_draw_size(each, first, min(totals), max(totals)) for each in relays if each.days),
        added=_draw_bars(added, first, _CHANGE_MIDDLE, -_CHANGE_MOST),
        removed=_draw_bars(removed, first, _CHANGE_MIDDLE, _CHANGE_MOST),
        held=_draw_marks((day for day, found in days.items() if found.held), first, _HELD),
        decided=_draw_marks((day for day, found in days.items() if found.decisions), first, _DECIDED),
        refused=_draw_bars(refused, first, _REFUSED_BOTTOM, -_REFUSED_MOST),
        came="".join(_draw_box(week, first, tallest) for week in weeks if week.came),
        due="".join(_draw_target(week, first, tallest) for week in weeks if week.due),
        most=max(totals),
        least=min(totals),
        most_added=max(added.values(), default=0),
        most_removed=max(removed.values(), default=0),
        most_refused=max(refused.values(), default=0),
        dates=tuple(date.fromordinal(day).isoformat() for day in (first, first + DAYS // 2, today.toordinal())),
    )


def _draw_size(figures: Figures, first: int, least: int, most: int) -> str:
    """Draw the list's size as steps: what a day left stays until another changes it, and until today."""
    path, height = "", None
    for day, found in figures.days.items():
        x, y = _x(day, first), _size_height(found.total, least, most)
        if height is None:
            path += f"M{x} {y}"
        elif y != height:
            path += f"H{x}V{y}"
        height = y
    return f"{path}H{WIDTH}"


def _size_height(total: int, least: int, most: int) -> int:
    if most == least:
        return (_SIZE_TOP + _SIZE_BOTTOM) // 2
    return _SIZE_BOTTOM - (_SIZE_BOTTOM - _SIZE_TOP) * (total - least) // (most - least)


def _draw_bars(counts: Mapping[int, int], first: int, base: int, longest: int) -> str:
    """Draw a bar for each day, up where `longest` is negative."""
    most = max(counts.values(), default=0)
    way = 1 if longest > 0 else -1
    return "".join(
        f"M{_x(day, first) + STEP // 2} {base}v{way * max(_LEAST, abs(longest) * count // most)}"
        for day, count in counts.items()
        if count
    )


def _draw_marks(days: Iterable[int], first: int, y: int) -> str:
    """Draw a dot for each day: a line of next to no length, whose ends the style makes round or square."""
    return "".join(f"M{_x(day, first) + STEP // 2} {y}h1" for day in days)


def _draw_box(week: Week, first: int, tallest: int) -> str:
    x = _x(week.first, first)
    return f"M{x + 6} {_UPLOADS_BOTTOM}v{-_upload_height(week.came, tallest)}h{WEEK * STEP - 12}V{_UPLOADS_BOTTOM}z"


def _draw_target(week: Week, first: int, tallest: int) -> str:
    """Draw, as a line, how high the week's box would be if all had come that was due."""
    return f"M{_x(week.first, first) + 2} {_UPLOADS_BOTTOM - _upload_height(week.due, tallest)}h{WEEK * STEP - 4}"


def _upload_height(number: int, tallest: int) -> int:
    return max(_LEAST, _UPLOADS_MOST * number // tallest)


def _x(day: int, first: int) -> int:
    return max(0, min(day - first, DAYS - 1)) * STEP
