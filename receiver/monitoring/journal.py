"""Reads Postfix's lines from the journal, where no log file is written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from receiver.formatting import DAY
from receiver.monitoring.journal_entry import read_entry
from receiver.monitoring.mail_log import Event, Losses, MailLog
from receiver.monitoring.refusals import DAYS

OLD = 3_600  # seconds without a line, after which a log file is not the one that is written
_CURSOR = re.compile(r"[0-9a-z=;]{1,500}")
_LONGEST = 256 << 10  # octets of an entry
_MAIL = "SYSLOG_FACILITY=2"
_LOST = "SYSLOG_IDENTIFIER=systemd-journald"  # it says which lines were suppressed


class Journal(NamedTuple):
    """The journal's output, from its beginning or a cursor on."""

    child: subprocess.Popen[bytes]

    @property
    def stream(self) -> BinaryIO:
        """Return the output."""
        return cast("BinaryIO", self.child.stdout)

    def close(self) -> None:
        """End it."""
        self.child.kill()
        self.stream.close()
        self.child.wait()


def open_journal(since: float, cursor: str, now: float) -> Journal | None:
    """Start reading after a cursor, or else what came after a time, at most DAYS ago. None: there is no journal."""
    argv = make_command(max(since, now - DAYS * DAY), cursor)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
    except OSError:
        return None
    return Journal(child)


def make_command(begin: float, cursor: str) -> tuple[str, ...]:
    """Return the command that reads; a cursor comes from a file of the account, and root runs this."""
    place = f"--after-cursor={cursor}" if _CURSOR.fullmatch(cursor) else f"--since=@{int(begin)}"
    return ("/usr/bin/journalctl", "-q", "--no-pager", "-o", "json", place, _MAIL, "+", _LOST)


def read_journal(stream: BinaryIO, log: MailLog, losses: Losses) -> Iterator[tuple[Event | None, str]]:
    """Yield what each entry says, if it does, and its cursor."""
    while line := stream.readline(_LONGEST):
        entry = read_entry(line)
        if entry is None:
            losses.unread += 1
            continue
        yield (log.read_entry(entry.head, entry.day, 0) if entry.head else None), entry.cursor
