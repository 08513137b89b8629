"""Lists that were in force: the last ten, for `history` and `rollback`."""

from __future__ import annotations

import calendar
import re
import time
from contextlib import suppress
from typing import Any, NamedTuple

from receiver.formatting import DAY
from receiver.lists import list_file
from receiver.lists.list_file import ListRecord
from receiver.outcome import Failed, Refused
from receiver.system import atomic_files

KEEPS = 10  # lists, the one in force among them
DAYS = 7  # for which the first release kept a list for its guard after the day on which it was replaced
NUMBERS = range(100_000_000)  # of a list in history: its file's name has eight digits; 0: it has no place there
ENTRY = 12  # hexadecimal digits of the id of a log entry
_NUMBERED = re.compile(r"[0-9]{8}\.gz")
_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.gz")


class Entry(NamedTuple):
    """A list in history."""

    number: int
    kept: ListRecord


def read_entries(folder: int) -> list[Entry]:
    """Return the lists kept, the one in force first. A damaged one is passed over."""
    found = _read_labels(folder, "history", _NUMBERED)
    return [Entry(int(name[:-3]), found[name]) for name in sorted(found, reverse=True)]


def read_list(folder: int, number: int) -> bytes:
    """Read a list of history. Raises Failed when it is damaged, or gone meanwhile."""
    return _read_content(folder, "history", _number_name(number))


def read_records(folder: int) -> list[dict[str, Any]]:
    """Return the lists kept as plain JSON, the one in force first: `back` is how many lists ago each was in force."""
    return [_record(back, entry) for back, entry in enumerate(read_entries(folder))]


def read_difference(folder: int, back: int) -> dict[str, Any]:
    """Return one list as plain JSON, with whom it added and removed. Raises Refused."""
    known = read_entries(folder)
    if back + 1 >= len(known):
        raise Refused(f"the list before number {back} is not kept; history goes {max(0, len(known) - 1)} back")
    after, before = (list_file.decode_recipients(read_list(folder, known[at].number)) for at in (back, back + 1))
    return {**_record(back, known[back]), "came": sorted(after - before), "went": sorted(before - after)}


def add_list(folder: int, staged: str, number: int) -> None:
    """Move a staged file into history, and delete the oldest list. A file that is not there was moved already."""
    atomic_files.make(folder, "history")
    with atomic_files.hold_directory("history", folder) as directory:
        if atomic_files.read_start(folder, staged, 1) is not None:
            atomic_files.rename(folder, staged, _number_name(number), directory)
        for name in _list_names(folder, "history", _NUMBERED)[:-KEEPS]:
            atomic_files.remove(directory, name)


def read_references(folder: int, now: int) -> list[tuple[int, frozenset[str]]]:
    """Return the lists that the first release kept for its guard, each with the day on which it was replaced.

    The day is the epoch second at which it ended. Lists older than DAYS days, and of a day to come, are no reference.
    """
    found = []
    for name in _list_names(folder, "reference", _DATED):
        ended = calendar.timegm(time.strptime(name, "%Y-%m-%d.gz")) + DAY - 1
        if now - (DAYS + 1) * DAY <= ended <= now + DAY:
            with suppress(Failed, ValueError):  # a damaged one is passed over
                content = _read_content(folder, "reference", name)
                found.append((min(ended, now), list_file.decode_recipients(content)))
    return found


def forget_references(folder: int) -> None:
    """Remove the lists that the first release kept for its guard."""
    for name in _list_names(folder, "reference", _DATED):
        with atomic_files.hold_directory("reference", folder) as directory:
            atomic_files.remove(directory, name)


def entry_name(label: ListRecord) -> str:
    """Return the id of the log entry by which a list came. One of the first release is named by what its label says."""
    words = (label.list, label.total, label.added, label.removed)
    return label.entry or list_file.digest(" ".join(map(str, words)).encode())[:ENTRY]


def _record(back: int, entry: Entry) -> dict[str, Any]:
    fields = {name: value for name, value in entry.kept._asdict().items() if name not in ("origin", "domains")}
    return {"back": back, **fields, **entry.kept.origin._asdict(), "entry": entry_name(entry.kept)}


def _number_name(number: int) -> str:
    return f"{number:08d}.gz"


def _list_names(folder: int, within: str, form: re.Pattern[str]) -> list[str]:
    return [name for name in atomic_files.list_names(folder, within) if form.fullmatch(name)]


def _read_labels(folder: int, within: str, form: re.Pattern[str]) -> dict[str, ListRecord]:
    found = {}
    for name in _list_names(folder, within, form):
        with atomic_files.hold_directory(within, folder) as directory:
            label = _read_label(directory, name)
        if label:
            found[name] = label
    return found


def _read_label(directory: int, name: str) -> ListRecord | None:
    try:
        head = atomic_files.read_start(directory, name, list_file.LABEL)
        return None if head is None else list_file.read_record(head)
    except Failed:
        return None


def _read_content(folder: int, within: str, name: str) -> bytes:
    with atomic_files.hold_directory(within, folder) as directory:
        file = atomic_files.read(directory, name, list_file.PACKED)
    if file is None:
        raise Failed(f"{within}/{name}: is gone")
    return list_file.read_content(file)
