"""Addresses that left the list in the last 90 days: when, by which entry of the log, and whether by a person.

`gone` has one line for each: time, entry, mark and address, with a space between. A damaged line is skipped. An address
that is listed again is no longer in it, except one that a rollback brought back: it stays listed until a person accepts
its removal.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from receiver.formatting import DAY
from receiver.lists import history, list_file
from receiver.lists.history import Entry
from receiver.outcome import AHEAD, Failed
from receiver.system import atomic_files

NAME = "gone"
DAYS = 90
LIMIT = 64 << 20  # bytes: a million removed addresses
_LINE = re.compile(rb"([0-9]{1,12}) ([0-9a-f]{8,64}) ([upr]) ([^\x00-\x1f\x7f]{3,1024})")
_BY_UPLOAD, _BY_PERSON, _BROUGHT_BACK = b"u", b"p", b"r"


class Removal(NamedTuple):
    """When and how an address left the list."""

    when: int  # epoch seconds
    entry: str  # of the log
    is_by_person: bool = False  # who accepted that removal by its number, or rolled back
    is_brought_back: bool = False  # a rollback brought it back: it is listed


def read_removals(folder: int, now: int) -> dict[str, Removal]:
    """Return each address that left in the last 90 days, and each that a rollback brought back.

    A removal that a fast clock dated after `now` counts as of now, so that it can still be mended. Without the file, as
    after the first release, history and reference say who left.
    """
    try:
        content = atomic_files.read(folder, NAME, LIMIT)
    except Failed:
        content = b""
    found = _removals_of_history(folder, now) if content is None else decode_removals(content)
    dated = {name: each._replace(when=now) if each.when > now + AHEAD else each for name, each in found.items()}
    return {name: each for name, each in dated.items() if each.is_brought_back or each.when >= now - DAYS * DAY}


def export_removals(folder: int, now: int) -> bytes:
    """Return all of it as it is handed to a sibling: the lines that can be read."""
    return encode_removals(read_removals(folder, now))


def find_gone(folder: int, now: int) -> dict[str, Removal]:
    """Return the addresses that left in the last 90 days and are not listed again."""
    return {name: each for name, each in read_removals(folder, now).items() if not each.is_brought_back}


def find_gone_since(removals: Mapping[str, Removal], when: int, entries: Container[str]) -> frozenset[str]:
    """Return the addresses that left after `when`, epoch seconds, or by one of `entries`, and are not listed again."""
    return frozenset(
        name
        for name, each in removals.items()
        if not each.is_brought_back and (each.when > when or each.entry in entries)
    )


def find_brought_back(removals: Mapping[str, Removal]) -> frozenset[str]:
    """Return the addresses that stay listed until a person accepts that they go."""
    return frozenset(name for name, each in removals.items() if each.is_brought_back)


def find_removed_by(removals: Mapping[str, Removal], entry: str) -> frozenset[str]:
    """Return the addresses that an entry of the log removed, those that a rollback brought back among them."""
    return frozenset(name for name, each in removals.items() if each.entry == entry)


def update_removals(
    removals: Mapping[str, Removal], before: frozenset[str], after: frozenset[str], removal: Removal
) -> dict[str, Removal]:
    """Return the removals once the list `before` is replaced by `after`, which removes addresses by `removal`."""
    kept = {name: each for name, each in removals.items() if each.is_brought_back or name not in after}
    return {**kept, **dict.fromkeys(before - after, removal)}


def unite_removals(some: Iterable[Mapping[str, Removal]], listed: frozenset[str]) -> dict[str, Removal]:
    """Return the removals of siblings whose lists were united: who is listed by any of them has not left.

    Of several removals of an address, one that a rollback mended counts, otherwise the last one.
    """
    united: dict[str, Removal] = {}
    for removals in some:
        for name, each in removals.items():
            before = united.get(name, each)
            if each.is_brought_back or name not in listed:
                united[name] = max(before, each, key=lambda one: (one.is_brought_back, one.when, not one.is_by_person))
    return united


def mark_brought_back(removals: Mapping[str, Removal], recipients: Iterable[str]) -> dict[str, Removal]:
    """Return the removals with some addresses marked as brought back."""
    return {**removals, **{name: removals[name]._replace(is_brought_back=True) for name in recipients}}


def encode_removals(removals: Mapping[str, Removal]) -> bytes:
    """Return the file's content. Beyond LIMIT the oldest that nobody brought back are left out."""
    lines = [_encode_removal(name, removals[name]) for name in sorted(removals)]
    if sum(map(len, lines)) <= LIMIT:
        return b"".join(lines)
    newest = sorted(removals, key=lambda name: (removals[name].is_brought_back, removals[name].when), reverse=True)
    half = newest[: len(newest) // 2]
    return encode_removals({name: removals[name] for name in half})


def decode_removals(content: bytes) -> dict[str, Removal]:
    """Return what encode_removals() wrote, without the lines that are damaged."""
    found = {}
    for line in content.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match:
            when, entry, mark, name = match.groups()
            with suppress(UnicodeDecodeError):
                removal = Removal(int(when), entry.decode(), mark == _BY_PERSON, mark == _BROUGHT_BACK)
                found[name.decode()] = removal
    return found


def _encode_removal(name: str, each: Removal) -> bytes:
    mark = _BROUGHT_BACK if each.is_brought_back else _BY_PERSON if each.is_by_person else _BY_UPLOAD
    return b"%d %s %s %s\n" % (each.when, each.entry.encode(), mark, name.encode("utf-8", "replace"))


def _removals_of_history(folder: int, now: int) -> dict[str, Removal]:
    """Return who left according to the lists that the first release kept.

    By which list an address of its reference left is not known: that has the id of the oldest list of history.
    """
    known = history.read_entries(folder)
    lists = [_read_list(folder, entry) for entry in known]
    in_force = _read_in_force(folder)
    found: dict[str, Removal] = {}
    oldest = history.entry_name(known[-1].kept) if known else ""
    for when, recipients in history.read_references(folder, now) if oldest else ():
        found.update(dict.fromkeys(recipients - in_force, Removal(when, oldest)))
    for at in range(len(known) - 1, 0, -1):
        label = known[at - 1].kept
        when = max(label.origin.when, label.accepted_when)
        removal = Removal(when, history.entry_name(label), bool(label.accepted_by))
        found.update(dict.fromkeys(lists[at] - lists[at - 1] - in_force, removal))
    return found


def _read_in_force(folder: int) -> frozenset[str]:
    with suppress(Failed, ValueError):
        return list_file.decode_recipients(atomic_files.read(folder, "recipients", list_file.LIMIT) or b"")
    return frozenset()


def _read_list(folder: int, entry: Entry) -> frozenset[str]:
    with suppress(Failed, ValueError):
        return list_file.decode_recipients(history.read_list(folder, entry.number))
    return frozenset()
