"""One customer on the page of `inv report`: its row of the fleet, its relays side by side, its chart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fleet import status_view
from fleet.problems import NOT_REACHED
from fleet.relay_figures import Figures
from fleet.report_charts import WEEK, Week, draw_chart
from fleet.report_parts import CustomerPart, KeyPart, RelayPart, age_of, problem_part
from fleet.status_view import Overview, Row
from inventory.exchange import Schedule
from inventory.model import Customer, Key
from receiver.formatting import count
from receiver.monitoring.daily_figures import DAYS
from receiver.monitoring.schedule import DAYS as WEEKDAYS

_WEEKS = DAYS // WEEK
_EPOCH = date(1970, 1, 1).toordinal()


class CustomerReport:
    """One customer's part of the report, made from what its relays answered."""

    def __init__(self, customer: Customer, rows: Sequence[Row], figures: Mapping[str, Figures | str], now: int) -> None:
        self.customer, self.rows, self.figures, self.now = customer, rows, figures, now
        self.today = datetime.fromtimestamp(now, UTC).date()
        known = {name: each for name, each in figures.items() if isinstance(each, Figures)}
        self.known = dict(sorted(known.items(), key=lambda one: -one[1].uploads))

    def part(self) -> CustomerPart:
        """Return all that the page shows of it."""
        customer, totals = self.customer, sorted({row.total for row in self.rows if row.total is not None})
        key = customer.keys[-1] if customer.keys else None
        key_days = key.age(self.today) if key else None
        weeks = self._weeks()
        return CustomerPart(
            id=customer.id,
            name=customer.name,
            domains=customer.domains,
            partial=customer.partial,
            source=customer.exchange.source,
            schedule=describe_schedule(customer.exchange.schedule, customer.id),
            total=" or ".join(map(str, totals)) or "none",
            size=max(totals, default=0),
            good=age_of(min((row.good for row in self.rows), default=0), self.now),
            changed=age_of(max((row.changed for row in self.rows), default=0), self.now),
            key=_describe_key(key, key_days),
            key_days=key_days or 0,
            problems=tuple(problem_part(one) for one in status_view.group_problems(Overview({}, self.rows))),
            relays=tuple(self._relay_parts()),
            keys=tuple(self._key_part(each) for each in customer.keys),
            chart=draw_chart([*self.known.values()], self._refused_by_day(), weeks, self.today),
            logged_by=next(iter(self.known), ""),
            caption=self._caption(weeks),
        )

    def _relay_parts(self) -> Iterator[RelayPart]:
        by_relay = {row.relay: row for row in self.rows}
        for relay in self.customer.relays:
            row, figures = by_relay.get(relay), self.figures.get(relay, NOT_REACHED)
            known = figures if isinstance(figures, Figures) else None
            yield RelayPart(
                relay,
                row.total if row else None,
                (row.list or "")[:12] if row else "",
                age_of(row.good if row else None, self.now),
                age_of(row.changed if row else None, self.now),
                row.did if row else "",
                row.key if row else "",
                known.uploads if known else None,
                sum(known.refused.values()) if known else None,
                ", ".join(dict.fromkeys(need.kind for need in row.needs)) if row else "",
                figures if isinstance(figures, str) else "",
            )

    def _key_part(self, key: Key) -> KeyPart:
        used = tuple((name, age_of(each.keys.get(key.name, 0), self.now)) for name, each in self.known.items())
        return KeyPart(key.name, key.recorded.isoformat() if key.recorded else "", key.age(self.today), used)

    def _refused_by_day(self) -> dict[int, int]:
        """Return, by day, how many addresses were refused on all relays together."""
        counts: dict[int, int] = {}
        for each in self.known.values():
            for day, number in each.refused.items():
                counts[day] = counts.get(day, 0) + number
        return dict(sorted(counts.items()))

    def _weeks(self) -> list[Week]:
        """Return the uploads of each week beside what was due since the first one that is known."""
        figures = next(iter(self.known.values()), None)
        if figures is None or not figures.days:
            return []
        begun, today, schedule = min(figures.days), self.today.toordinal(), self.customer.exchange.schedule
        starts = schedule.starts(self.customer.id)
        due = {day: count_due(schedule, starts, day, self.now) for day in range(begun, today + 1)}
        firsts = range(today - WEEK * _WEEKS + 1, today + 1, WEEK)
        return [
            Week(
                first,
                sum(figures.days[day].uploads for day in range(first, first + WEEK) if day in figures.days),
                sum(due.get(day, 0) for day in range(first, first + WEEK)),
            )
            for first in firsts
        ]

    def _caption(self, weeks: Sequence[Week]) -> str:
        """Return what the chart shows, in words."""
        days = [*next(iter(self.known.values())).days.values()] if self.known else []
        if not days:
            return ""
        added, removed, held = (
            sum(each) for each in zip(*((day.added, day.removed, day.held) for day in days), strict=True)
        )
        came, due = sum(week.came for week in weeks[-4:]), sum(week.due for week in weeks[-4:])
        refused = sum(self._refused_by_day().values())
        return (
            f"In {DAYS} days {added} added, {removed} removed, {count(held, 'upload')} held; "
            f"in the last 4 weeks {came} of {due} uploads came; "
            f"{count(refused, 'address')} refused in the last 14 days."
        )


def describe_schedule(schedule: Schedule, customer: str) -> str:
    """Return when exports start, in the server's own time."""
    starts = schedule.starts(customer)
    times = f"{_clock(starts[0])} to {_clock(starts[-1])}, {count(len(starts), 'time')} a day"
    return f"{', '.join(day.title() for day in schedule.days)}; {times} ({schedule.timezone})"


def count_due(schedule: Schedule, starts: Sequence[int], ordinal: int, now: int) -> int:
    """Return how many exports the schedule wants on a day, as far as they are over by now.

    `starts`: in minutes after midnight; `ordinal`: of the day, as date.toordinal() gives it.
    """
    if WEEKDAYS[(ordinal - 1) % 7] not in schedule.days:  # day 1 was a Monday
        return 0
    if now // 86_400 + _EPOCH - ordinal > 1:  # over in every time zone
        return len(starts)
    try:
        zone = ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")
    midnight = datetime.combine(date.fromordinal(ordinal), time(), zone)
    return sum((midnight + timedelta(minutes=minutes)).timestamp() <= now for minutes in starts)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _describe_key(key: Key | None, days: int | None) -> str:
    if key is None:
        return "none"
    return key.name if days is None else f"{key.name}, {count(days, 'day')}"
