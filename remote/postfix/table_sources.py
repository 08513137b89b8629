"""Runs on the relay: the text that a table was built from, and what updates it. Postfix reads only the built file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from remote.postfix.listed_keys import source_keys
from remote.postfix.map_tables import MapTable

_LARGEST = 128 << 20  # bytes of a text that are read
_NAMED = 20
_SCHEDULES = ("/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/var/spool/cron/crontabs")
_UNITS = ("/etc/systemd/system",)
_FEED = 64 << 10  # bytes of such a file that are read
_FEEDS = 5_000  # such files that are looked at


class TableSource(NamedTuple):
    """The changes of the text since the table was built."""

    is_newer: bool = False
    only_in_text: tuple[str, ...] = ()  # keys that Postfix does not know yet
    only_in_table: tuple[str, ...] = ()  # keys that Postfix knows still


def read_source(table: MapTable, listed: Collection[str]) -> TableSource:
    """Return how the text differs from the built table, where it was changed after the table was built."""
    try:
        source, built = os.stat(table.path), os.stat(table.built)
        if source.st_mtime_ns <= built.st_mtime_ns or source.st_size > _LARGEST:
            return TableSource(source.st_mtime_ns > built.st_mtime_ns)
        with open(table.path, encoding="utf-8", errors="replace") as lines:
            text = source_keys(lines)
    except OSError:
        return TableSource()
    folded = {key.casefold() for key in listed}
    coming = sorted(text[key] for key in text.keys() - folded)
    return TableSource(True, tuple(coming[:_NAMED]), tuple(sorted(folded - text.keys())[:_NAMED]))


def find_feeds(tables: Collection[MapTable]) -> list[str]:
    """Return the schedules, makefiles and units that name one of these tables' texts, or its directory's makefile."""
    paths = [table.path for table in tables if table.path.startswith("/")]
    words = {os.path.basename(path) for path in paths} | {os.path.dirname(path) for path in paths} - {"/etc"}
    if not words:
        return []
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(word)}(?![\w-])" for word in sorted(words)))
    makefiles = {os.path.join(os.path.dirname(path), name) for path in paths for name in ("Makefile", "makefile")}
    return [name for name in (*sorted(makefiles), "/etc/crontab", *_scheduled_files()) if _names(name, pattern)]


def _scheduled_files() -> Iterator[str]:
    seen = 0
    for folder in (*_SCHEDULES, *_UNITS):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            seen += 1
            if seen <= _FEEDS and (folder not in _UNITS or name.endswith(".service")):
                yield os.path.join(folder, name)


def _names(path: str, pattern: re.Pattern[str]) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, encoding="utf-8", errors="replace") as file:
            return bool(pattern.search(file.read(_FEED)))
    except OSError:
        return False
