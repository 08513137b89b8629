"""What `inv status` shows of the rows it made: what needs somebody first. The sentences are `fleet/problems.py`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from common import exit_codes
from console.grouping import NAMED, name_some
from fleet.problems import NOT_REACHED, Problem
from inventory.errors import faulty_files
from receiver.formatting import count, escape, format_age, format_time

OF_LISTS = ("customer", "relay", "recipients", "last good (UTC)", "last change (UTC)", "last run", "key")
COLUMNS = (*OF_LISTS, "needs a person")
BRIEF_COLUMNS = ("customer", "relay", "listed", "good", "changed", "last run", "key", "problems")

_CLOSE = 300  # seconds between uploads of one run of a batch to its relays
MOST = 6  # sentences of one kind; of more than these NAMED are shown and the rest is counted

NAGIOS = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
"""Exit codes of a monitoring plugin, and the words for them (Monitoring Plugins Development Guidelines)."""
NAGIOS_UNKNOWN = 3


class Row(NamedTuple):
    """One customer's list on one relay."""

    customer: str
    relay: str
    needs: tuple[Problem, ...]
    total: int | None = None  # recipients in force
    list: str | None = None  # their SHA-256; empty: there is no list; None: the relay does not say
    good: int = 0  # when the last good upload came, epoch seconds; 0: none has
    changed: int = 0  # when the list in force last changed; 0: there is none
    did: str = ""  # what the last run did
    key: str = ""  # the one used last
    key_days: int | None = None  # its age
    heard: int = 0  # when the last usable export came; 0: none has
    unlisted: str = "refuse"  # what an address gets that is not listed


class Overview(NamedTuple):
    """All that was found: the problems of relays as a whole, and a row for each list."""

    relays: Mapping[str, Sequence[Problem]]
    rows: Sequence[Row]

    def problems(self) -> list[Problem]:
        """Return all problems, of relays and of lists."""
        return [
            *(one for each in self.relays.values() for one in each),
            *(one for row in self.rows for one in row.needs),
        ]

    def code(self) -> int:
        """Return PERSON if anything needs somebody; a notice does not."""
        return exit_codes.PERSON if any(one.urgent for one in self.problems()) else exit_codes.DONE

    def sorted_rows(self, only_problems: bool = False) -> list[Row]:
        """Return the rows, those that need somebody first, then those with a notice, else in the order they had."""
        rows = sorted(self.rows, key=lambda row: _rank(row.needs))
        return [row for row in rows if row.needs] if only_problems else rows


class GroupedProblem(NamedTuple):
    """A problem, and the relays it is true of."""

    customer: str  # empty: it is the relay's own
    relays: tuple[str, ...]
    problem: Problem


def summary(found: Overview) -> str:
    """Return the line that says how all of it stands; lists on relays that were not reached are not counted."""
    urgent = [row for row in found.rows if _rank(row.needs) == 0]
    noticed = [row for row in found.rows if _rank(row.needs) == 1]
    relays = [name for name, each in found.relays.items() if any(one.urgent for one in each)]
    said = (
        [f"{count(len(urgent), 'list')} of {count(len({row.customer for row in urgent}), 'customer')}"]
        if urgent
        else []
    )
    said += [f"{count(len(relays), 'relay')} ({name_some(relays, MOST)})"] if relays else []
    need = f"needs somebody: {' and '.join(said)}" if said else "nothing needs somebody"
    notice = f"; with a notice: {count(len(noticed), 'list')}" if noticed else ""
    lists, whose = count(len(found.rows), "list"), count(len({row.customer for row in found.rows}), "customer")
    lost = sum(any(one.kind == NOT_REACHED for one in each) for each in found.relays.values())
    reached = f"{len(found.relays) - lost} of " if lost else ""
    return f"{lists} of {whose} on {reached}{count(len(found.relays), 'relay')}; {need}{notice}"


