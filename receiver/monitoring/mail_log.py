"""The relay's own mail log, asked who has had mail lately: the addresses whose loss would hurt.

Only root may read it, so root opens it, and account `postern` reads what was opened.
"""

from __future__ import annotations

import glob
import gzip
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from common.settings import Settings
from receiver.outcome import Failed
from receiver.system import subprocesses

DAYS = 14
SECONDS = 20.0  # for all of it: a review is read by a person who waits
_DAY = 86_400
_KEPT = ("/var/log/mail.log", "/var/log/maillog")  # rsyslog's, on Debian and on RHEL
_SENT = re.compile(rb"\bto=<([^>]*)>,(?: orig_to=<([^>]*)>,)?.* status=sent ")


class MailLog(NamedTuple):
    """An opened log: plain and compressed files, the newest first, or the journal's output."""

    streams: tuple[Iterable[bytes], ...]


class Delivered(NamedTuple):
    """Mail that went on to an address."""

    messages: int
    last: str  # the day of the last one


class Deliveries(NamedTuple):
    """Who has had mail."""

    delivered: Mapping[str, Delivered]
    whole: bool  # the log was read to its end


def open_log(config_directory: str, now: float) -> MailLog | None:
    """Open the log, as root: maillog_file, else what rsyslog keeps, else the journal. None: there is none."""
    for path in filter(None, (_maillog_file(config_directory), *_KEPT)):
        files = [found for name in glob.glob(f"{glob.escape(path)}*") if (found := _open_recent(name, now))]
        if files:
            return MailLog(tuple(file for _, file in sorted(files, key=lambda found: -found[0])))
    return _journal()


def find_deliveries(log: MailLog, wanted: Iterable[str], settings: Settings, now: float) -> Deliveries:
    """Find mail delivered to any of these recipients in the last DAYS days."""
    names, days, found = _logged_names(wanted, settings), _days(now), dict[str, Delivered]()
    end = time.monotonic() + SECONDS
    try:
        for number, line in enumerate(line for stream in log.streams for line in stream):
            if number % 1000 == 0 and time.monotonic() > end:
                return Deliveries(found, whole=False)
            sent = _SENT.search(line) if b" status=sent " in line else None
            day = sent and (days.get(line[:10]) or days.get(line[:6]))
            if sent and day:
                _count(found, {names[each] for each in map(_fold, sent.groups()) if each in names}, day)
    except (OSError, EOFError):  # a file that is damaged, or not all there
        return Deliveries(found, whole=False)
    return Deliveries(found, whole=True)


def _logged_names(wanted: Iterable[str], settings: Settings) -> dict[str, str]:
    """Give each recipient under every name the log may have for it: its domain may be written in two forms."""
    names = {name: name for name in wanted}
    for name in tuple(names):
        local, _, domain = name.rpartition("@")
        if domain in settings.unicode:
            names[f"{local}@{settings.unicode[domain]}"] = name
    return names


def _count(found: dict[str, Delivered], names: Iterable[str], day: str) -> None:
    for name in names:
        before = found.get(name, Delivered(0, day))
        found[name] = Delivered(before.messages + 1, max(before.last, day))


def _fold(address: bytes | None) -> str:
    return (address or b"").decode("utf-8", "replace").casefold()


def _days(now: float) -> dict[bytes, str]:
    """Give the days that count, as a log line begins with them: `Nov  2` or `2026-11-02`, in the relay's own time."""
    days = {}
    for back in range(DAYS + 1):
        day = time.localtime(now - back * _DAY)
        iso = time.strftime("%Y-%m-%d", day)
        days[iso.encode()] = iso
        days[f"{time.strftime('%b', day)} {day.tm_mday:2d}".encode()] = iso
    return days


def _open_recent(path: str, now: float) -> tuple[float, Iterable[bytes]] | None:
    """Open a log file somebody has written to in these days."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    there = os.fstat(descriptor)
    if not stat.S_ISREG(there.st_mode) or there.st_mtime < now - DAYS * _DAY:
        os.close(descriptor)
        return None
    file = os.fdopen(descriptor, "rb")
    return there.st_mtime, gzip.GzipFile(fileobj=file) if path.endswith(".gz") else file


def _maillog_file(config_directory: str) -> str:
    try:
        path = subprocesses.run_command(
            ("/usr/sbin/postconf", "-c", config_directory, "-hx", "maillog_file")
        ).out.strip()
    except Failed:
        return ""
    return path if path.startswith("/") and not path.startswith("/dev/") else ""


def _journal() -> MailLog | None:
    argv = ("/usr/bin/journalctl", "-q", "--no-pager", "-o", "short-iso", "--facility=mail", f"--since=-{DAYS}d")
    try:
        reader = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    return MailLog((reader.stdout,)) if reader.stdout else None
