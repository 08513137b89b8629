"""The head of a log line: when it was written, by which program, and where the message begins.

The shapes are those of rsyslog, syslog-ng, postlogd, busybox, journalctl, RFC 5424 files, illumos and containers. A
head stands at the beginning of the line; of all other programs only docker may stand before a second head.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")

_CLOCK = rb"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_ISO = rb"(?P<iso>\d{4}-\d\d-\d\d)[T ]" + _CLOCK + rb"(?:Z|[+-]\d\d:?\d\d)?"
_FULL = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<full>\d{4}-\d\d-\d\d) " + _CLOCK + rb" [A-Z0-9+:-]{2,6}"
_NAMED = rb"(?:(?P<year>\d{4}) )?(?P<month>" + b"|".join(MONTHS) + rb") (?P<day>[ 0-3]?\d) " + _CLOCK
_TIME = rb"(?:<\d{1,3}>)?(?:" + b"|".join((_ISO, _FULL, _NAMED)) + rb")"
_HOST = rb"(?:[^\s\[\]<>()|/]*[^\s\[\]<>()|/:] )?"
_LEVEL = rb"(?:(?:[a-z0-9]+\.[a-z]+|[A-Z]{3,8}) +)?"
_PROGRAM = rb"(?P<program>[^\s\[\]:<>()|]+)(?:\[(?P<pid>\d+)\])?: "
_SOLARIS = rb"(?:\[ID \d+ [a-z0-9]+\.[a-z]+\] )?"
_SYSLOG = re.compile(_TIME + b" " + _HOST + _LEVEL + _PROGRAM + _SOLARIS)
_DATA = rb'(?:-|(?:\[[^\s"\]]+(?: [^\s="]+="(?:[^"\\\]]|\\.)*")*\])+)'
_RFC_5424 = re.compile(
    rb"(?:<\d{1,3}>)?1 "
    + _ISO
    + rb" \S+ (?P<program>\S+) (?:(?P<pid>\d+)|\S+) \S+ "
    + _DATA
    + rb"(?: +(?:\xef\xbb\xbf)?|$)"
)
_REPEATED = re.compile(
    _TIME + b" " + _HOST + _LEVEL + rb"(?:syslogd(?:\[\d+\])?: )?(?P<message>last message repeated \d+ times?)$"
)
_COLOUR = rb"(?:\x1b\[[0-9;]*m)*"
_CONTAINER = re.compile(_COLOUR + rb"[A-Za-z0-9][\w.-]* *\| " + _COLOUR)
_OUTER_TIME = re.compile(rb"\d{4}-\d\d-\d\dT" + _CLOCK + rb"Z (?:std(?:out|err) [FP] )?(?=\S+ )")
_DOCKER = re.compile(rb"docker(?:/\S+)?|[0-9a-f]{12}|[0-9a-f]{64}")


class Stamp(NamedTuple):
    """The day that a line prints."""

    year: int  # 0: it prints none
    month: int
    day: int


class Head(NamedTuple):
    """A line taken apart."""

    stamp: Stamp
    program: str  # as it is printed, without the process id; empty where syslogd speaks of the line before
    message: bytes


def read_head(line: bytes) -> Head | None:
    """Return a line's head and message; None: it has none of the known shapes."""
    container = _CONTAINER.match(line)
    if container:
        line = line[container.end() :]
    head = _read(line)
    if head is None and (outer := _OUTER_TIME.match(line)):
        head = _read(line[outer.end() :])
    if head and _DOCKER.fullmatch(head.program.encode()):
        return _read(head.message) or head
    return head


def _read(line: bytes) -> Head | None:
    found = _SYSLOG.match(line) or _RFC_5424.match(line)
    if found:
        program = found["program"].decode("utf-8", "replace")
        stamp = _stamp(found.groupdict())
        return stamp and Head(stamp, program, line[found.end() :])
    repeated = _REPEATED.match(line)
    if repeated:
        stamp = _stamp(repeated.groupdict())
        return stamp and Head(stamp, "", repeated["message"])
    return None


def _stamp(fields: dict[str, bytes | None]) -> Stamp | None:
    """Return the day; None: there is no such day."""
    iso = fields.get("iso") or fields.get("full")
    if iso:
        year, month, day = map(int, iso.split(b"-"))
    else:
        year, month, day = int(fields["year"] or 0), MONTHS.index(fields["month"] or b"") + 1, int(fields["day"] or 0)
    return Stamp(year, month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None
