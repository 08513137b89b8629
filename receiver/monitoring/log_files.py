"""Finds and opens the mail logs of this relay, as root: nothing in them is looked at here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from receiver.formatting import DAY
from receiver.monitoring import journal
from receiver.monitoring.journal import Journal
from receiver.monitoring.log_content import OpenedFile, open_log
from receiver.monitoring.refusals import DAYS
from receiver.outcome import Failed
from receiver.system import subprocesses

SYSLOG_FILES = ("/var/log/mail.log", "/var/log/maillog")  # rsyslog's, on Debian and on RHEL
ELSE = "/var/log/mail"  # on SUSE and as CIS has it; beside one of those it would have the same lines once more
_MOST_FILES = 100  # of one log
_PACKED = r"\.(?:gz|xz|zst|bz2)"
_ROTATED = re.compile(rf"(?:[.-]\d+|{_PACKED})*")
_SETTINGS = ("maillog_file", "inet_interfaces", "address_verify_sender", "myhostname")


class OpenedLog(NamedTuple):
    """One log with its rotations, the oldest first."""

    path: str
    files: tuple[OpenedFile, ...]


class OpenedLogs(NamedTuple):
    """The log files that root has opened, and Postfix's settings; the account reads them."""

    logs: tuple[OpenedLog, ...] = ()
    journal: Journal | None = None
    postfix: Mapping[str, str] = {}  # settings of main.cf

    def on_full_disks(self) -> list[str]:
        """Return the logs whose disk takes no more lines; a file system that does not tell its size is not full."""
        disks = {log.path: os.fstatvfs(log.files[-1].descriptor) for log in self.logs}
        return [path for path, disk in disks.items() if disk.f_blocks and not disk.f_bavail]

    def close(self) -> None:
        """Close all."""
        for log in self.logs:
            for file in log.files:
                os.close(file.descriptor)
        if self.journal:
            self.journal.close()


def open_logs(
    config_directory: str, now: float, cursor: str, paths: Iterable[str] = SYSLOG_FILES, last_resort: str = ""
) -> OpenedLogs:
    """Open the logs that are there, and the journal from a cursor on where the newest of them is old.

    `last_resort`: a log that is opened where none of the others is there.
    """
    settings = _settings(config_directory)
    found = [_log(path, now) for path in dict.fromkeys((*_own_file(settings), *paths))]
    if last_resort and not any(log.files for log in found):
        found = [_log(last_resort, now)]
    logs = tuple(_drop_second_names(log for log in found if log.files))
    written = max((file.written for log in logs for file in log.files if file.size), default=0.0)
    opened = journal.open_journal(written, cursor, now) if now - written > journal.OLD else None
    return OpenedLogs(logs, opened, settings)


def find_rotations(directory: str, name: str) -> list[str]:
    """Return the names of a log and its rotations: by number, date, postlogd's suffix, before .log too, or packed.

    What is there both packed and not is being packed just now: the packed one is left out.
    """
    stem = name[: -len(".log")] if name.endswith(".log") else None
    with suppress(OSError):
        names = [each for each in os.listdir(directory) if _is_rotation(each, name, stem)]
        return [each for each in names if not re.search(rf"{_PACKED}$", each) or each.rpartition(".")[0] not in names]
    return []


def _is_rotation(each: str, name: str, stem: str | None) -> bool:
    if each.startswith(name) and _ROTATED.fullmatch(each[len(name) :]):
        return True
    return bool(stem and each.startswith(stem) and re.fullmatch(rf"(?:[.-]\d+)+\.log(?:{_PACKED})?", each[len(stem) :]))


def _log(path: str, now: float) -> OpenedLog:
    directory, name = os.path.split(path)
    files = []
    for each in find_rotations(directory, name):
        with suppress(OSError):
            file = open_log(os.path.join(directory, each))
            if file.written >= now - DAYS * DAY and file.size:
                files.append(file)
            else:
                os.close(file.descriptor)
    files.sort(key=lambda file: (file.written, file.name == path))
    for file in files[:-_MOST_FILES]:
        os.close(file.descriptor)
    return OpenedLog(path, tuple(files[-_MOST_FILES:]))


def _drop_second_names(logs: Iterable[OpenedLog]) -> Iterator[OpenedLog]:
    """Yield the logs without those that are another one under a second name."""
    seen: set[tuple[int, int]] = set()
    for log in logs:
        status = os.fstat(log.files[-1].descriptor)
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            yield log
        else:
            OpenedLogs((log,)).close()


def _own_file(settings: dict[str, str]) -> list[str]:
    """Return postlogd's file, where Postfix writes one."""
    path = settings.get("maillog_file", "")
    return [path] if path.startswith("/") and not path.startswith("/dev/") else []


def _settings(config_directory: str) -> dict[str, str]:
    try:
        out = subprocesses.run_command(("/usr/sbin/postconf", "-c", config_directory, "-x", *_SETTINGS)).out
    except Failed:
        return {}
    pairs = (line.partition(" =") for line in out.splitlines())
    return {name: value.strip() for name, equals, value in pairs if equals}
