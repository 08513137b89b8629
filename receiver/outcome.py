"""The result of a run: its exit code, its line for people, its record for programs; and how these are written out."""

from __future__ import annotations

import errno
import json
import os
import signal
import syslog
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from common.exit_codes import BUSY, DONE, FAILED, HELD, REFUSED
from receiver.formatting import count, escape, format_actor, is_time, name_left_out, printable, sort_by_count

FORMAT = 1  # of Outcome as JSON; the format of the release before is read as well
AHEAD = 300  # seconds that another machine's clock may be ahead
_ANSWER = 60  # seconds for the caller to take a piece of the answer
_PIECE = 1 << 16  # bytes
_SHOWN = 100  # names of each kind that people are shown; --json has more
VALUE = 200  # characters of a value that was left out

_CODES = {"refused": REFUSED, "held": HELD, "busy": BUSY, "failed": FAILED}


class Stopped(Exception):
    """The run stops; the text says what is wrong and what would help. Raised as one of the three below."""

    code = FAILED
    did = "failed"


class Refused(Stopped):
    """The request or the upload is wrong."""

    code = REFUSED
    did = "refused"


class Failed(Stopped):
    """Something on this relay failed."""


class Busy(Stopped):
    """Another run holds what this run needs."""

    code = BUSY
    did = "busy"


class Origin(NamedTuple):
    """Who started a run, from where and when."""

    when: int  # epoch seconds
    key: str = ""  # the key's name; empty when a person started it
    client: str = ""  # the client's address
    by: str = ""  # the person who started it; empty when a key did


class LeftOut(NamedTuple):
    """A value of an export that was left out though its domain is the customer's, and why."""

    value: str  # as it was exported, at most VALUE characters of it
    reason: str

    @classmethod
    def read(cls, records: Iterable[Mapping[str, Any]]) -> tuple[LeftOut, ...]:
        """Return what records() gave. Raises KeyError, TypeError."""
        return tuple(cls(str(each["value"]), str(each["reason"])) for each in records)


class Outcome(NamedTuple):
    """The result of one run for one customer.

    Its exit code, line, `last-run.json`, `--json` and `inv status` come from it.
    """

    customer: str
    # published unchanged held pinned looked refused busy failed opened, or resumed (no longer frozen, nothing waiting)
    did: str
    origin: Origin = Origin(0)
    total: int = 0  # recipients in force after it
    added: int = 0  # to the list that was in force; when only looked: would be
    removed: int = 0  # from it
    kept_back: int = 0  # would have gone, and stay until accepted
    left_out: Mapping[str, int] = {}  # reason: how many values of the export
    named: tuple[LeftOut, ...] = ()  # of those, in domains of the customer's and left out by no option
    reasons: tuple[str, ...] = ()  # why the guard holds the list; empty: it does not
    offered: str = ""  # SHA-256 of the list that was offered
    why: str = ""  # what is wrong, or since when the list is frozen
    trouble: str = ""  # the list is recorded, yet not in the tables Postfix reads
    coming: tuple[str, ...] = ()  # when only looked: names, sorted, at most NAMED
    going: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # about the export, for a person

    @property
    def code(self) -> int:
        """Return the exit code."""
        if self.trouble:
            return FAILED
        if self.did == "looked":
            return HELD if self.reasons and not self.why else DONE
        return _CODES.get(self.did, DONE)

    @property
    def line(self) -> str:
        """Return one line for people and logs."""
        parts = [self._summary()]
        if self.trouble:
            parts.append(f"NOT IN THE TABLES YET: {self.trouble}")
        if self.left_out:
            each = ", ".join(f"{count} {reason}" for reason, count in sort_by_count(self.left_out))
            parts.append(f"left out {sum(self.left_out.values())}: {each}")
        parts += [f"note: {note}" for note in self.notes]
        return f"{self.customer}: {'; '.join(parts)}"

    def _summary(self) -> str:
        if self.did in ("refused", "busy", "failed", "resumed", "opened"):
            return f"{self.did}: {escape(self.why, 500)}"
        counts = f"{count(self.total, 'recipient')} (+{self.added} -{self.removed})"
        if self.did == "unchanged":
            counts = f"{count(self.total, 'recipient')}, unchanged"
        why = "; ".join(self.reasons)
        if self.did == "pinned":
            waits = f"; the list sent waits for resume ({why or 'it passes'})" if self.offered else ""
            return f"{counts}, frozen since {self.why}{waits}"
        if self.did == "looked" and self.why:
            return f"only looked: {counts}; frozen since {self.why}: would wait for resume ({why or 'it passes'})"
        if self.did == "looked":
            return f"only looked: {counts}; " + (f"{why}: would be held" if why else "would be published")
        return f"{why}: held; {self.added} added" if why else counts

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON, with what programs would otherwise have to work out."""
        fields = {name: value for name, value in self._asdict().items() if name not in ("customer", "did", "origin")}
        started = {"customer": self.customer, "did": self.did, **self.origin._asdict()}
        shown = {"named": records(self.named), "code": self.code, "line": self.line}
        return {"postern": FORMAT, **started, **fields, **shown}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Outcome:
        """Read what record() gave, here or on a relay of the release before. Raises ValueError."""
        if record.get("postern") not in (FORMAT, FORMAT - 1):
            raise ValueError("an outcome of a format this release of Postern does not read")
        known = {name: value for name, value in record.items() if name in cls._fields}
        started = {name: value for name, value in record.items() if name in Origin._fields}
        for name in ("reasons", "coming", "going", "notes"):
            known[name] = tuple(known.get(name, ()))
        try:
            named, origin = LeftOut.read(known.get("named", ())), Origin(**{"when": 0, **started})
            outcome = cls(**{**known, "origin": origin, "named": named})
        except (KeyError, TypeError) as error:
            raise ValueError("an outcome that lacks a field, or in which `named` has another form") from error
        lists = (*outcome.reasons, *outcome.coming, *outcome.going, *outcome.notes)
        words = (outcome.customer, outcome.did, origin.key, origin.client, origin.by, outcome.offered)
        if not all(isinstance(word, str) for word in (*words, outcome.why, outcome.trouble, *lists)):
            raise ValueError("an outcome with a field that is no text")
        numbers = (origin.when, outcome.total, outcome.added, outcome.removed, outcome.kept_back)
        if not all(isinstance(number, int) for number in (*numbers, *outcome.left_out.values())):
            raise ValueError("an outcome with a field that is no number")
        if not is_time(origin.when):
            raise ValueError("an outcome of an impossible time")
        return outcome


class Answer(NamedTuple):
    """The answer of a program of ours: exit code, lines for people, one object for programs."""

    code: int
    lines: list[str]
    record: dict[str, Any]

    @classmethod
    def to(cls, outcome: Outcome) -> Answer:
        """Return the answer to a run; a dry run's has the names too, with the summary before and after them."""
        names = [*_shown_names("+", outcome.coming), *_shown_names("-", outcome.going)]
        lines = [outcome.line, *name_left_out(records(outcome.named)), *names, *([outcome.line] if names else [])]
        return cls(outcome.code, lines, {**outcome.record(), "lines": lines})

    @classmethod
    def done(cls, lines: list[str], **record: Any) -> Answer:
        """Return the answer to a call that has succeeded."""
        return cls(DONE, lines, {"postern": FORMAT, "code": DONE, "lines": lines, **record})

    def write(self, as_json: bool) -> int:
        """Write it to the caller; return the exit code."""
        if as_json:
            write_json(self.record)
        else:
            write_lines(self.lines)
        return self.code


