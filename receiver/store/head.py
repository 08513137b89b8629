"""A head: what is in force for a customer, and the random ids (points) of every state that lies behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common.spool_files import LATEST
from receiver.formatting import escape
from receiver.lists import list_file
from receiver.lists.accepted import Accepted
from receiver.lists.held import Held
from receiver.lists.spool import LastExport
from receiver.outcome import Busy
from receiver.system import atomic_files
from receiver.system.checked_json import check_types

FORMAT = 1  # of a head as JSON; a newer one is neither taken nor written
BOUND = 1_000  # points that a head remembers
FALLBACK = "~"  # the end of a fallback's point; what stands before it is the point of the upload
GIVEN = "="  # in the past, between the point and the list of a state as another relay handed it over
DECISIONS = ("accept", "rollback", "bring back", "resume", "open", "settings")  # what a person did


class NewerFormat(Busy):
    """A newer release wrote it; nothing of it may be taken, and nothing written over it."""


class Behind(NamedTuple):
    """A state that lies behind a head."""

    point: str
    date: int  # epoch seconds, for the order alone: later than what lies behind it, whatever the clocks say
    kind: str = ""  # of a person's decision; empty: it was none
    by: str = ""


class Freeze(NamedTuple):
    """Why uploads do not take effect."""

    by: str
    since: int  # epoch seconds
    to: str  # SHA-256 of the list that was rolled back to
    seen: str  # SHA-256 of the list that was in force before
    is_merged: bool = False  # a merge brought it back: uploads add and open until a person resumes


class Revision(NamedTuple):
    """The settings that a tree has, or that the customer's lists are judged by."""

    number: int = 0
    hash: str = ""
    holds: tuple[str, ...] = ()  # what would be lost with other settings, in provision's words


class Head(NamedTuple):
    """One state of a customer's list. One point is one state."""

    point: str
    date: int
    list: str  # SHA-256 of the list in force
    accepted: Accepted  # which domains, and the list that passed or was accepted last
    past: tuple[Behind, ...] = ()  # newest first
    held: Mapping[str, Any] | None = None  # what Held.fields() gives
    review: str = ""  # SHA-256 of the record of the last review of the held list; empty: there is none
    kept: Mapping[str, str] = {}  # address: the log entry that removed it; it is listed until a person accepts that
    frozen: Freeze | None = None
    export: LastExport = LastExport()
    settings: Revision = Revision()
    kind: str = ""
    by: str = ""

    @property
    def held_list(self) -> str:
        """Return the SHA-256 of the list that waits; empty: none does."""
        return str(self.held["list"]) if self.held else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the SHA-256 of all that lies beside a head, for it may be large: two lists and a review."""
        return tuple(filter(None, (self.list, self.held_list, self.review)))

    @property
    def behind(self) -> Behind:
        """Return what the next head remembers of this one."""
        decided = self.kind in DECISIONS
        return Behind(self.point, self.date, self.kind if decided else "", self.by if decided else "")

    def knows(self, point: str) -> bool:
        """Return whether a state lies behind this one. A head that is or knows an upload knows its fallback too."""
        plain = point.rstrip(FALLBACK)
        if point.endswith(FALLBACK) and plain == self.point:
            return True
        return any(each.point in (point, plain) for each in self.past)

    def follows(self, other: Head) -> bool:
        """Return whether another state lies behind this one; one that was handed over counts with its list alone."""
        return self.knows(other.point) or self.knows(name_given(other))


class Tip(NamedTuple):
    """A head with its list."""

    head: Head
    text: bytes

    @property
    def recipients(self) -> frozenset[str]:
        """Return who is on the list."""
        return list_file.decode_recipients(self.text)


def new_point() -> str:
    """Return a random id, which no other state anywhere has: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def name_given(head: Head) -> str:
    """Return the name of a state that another relay handed over: that relay may claim any point for any list."""
    return f"{head.point}{GIVEN}{head.list}"


def past_of(tips: Iterable[Tip], bound: int = BOUND) -> tuple[Behind, ...]:
    """Return what lies behind a head on top of these: they, then what lies behind them, newest first."""
    heads = [tip.head for tip in tips]
    behind = [each for head in heads for each in head.past]
    if len(heads) > 1:
        behind.sort(key=lambda each: -each.date)
    every = {each.point: each for each in [*(head.behind for head in reversed(heads)), *behind]}
    return tuple(every.values())[:bound]


def date_on_top(tips: Iterable[Tip], now: int) -> int:
    """Return the date of a head on top of these: never before that of what lies behind it."""
    return max([now, *(tip.head.date + 1 for tip in tips)])


def digest(store: str, customer: str, text: str) -> str:
    """Return the digest of a head in its row, which no damaged head, other customer or other store has."""
    return list_file.digest("\n".join((store, customer, text)).encode())


def encode_head(head: Head) -> str:
    """Return a head as JSON in ASCII: a value that was left out may hold what a column of text does not take."""
    fields = {**head._asdict(), "format": FORMAT, "accepted": head.accepted._asdict()}
    fields["frozen"] = head.frozen and head.frozen._asdict()
    fields["export"] = head.export._asdict()
    fields["settings"] = head.settings._asdict()
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def decode_head(text: str) -> Head:
    """Return what encode_head() gave. Raises NewerFormat, and ValueError for what is no head."""
    try:
        fields = json.loads(text)
        if fields["format"] > FORMAT:
            raise NewerFormat("a newer release of Postern wrote it; provision this relay with that release")
        known = {name: value for name, value in fields.items() if name in Head._fields}
        export, revision = fields["export"], fields["settings"]
        known["accepted"] = Accepted.read(fields["accepted"])
        known["past"] = tuple(Behind(*each) for each in fields["past"])
        known["frozen"] = None if fields["frozen"] is None else Freeze(**fields["frozen"])
        known["export"] = LastExport(tuple(export["open_domains"]), export["plus_addresses"])
        known["settings"] = Revision(revision["number"], revision["hash"], tuple(revision["holds"]))
        atomic_files.encode_json(fields)  # UnicodeEncodeError for half a character, which no file can hold
        return _check(Head(**known))
    except (KeyError, TypeError, AttributeError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(f"it is no head: {type(error).__name__}: {escape(str(error))}") from error


def _check(head: Head) -> Head:
    frozen, export = head.frozen, head.export
    held = Held.read(head.held) if head.held is not None else None
    check_types(str, head.point, head.list, head.review, head.kind, head.by, head.settings.hash, *head.settings.holds)
    check_types(str, *head.kept, *head.kept.values(), *export.open_domains)
    check_types(str, *(word for each in head.past for word in (each.point, each.kind, each.by)))
    check_types(int, head.settings.number)
    check_types((bool, type(None)), export.plus_addresses)
    dates = [head.date, *(each.date for each in head.past), *head.accepted.domains.values()]
    if frozen:
        check_types(str, frozen.by, frozen.to, frozen.seen)
        check_types(bool, frozen.is_merged)
        dates.append(frozen.since)
    check_types(int, *dates)
    if not all(0 <= date <= LATEST for date in (*dates, *([held.since, held.origin.when] if held else []))):
        raise TypeError("a date is none")
    return head