def pipe_rows(found: Overview, only_problems: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield a row of COLUMNS for each list, and before them for each relay that has a problem; whole sentences."""
    none = [""] * len(OF_LISTS[2:])
    for name, each in found.relays.items():
        if each:
            yield ("(relay)", name, *none, "; ".join(one.text for one in each))
    for row in found.sorted_rows(only_problems):
        times = (_format_day(row.good), _format_day(row.changed))
        key = row.key if row.key_days is None else f"{row.key}, {count(row.key_days, 'day')}"
        needs = "; ".join(one.text for one in row.needs)
        yield (row.customer, row.relay, _format_total(row), *times, _word(row.did), key, needs)


def brief_rows(found: Overview, now: int, only_problems: bool = False) -> Iterator[tuple[str, ...]]:
    """Yield a row of BRIEF_COLUMNS for each list: ages instead of times, a word for each problem.

    A customer whose lists look alike on all its relays has one row, with the oldest ages.
    """
    for name, each in found.relays.items():
        if each:
            yield ("(relay)", name, *[""] * 5, _format_kinds(each))
    by_customer: dict[str, list[Row]] = {}
    for row in found.rows:
        by_customer.setdefault(row.customer, []).append(row)
    for row in found.sorted_rows(only_problems):
        theirs = by_customer[row.customer]
        if len(theirs) == 1 or not _look_alike(theirs, now):
            yield (row.customer, row.relay, *_brief_cells(row, now))
        elif row is theirs[0]:
            good, changed = (min(times) for times in zip(*((one.good, one.changed) for one in theirs), strict=True))
            yield (row.customer, f"on {len(theirs)}", *_brief_cells(row._replace(good=good, changed=changed), now))


def _look_alike(rows: Sequence[Row], now: int) -> bool:
    """Return whether rows of one customer differ in nothing but minutes: a batch sends to one relay after the other."""
    same_times = all(
        max(times) - min(times) < _CLOSE for times in zip(*((r.good, r.changed) for r in rows), strict=True)
    )
    return same_times and len({_brief_cells(one._replace(good=0, changed=0), now) for one in rows}) == 1


def _brief_cells(row: Row, now: int) -> tuple[str, ...]:
    """Return the cells of a row behind the relay's name."""
    ages = tuple(format_age(now - when) if when else "never" for when in (row.good, row.changed))
    key = row.key if row.key_days is None else f"{row.key}, {count(row.key_days, 'day')}"
    return (_format_total(row), *ages, _word(row.did), key, _format_kinds(row.needs))


def group_problems(found: Overview) -> list[GroupedProblem]:
    """Return each problem once, with all the relays it is true of; those that need somebody first."""
    where: dict[tuple[str, Problem], list[str]] = {}
    for name, each in found.relays.items():
        for need in each:
            where.setdefault(("", need), []).append(name)
    for row in found.rows:
        for need in row.needs:
            where.setdefault((row.customer, need), []).append(row.relay)
    grouped = [GroupedProblem(customer, tuple(at), need) for (customer, need), at in where.items()]
    return sorted(grouped, key=lambda one: not one.problem.urgent)


def sentences(found: Overview) -> list[str]:
    """Return each problem once as a sentence, those that need somebody first; where many have one, some of them."""
    every = group_problems(found)
    totals = Counter(one.problem.kind for one in every)
    seen = Counter[str]()
    lines = []
    for one in every:
        kind = one.problem.kind
        seen[kind] += 1
        if totals[kind] <= MOST or seen[kind] <= NAMED:
            lines.append(
                f"{f'{one.customer} on ' if one.customer else ''}{name_some(one.relays, MOST)}: {one.problem.text}"
            )
        elif seen[kind] == NAMED + 1:
            more = totals[kind] - NAMED
            lines.append(f"{_word(kind)}: {more} more like these; `inv status CUSTOMER` says it in full")
    return lines


def nagios(found: Overview, faults: Sequence[str] = ()) -> tuple[int, str]:
    """Return a monitoring plugin's exit code and text: a first line with performance data, then the sentences.

    `faults`: of files of customers that could not be looked at. How those stand is not known.
    """
    problems = found.problems()
    code = 2 if any(one.urgent for one in problems) else NAGIOS_UNKNOWN if faults else 1 if problems else 0
    urgent = sum(one.urgent for one in problems)
    data = f"lists={len(found.rows)} problems={urgent} notices={len(problems) - urgent}"
    first = f"not looked at, as files have faults: {name_some(faulty_files(faults))}; " if faults else ""
    lines = [
        f"{_without_bar(first)}{summary(found)} | {data}",
        *(_without_bar(text) for text in (*faults, *sentences(found))),
    ]
    return code, f"POSTERN {NAGIOS[code]} - " + "\n".join(lines)


def nagios_unknown(text: str) -> str:
    """Return the line of a plugin that could not look, with why."""
    return f"POSTERN {NAGIOS[NAGIOS_UNKNOWN]} - {_without_bar(' '.join(text.split()))}"


def _rank(problems: Iterable[Problem]) -> int:
    return min((0 if one.urgent else 1 for one in problems), default=2)


def _without_bar(text: str) -> str:
    """Return the text without `|`, which begins performance data."""
    return escape(text, 2000).replace("|", "/")


def _format_total(row: Row) -> str:
    word = "" if row.unlisted == "refuse" else f" ({row.unlisted})"
    return "" if row.total is None else f"{row.total}{word}"


def _format_kinds(problems: Iterable[Problem]) -> str:
    return ", ".join(dict.fromkeys(_word(one.kind) for one in problems))


def _word(name: str) -> str:
    """Return what people call what a run did, or a kind of problem: records have the word of the first release."""
    return "frozen" if name == "pinned" else name


def _format_day(when: int) -> str:
    return format_time(when).removesuffix(" UTC") if when else "never"
