"""Reads a mail log of Postfix: who was refused, and where mail went, day by day.

A line that was cut, or may have been, proves nothing. A cut line can still look whole; so the lengths at which the
logger cuts are found in the same lines first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from receiver.monitoring import journal_entry
from receiver.monitoring.log_head import Head, read_head
from receiver.monitoring.log_years import Days
from receiver.monitoring.postfix_message import Message, Unread, read_delivery, read_refusal

_POSTFIX_CUTS = 2_000  # octets of a message (msg_syslog.c, msg_logger.c)
_SHORTEST_CUT = 200  # octets; loggers cut at 255 and more: what is shorter was damaged otherwise
_MOST_LENGTHS = 32  # that are remembered
_PROGRAMS = 64  # whose last line is remembered
_SMTPD = "smtpd"
_AGENTS = frozenset(("smtp", "lmtp", "pipe", "local", "virtual", "error", "qmgr", "oqmgr", "nqmgr", "discard"))
_LOGGERS = ("rsyslogd", "syslogd", "syslog-ng", "systemd-journald", "journal", "imjournal", "imuxsock")
_LOST = re.compile(
    rb"begins? to drop messages|messages lost due to|lost \d+ messages from|Suppressed \d+ messages from"
    rb"|dropping messages?"
)
_OURS = re.compile(rb"reject: RCPT from|: to=<")
_WHOLE = re.compile(rb"(?s:.*) (?:proto=(?:SMTP|E?SMTP[A-Z]* helo=<[^<>]*>)|status=[a-z]+ \(.*\))\Z")  # most lines
_INTERESTING = re.compile(rb"reject: RCPT from|: to=<|repeated \d|\0|messages")
_CLIENT = b"connect from "  # and disconnect: smtpd says it of every client
_REPEATED = re.compile(rb"message repeated (\d{1,6}) times?: \[ ?(.*)\]", re.DOTALL)
_SYSLOG_NG = re.compile(rb"Last message '(.*)' repeated (\d{1,6}) times?, suppressed by syslog-ng on \S+", re.DOTALL)
_SYSLOGD = re.compile(rb"last message repeated (\d{1,6}) times?")
_SECOND_HEAD = re.compile(rb"\d\d:\d\d:\d\d\S* \S+ \S+/\S+\[\d+\]: ")


class Event(NamedTuple):
    """An event about a recipient, and how often it happened."""

    day: str  # YYYY-MM-DD, as the line prints it
    times: int
    message: Message


class Losses:
    """The lines that a reader did not understand, whether lines are missing, and when Postfix was heard last."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.unread = 0
        self.gaps = False
        self.heard = ""  # the newest day on which a client connected, or something was said of a recipient


def cut_lengths(lines: Iterable[bytes], known: Iterable[int] = ()) -> frozenset[int]:
    """Return the lengths, in octets, at which the logger visibly cut one of these lines, and those known before."""
    lengths = dict.fromkeys(known, 0)
    for line in lines:
        if len(line) >= _SHORTEST_CUT and not _WHOLE.match(line[-400:]) and _OURS.search(line) and _is_cut(line):
            lengths[len(line)] = lengths.get(len(line), 0) + 1
    return frozenset(sorted(lengths, key=lambda length: -lengths[length])[:_MOST_LENGTHS])


def _is_cut(line: bytes) -> bool:
    """Return whether a logger visibly cut a line; not Postfix, nor a crash, which leaves NULs or glues two lines."""
    head = read_head(line)
    if head is None or b"\0" in line or len(head.message) >= _POSTFIX_CUTS or _SECOND_HEAD.search(head.message):
        return False
    message = _read_message(head)
    return isinstance(message, Unread) and message.is_cut


