"""The log of a customer's uploads: one line of JSON each, with all that the guard counted, the newest last.

An upload that says the same as the one before it is counted in that one's line. A line that is damaged is passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, NamedTuple

from receiver.formatting import is_time
from receiver.lists import history, list_file
from receiver.lists.list_file import ListRecord
from receiver.outcome import AHEAD, Failed, Origin
from receiver.system import atomic_files
from receiver.system.checked_json import check_types, decode_json

NAME = "log"
LINES = 10_000  # entries that are kept
_IN_FORCE = ("published", "unchanged", "accepted")
SHOWN = 50  # entries with removals that `history` shows
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError)
LIMIT = 32 << 20  # bytes of the newest lines that are kept and read: 3 KB an entry, which is forty domains


class DomainCounts(NamedTuple):
    """The guard's counts in one domain, without the addresses that are always listed."""

    passed: int = 0  # in the list that passed or was accepted last
    reference: int = 0  # in force, or removed recently; at most the number that was listed before
    gone: int = 0  # of those, not in the upload
    offered: int = 0  # in the upload
    listed: int = 0  # in the upload, with the addresses that are always listed
    combined: int = 0  # in force or in the upload
    is_accepted: bool = False  # it has an accepted list
    is_open: bool = False  # the upload says that everybody gets mail there


class GuardInputs(NamedTuple):
    """The numbers by which the guard judges an upload, kept so that it can be judged again under other limits."""

    domains: Mapping[str, DomainCounts] = {}
    missing: tuple[str, ...] = ()  # canaries that are not in the upload
    brought_back: int = 0  # addresses that a rollback brought back and that are not in the upload
    leaving: int = 0  # addresses in force that are not in the upload
    coming: int = 0  # addresses of the upload that are not in force
    offered: int = 0  # addresses in the upload
    combined: int = 0  # addresses in force or in the upload


class LogEntry(NamedTuple):
    """One upload, or one decision of a person."""

    entry: str  # its id, which no relay gives to another step from list to list
    when: int  # epoch seconds
    did: str  # published, unchanged, held, pinned, accepted, rolled back, brought back, opened, merged
    list: str  # SHA-256 of the list that was offered
    before: str = ""  # SHA-256 of the list in force before it
    total: int = 0  # recipients in force after it
    added: int = 0
    removed: int = 0
    key: str = ""
    client: str = ""
    by: str = ""
    accepted_by: str = ""  # the person who took the whole list; empty: the guard judged it
    times: int = 1  # equal uploads in a row
    last: int = 0  # when the last of them came; 0: there was one
    inputs: GuardInputs | None = None  # None: nothing was judged, or the first release wrote this


class LastAccept(NamedTuple):
    """The last time that a person accepted a whole list."""

    when: int  # epoch seconds
    later: frozenset[str]  # ids of the entries after it, some of the same second
    counts: Mapping[str, int] = {}  # by domain, how many the list had that passed or was accepted last by then


