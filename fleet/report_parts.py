"""The parts of the page of `inv report`, as plain data. Nothing is escaped here; the page's template does that."""

from __future__ import annotations

import re
from typing import NamedTuple

from fleet.report_charts import Chart
from fleet.status_view import GroupedProblem
from receiver.formatting import format_age, format_time


class TextPiece(NamedTuple):
    """A piece of a sentence; commands stand in it between backticks."""

    text: str
    is_command: bool


class ProblemPart(NamedTuple):
    """A problem, where it is, and what to do."""

    customer: str  # empty: it is the relay's own
    where: str
    kind: str
    pieces: tuple[TextPiece, ...]
    is_urgent: bool


class Age(NamedTuple):
    """A time as people read it, and what a table is sorted by."""

    text: str
    title: str  # the time itself
    seconds: int  # of age; a large number where it never was


class KeyPart(NamedTuple):
    """A recorded key."""

    name: str
    recorded: str
    days: int | None
    used: tuple[tuple[str, Age], ...]  # relay, and how long ago it was used there last


class RelayPart(NamedTuple):
    """One customer's list on one relay, as a row beside the others."""

    name: str
    total: int | None
    list: str
    good: Age
    changed: Age
    did: str
    key: str
    uploads: int | None
    refused: int | None
    problems: str
    missing: str  # why there are no figures; empty: there are


class CustomerPart(NamedTuple):
    """One customer, as a row of the fleet and as a section of its own."""

    id: str
    name: str
    domains: tuple[str, ...]
    partial: tuple[str, ...]
    source: str
    schedule: str
    total: str
    size: int  # of its list; what the table is sorted by
    good: Age  # where it is oldest
    changed: Age  # where it is newest
    key: str
    key_days: int
    problems: tuple[ProblemPart, ...]
    relays: tuple[RelayPart, ...]
    keys: tuple[KeyPart, ...]
    chart: Chart | None
    logged_by: str  # the relay whose log the chart shows
    caption: str

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return a word for each kind of problem."""
        return tuple(dict.fromkeys(one.kind for one in self.problems))

    @property
    def rank(self) -> int:
        """Return where it stands when those that need somebody come first: 0, with a notice 1, else 2."""
        return min((int(not one.is_urgent) for one in self.problems), default=2)


class FleetRelay(NamedTuple):
    """One relay, as a row of the fleet."""

    name: str
    address: str
    lists: int
    problems: tuple[ProblemPart, ...]


class Report(NamedTuple):
    """The whole page."""

    made: str
    by: str
    release: str
    summary: str
    problems: tuple[ProblemPart, ...]
    relays: tuple[FleetRelay, ...]
    customers: tuple[CustomerPart, ...]


def problem_part(one: GroupedProblem) -> ProblemPart:
    """Return a problem as the page shows it: after its kind, with which many sentences begin."""
    begins = re.match(rf"{re.escape(one.problem.kind)}(?=[ :;,])", one.problem.text)
    said = one.problem.text[begins.end() :] if begins else f": {one.problem.text}"
    pieces = re.split(r"`([^`]*)`", said)
    parts = tuple(TextPiece(text, bool(at % 2)) for at, text in enumerate(pieces) if text)
    return ProblemPart(one.customer, ", ".join(one.relays), one.problem.kind, parts, one.problem.urgent)


def age_of(when: int | None, now: int) -> Age:
    """Return how long ago something was, both in epoch seconds; 0: never, None: nobody knows."""
    if when is None:
        return Age("", "", now)
    if not when:
        return Age("never", "", now)
    return Age(format_age(now - when), format_time(when), now - when)
