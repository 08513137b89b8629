"""What the store's runs must tell a person: noted at once, before a COMMIT, and raised by the next run of follow."""

from __future__ import annotations

import fcntl
import json
import os
import syslog
from contextlib import suppress
from typing import NamedTuple

from receiver.formatting import is_time

_NAME = "store-notes"
_LIMIT = 1 << 16  # bytes; the oldest go
_LINES = 100  # that stay then


class Note(NamedTuple):
    """One thing that happened."""

    when: int  # epoch seconds
    customer: str
    text: str


def add_note(run: int, note: Note) -> None:
    """Write a note, on the disk when this returns, and in the mail log."""
    syslog.syslog(syslog.LOG_WARNING, f"{note.customer}: {note.text}")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with open(os.open(_NAME, flags, 0o600, dir_fd=run), "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.seek(0, os.SEEK_END) > _LIMIT:
            file.seek(0)
            lines = reversed(file.readall().splitlines(keepends=True))
            newest = [*dict.fromkeys(line for line in lines if _decode(line))][:_LINES]
            kept = b"".join(reversed(newest))
            file.seek(0)
            file.write(kept)  # over the oldest: whoever is killed here leaves some twice, the last time in their order
            os.ftruncate(file.fileno(), len(kept))
        file.write(b"\n" + json.dumps(note).encode() + b"\n")  # whatever the last one who wrote had room for
        os.fsync(file.fileno())


def read_notes(run: int, since: int) -> list[Note]:
    """Return the notes since an epoch second, the oldest first; a damaged line is passed over."""
    found: list[Note] = []
    with suppress(FileNotFoundError), open(os.open(_NAME, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=run), "rb") as file:
        found = [note for line in file.read(2 * _LIMIT).splitlines() if (note := _decode(line))]
    return [note for note in found if note.when >= since]


def _decode(line: bytes) -> Note | None:
    """Return the note in a line. None: the line is empty, cut off, or of another shape; the account may write any."""
    with suppress(ValueError, TypeError, RecursionError):
        when, customer, text = json.loads(line)
        if is_time(when) and isinstance(customer, str) and isinstance(text, str):
            return Note(when, customer, text)
    return None