def new_id() -> str:
    """Return a random id for an entry that changes no list: 12 hexadecimal digits."""
    return os.urandom(history.ENTRY // 2).hex()


def name_step(before: str, after: str) -> str:
    """Return the id of the step from one list to another, named by their SHA-256: 12 hexadecimal digits.

    Each relay gives it to the same step and to no other, so that it names the same removal everywhere.
    """
    return list_file.digest(f"{before} {after}".encode())[: history.ENTRY]


def read_entries(folder: int, with_inputs: bool = True) -> Iterator[LogEntry]:
    """Yield the entries, the newest first. Where the first release left no log, they are what its history says.

    `with_inputs`: what the guard counted as well, which is most of what reading an entry costs.
    """
    content = _read_tail(folder)
    if content is None:
        yield from (_of_label(entry.kept) for entry in history.read_entries(folder))
        return
    for line in reversed(content.splitlines()[-LINES:]):
        with suppress(*_DAMAGED):
            yield _decode_entry(line, with_inputs)


def add_entry(folder: int, entry: LogEntry) -> None:
    """Write an entry at the end, unless it is there already. The oldest lines go where there are too many."""
    content = _read_tail(folder)
    if content is None:
        labels = [each.kept for each in history.read_entries(folder) if history.entry_name(each.kept) != entry.entry]
        lines = [_encode_entry(_of_label(label)) for label in reversed(labels)]
    else:
        lines = content.splitlines()
    newest = next(read_entries(folder), None) if content else None
    if newest and (newest.entry, newest.when) == (entry.entry, entry.when):
        return
    if newest and _says_the_same(newest, entry):
        lines[-1] = _encode_entry(newest._replace(times=newest.times + 1, last=entry.when))
    else:
        lines.append(_encode_entry(entry))
    atomic_files.replace(folder, NAME, b"".join(line + b"\n" for line in lines[-LINES:]))


def find_last_accept(folder: int, since: int, now: int) -> LastAccept:
    """Return when a person last took a whole list, and what came later; `since` where that is longer ago."""
    when, later = since, set[str]()
    entries = read_entries(folder)
    for entry in entries:
        if max(entry.when, entry.last) < since:
            break
        if entry.accepted_by and since <= entry.when <= now + AHEAD:
            when = entry.when
            break
        later.add(entry.entry)
    else:
        return LastAccept(since, frozenset(later))
    by_then = (each for each in chain((entry,), entries) if each.when <= when and each.entry not in later)
    return LastAccept(when, frozenset(later), _find_counts(by_then))


def _find_counts(entries: Iterable[LogEntry]) -> dict[str, int]:
    """Return how many addresses each domain had in the list that passed or was accepted last, the newest entry first.

    Without those that are always listed. Nothing where the log does not say it.
    """
    name = ""
    for entry in entries:
        if entry.list != name if name else entry.did not in _IN_FORCE:
            continue
        if entry.inputs:
            return {domain: counts.offered for domain, counts in entry.inputs.domains.items()}
        name = entry.list  # a person took it: the upload of that list, which was held, says how many
    return {}


def find_last_addition(folder: int) -> int:
    """Return when the list last gained somebody, else when the log begins, in epoch seconds; 0 without a log."""
    when = 0
    for entry in read_entries(folder):
        when = entry.when
        if entry.added:
            break
    return when


def removal_records(folder: int) -> list[dict[str, Any]]:
    """Return the newest entries that removed somebody, as plain JSON without what the guard counted."""
    found = islice((entry for entry in read_entries(folder) if entry.removed), SHOWN)
    return [{name: value for name, value in entry._asdict().items() if name != "inputs"} for entry in found]


def export_log(folder: int) -> bytes:
    """Return the whole log as it is handed to a sibling: the lines that can be read, the newest last."""
    return b"".join(_encode_entry(entry) + b"\n" for entry in reversed(list(read_entries(folder))))


def unite_logs(newest: bytes, others: Iterable[bytes]) -> bytes:
    """Return the log of one sibling with the steps of the others that it lacks, but without unchanged uploads."""
    entries = _decode_log(newest)
    known = {entry.entry for entry in entries}
    for entry in (entry for log in others for entry in _decode_log(log)):
        if entry.entry not in known and (entry.added or entry.removed):
            known.add(entry.entry)
            entries.append(entry)
    entries.sort(key=lambda entry: entry.when)
    return b"".join(_encode_entry(entry) + b"\n" for entry in entries[-LINES:])


def _decode_log(content: bytes) -> list[LogEntry]:
    found = []
    for line in content.splitlines()[-LINES:]:
        with suppress(*_DAMAGED):
            found.append(_decode_entry(line))
    return found


def encode_entry(entry: LogEntry | None) -> dict[str, Any] | None:
    """Return an entry as plain JSON."""
    if entry is None:
        return None
    inputs = entry.inputs
    domains = {name: list(counts) for name, counts in inputs.domains.items()} if inputs else {}
    return {**entry._asdict(), "inputs": inputs and {**inputs._asdict(), "domains": domains}}


def decode_entry(fields: Mapping[str, Any]) -> LogEntry:
    """Return what encode_entry() gave. Raises KeyError, TypeError, ValueError, AttributeError: it may be damaged."""
    known = {name: value for name, value in fields.items() if name in LogEntry._fields}
    entry = LogEntry(**{**known, "inputs": _decode_inputs(known["inputs"]) if known.get("inputs") else None})
    words = (entry.entry, entry.did, entry.list, entry.before, entry.key, entry.client, entry.by, entry.accepted_by)
    numbers = (entry.when, entry.total, entry.added, entry.removed, entry.times, entry.last)
    check_types(str, *words)
    check_types(int, *numbers)
    if not (is_time(entry.when) and is_time(entry.last)):
        raise TypeError("an entry has an impossible date")
    return entry


def _decode_inputs(fields: Mapping[str, Any]) -> GuardInputs:
    known = {name: value for name, value in fields.items() if name in GuardInputs._fields}
    domains = {str(name): _decode_counts(counts) for name, counts in known["domains"].items()}
    inputs = GuardInputs(**{**known, "domains": domains, "missing": tuple(map(str, known["missing"]))})
    check_types(int, *inputs[2:])
    return inputs


def _decode_counts(counts: Sequence[int]) -> DomainCounts:
    passed, reference, gone, offered, listed, combined, is_accepted, is_open = map(int, counts)
    return DomainCounts(passed, reference, gone, offered, listed, combined, bool(is_accepted), bool(is_open))


def _encode_entry(entry: LogEntry) -> bytes:
    return json.dumps(encode_entry(entry), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _decode_entry(line: bytes, with_inputs: bool = True) -> LogEntry:
    fields = decode_json(line)
    return decode_entry(fields if with_inputs else {**fields, "inputs": None})


def _says_the_same(newest: LogEntry, entry: LogEntry) -> bool:
    """Return whether nothing happened in either but an upload of the same list that changed nothing."""
    quiet = entry.did in ("unchanged", "held", "pinned") and not (entry.added or entry.removed)
    same = newest._replace(entry="", when=0, last=0, times=1) == entry._replace(entry="", when=0, last=0, times=1)
    return quiet and same


def _of_label(label: ListRecord) -> LogEntry:
    origin: Origin = label.origin
    when = max(origin.when, label.accepted_when)
    did = "accepted" if label.accepted_by else "published"
    entry = LogEntry(history.entry_name(label), when, did, label.list, "", label.total, label.added, label.removed)
    return entry._replace(key=origin.key, client=origin.client, by=origin.by, accepted_by=label.accepted_by)


def _read_tail(folder: int) -> bytes | None:
    """Return the last LIMIT bytes of the log, from the beginning of a line on; None: there is no log."""
    try:
        return atomic_files.read_end(folder, NAME, LIMIT)
    except Failed:
        return b""