def _shown_names(sign: str, names: Sequence[str]) -> list[str]:
    more = len(names) - _SHOWN
    shown = [f"  {sign} {escape(name)}" for name in names[:_SHOWN]]
    return [*shown, f"  {sign} and {more} more"] if more > 0 else shown


def outcome_of_error(customer: str, origin: Origin, error: BaseException) -> Outcome:
    """Return the outcome of a run that an error stopped."""
    why = str(error)
    if isinstance(error, MemoryError):
        why = "this export needs more memory than max_megabytes allows for"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = f"no room on the disk: {error.strerror}"
    return Outcome(customer, error.did if isinstance(error, Stopped) else "failed", origin, why=why)


def log_outcome(outcome: Outcome) -> None:
    """Write an outcome to the mail log, with the person where it was one."""
    priority = syslog.LOG_NOTICE if outcome.code == DONE else syslog.LOG_WARNING
    by = f"; by {format_actor('', outcome.origin.client, outcome.origin.by)}" if outcome.origin.by else ""
    syslog.syslog(priority, printable(outcome.line + by))


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to the caller, who may be root at a terminal: no value in them makes a line or moves a cursor."""
    _write("".join(f"{printable(line)}\n" for line in lines))


def write_json(record: Mapping[str, Any]) -> None:
    """Write one object to the caller, in ASCII."""
    _write(json.dumps(record) + "\n")


def _write(text: str) -> None:
    """Write to the caller if it is still there; that it is gone is no error, as the work is done."""
    answer = text.encode("utf-8", "backslashreplace")
    with suppress(OSError):
        for start in range(0, len(answer), _PIECE):
            rest = answer[start : start + _PIECE]
            while rest:
                signal.alarm(_ANSWER)  # ends a process whose caller neither reads nor hangs up
                rest = rest[os.write(1, rest) :]
    signal.alarm(0)


def records(left_out: Iterable[LeftOut]) -> list[dict[str, str]]:
    """Return values that were left out as plain JSON."""
    return [each._asdict() for each in left_out]
