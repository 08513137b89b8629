"""One entry of the journal as `journalctl -o json` writes it."""

from __future__ import annotations

import json
import os
import time
from typing import Any, NamedTuple

from receiver.monitoring.log_head import Head, Stamp

BEGINS = b'{"'  # such a line of a file
_STRANGERS = frozenset(("logger", "systemd-cat"))  # programs by which anybody writes lines under any name


class JournalEntry(NamedTuple):
    """The fields of a journal entry that are used."""

    head: Head | None  # None: anybody may have written it
    day: str  # YYYY-MM-DD, in this machine's own time: an entry prints none
    cursor: str


def read_entry(line: bytes) -> JournalEntry | None:
    """Return an entry; None: it is not of the shape that journalctl writes."""
    try:
        fields = json.loads(line)
        return JournalEntry(_head(fields), _day(fields), str(fields.get("__CURSOR", "")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _head(entry: dict[str, Any]) -> Head | None:
    """Return an entry as a line's head and message; None: anybody may have written it."""
    program, message = str(entry.get("SYSLOG_IDENTIFIER", "")), entry.get("MESSAGE")
    if os.path.basename(str(entry.get("_EXE", ""))) in _STRANGERS or entry.get("_COMM") in _STRANGERS:
        return None
    text = bytes(message) if isinstance(message, list) else str(message or "").encode()
    return Head(Stamp(0, 1, 1), program, text)


def _day(entry: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(int(entry["__REALTIME_TIMESTAMP"]) // 1_000_000))