class MailLog:
    """Reads the lines of one log, file after file: a logger may speak of the last line of the file before."""

    def __init__(self, losses: Losses, cut: Iterable[int] = ()) -> None:
        """Go by the lengths at which lines are cut, as far as they are known."""
        self.cut, self._losses = frozenset(cut), losses
        self._last: Message | None = None  # of the line before
        self._by_program: dict[str, tuple[bytes, Message]] = {}

    def read(self, lines: Iterable[bytes], days: Days) -> Iterator[Event]:
        """Yield what lines say, in their order."""
        client = b""
        for line in lines:
            days.follow(line)
            if _CLIENT in line:
                client = line
            if line.startswith(journal_entry.BEGINS):
                event = self._of_journal(line)
            else:
                event = self._event(line, days) if _INTERESTING.search(line) else None
            self._last = event.message if event else None
            if event:
                yield event
        head = read_head(client.lstrip(b"\0")) if client else None
        if head and _is_postfix(head.program):
            self._hear(days.name(head.stamp))

    def _hear(self, day: str) -> None:
        self._losses.heard = max(self._losses.heard, day)

    def _of_journal(self, line: bytes) -> Event | None:
        """Return what an entry says that was exported from the journal into a file."""
        entry = journal_entry.read_entry(line)
        if entry is None:
            self._losses.unread += 1
        return self.read_entry(entry.head, entry.day, 0) if entry and entry.head else None

    def _event(self, line: bytes, days: Days) -> Event | None:
        line = self._without_damage(line)
        head = read_head(line)
        if head is None:
            self._losses.unread += _begins_as_ours(line)
            return None
        return self.read_entry(head, days.name(head.stamp), len(line))

    def read_entry(self, head: Head, day: str, length: int) -> Event | None:
        """Return what one entry of a log says, which is so many octets long where there is a limit to that."""
        if not head.program or head.program.startswith(_LOGGERS):
            return self._of_logger(head, day)
        if not _is_postfix(head.program):
            return None
        if _CLIENT in head.message:
            self._hear(day)
        count, whole = self._repetition(head)
        message = self._certain_message(_read_message(whole) if whole else self._repeated_message(head), head, length)
        if message is None:
            return None
        self._remember(head, message)
        self._hear(day)
        return Event(day, count, message)

    def _without_damage(self, line: bytes) -> bytes:
        """Return a line without the NULs before it and the carriage return behind it."""
        whole = line.lstrip(b"\0")
        if b"\0" in whole:  # a crash
            self._losses.gaps = True
            return b""
        return whole[:-1] if whole.endswith(b"\r") else whole

    def _of_logger(self, head: Head, day: str) -> Event | None:
        """Return what a logger says of the line before, or note that it lost some."""
        repeated, syslog_ng = _SYSLOGD.fullmatch(head.message), _SYSLOG_NG.fullmatch(head.message)
        if repeated and self._last:
            return Event(day, int(repeated[1]), self._last)
        if syslog_ng and self._last and self._by_program[next(reversed(self._by_program))][0].startswith(syslog_ng[1]):
            return Event(day, int(syslog_ng[2]), self._last)
        if _LOST.search(head.message):
            self._losses.gaps = True
        return None

    def _repetition(self, head: Head) -> tuple[int, Head | None]:
        """Return how often a message is repeated, and the message; None where it is about an earlier line."""
        rsyslog = _REPEATED.fullmatch(head.message)
        if rsyslog:
            return int(rsyslog[1]), head._replace(message=rsyslog[2])
        syslog_ng = _SYSLOG_NG.fullmatch(head.message)
        return (int(syslog_ng[2]), None) if syslog_ng else (1, head)

    def _repeated_message(self, head: Head) -> Message | None:
        """Return the earlier message of the same program that syslog-ng speaks of."""
        begins = _SYSLOG_NG.fullmatch(head.message)
        message = self._by_program.get(head.program)
        return message[1] if begins and message and message[0].startswith(begins[1]) else None

    def _certain_message(self, message: Message | None, head: Head, length: int) -> Message | None:
        """Return a message unless it may have been cut into this shape; count what is not understood."""
        if message is None:
            return None
        is_cut = length in self.cut or len(head.message) >= _POSTFIX_CUTS
        if isinstance(message, Unread) or is_cut:
            self._losses.unread += 1
            if isinstance(message, Unread) and message.is_cut and _SECOND_HEAD.search(head.message):
                self._losses.gaps = True  # two lines in one: what stood between them is missing
            return None
        return message

    def _remember(self, head: Head, message: Message) -> None:
        self._by_program.pop(head.program, None)
        self._by_program[head.program] = (head.message, message)
        if len(self._by_program) > _PROGRAMS:
            del self._by_program[next(iter(self._by_program))]


def _read_message(head: Head) -> Message | None:
    """Return what a program of Postfix says; None: another program, or nothing of ours."""
    if not _is_postfix(head.program):
        return None
    name = head.program.rpartition("/")[2]
    if name == _SMTPD:
        return read_refusal(head.message)
    if name in _AGENTS:
        return read_delivery(head.message)
    return read_refusal(head.message) or read_delivery(head.message) if name == head.program else None


def _is_postfix(program: str) -> bool:
    """Return whether a program is one of Postfix: NAME/PROGRAM, or NAME alone as RFC 5424 files have it."""
    return "/" in program or program.startswith("postfix")


def _begins_as_ours(line: bytes) -> bool:
    return b": reject: RCPT from " in line or b", relay=" in line
