"""Publishes a list step by step: a run that is killed leaves the old list or the new one, and the next run finishes.

The new files are staged beside the old ones. `begun.json` says what to do with them and is the point of no return;
every later step can be repeated. `unproven.json` then stays until the list was found in the built tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from common.settings import Settings, load_settings
from common.spool_files import BEGUN, UNVERIFIED
from receiver.formatting import is_time
from receiver.lists import history, list_file, removed_addresses, upload_log
from receiver.lists.accepted import Accepted, InForce
from receiver.lists.held import ListFreeze
from receiver.lists.list_file import ListRecord
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Origin
from receiver.system import atomic_files, locks

_LIST = "recipients.next"
_ENTRY = "history.next"
_GONE = "gone.next"


class Decision(NamedTuple):
    """The list to publish, and which of its domains count as accepted."""

    recipients: frozenset[str]
    text: bytes  # the same as the spool has it: sorting a million takes a second, so it is done once
    accepted: Accepted
    origin: Origin
    by: str = ""  # the person who decided; empty: the guard
    frozen: ListFreeze | None = None
    clears: bool = True  # the held list is deleted
    entry: LogEntry | None = None  # of the log; None: nothing is written there
    brings_back: frozenset[str] = frozenset()  # addresses that stay until a person accepts that they go
    takes_more: bool = False  # than before with the same list: user+tag@ as well, so the tables must be built
    removals: Mapping[str, Removal] = {}  # by uploads to other relays, which this one did not see


class Publication(NamedTuple):
    """The state of the spool once a publication is finished."""

    when: int
    list: str  # SHA-256 of the list in force then
    accepted: Accepted
    number: int = 0  # of its place in history; 0: the list in force stays the same
    frozen: ListFreeze | None = None
    clears: bool = False
    entry: LogEntry | None = None  # to be written to the log


class StagedFiles(NamedTuple):
    """What is written beside the spool's files before a publication begins."""

    label: ListRecord  # of the list, for history
    text: bytes  # the list in force to be
    removals: bytes | None = None  # the addresses that have left by then; None: they stay as they are


@contextmanager
def transaction(spool: Spool) -> Iterator[Settings]:
    """Hold the customer's lock for publishing, with its present settings, after finishing what was begun.

    Raises Busy and BadSettings.
    """
    with spool.hold_lock(), locks.hold_settings(spool.places):
        settings = load_settings(spool.places, spool.customer)
        complete_publication(spool)
        yield settings


def publish(spool: Spool, settings: Settings, in_force: InForce, decision: Decision, now: int) -> None:
    """Publish a decision. Raises OSError; a full disk leaves the list in force as it was.

    A domain in which the list has nobody is open, whatever the decision says. With a store the decision is committed
    there first, and has no effect if that fails.
    """
    if spool.commit:
        spool.commit(decision)
    text = decision.text
    decision = decision._replace(accepted=decision.accepted.only_listed(text))
    begun = Publication(now, list_file.digest(text), decision.accepted, frozen=decision.frozen, clears=decision.clears)
    begun = begun._replace(entry=decision.entry)
    newest = next(iter(history.read_entries(spool.folder)), None)
    number = newest.number if newest else 0
    label = _label(decision, in_force.recipients, begun)
    if text != in_force.text or decision.brings_back:
        removals = _removals(spool, in_force, decision, now)
        begin_publication(spool, begun._replace(number=number + 1), StagedFiles(label, text, removals))
    elif decision.by:  # the same list, which a person has accepted now
        if newest:
            name = history.entry_name(newest.kept)
            label = newest.kept._replace(domains=label.domains, accepted_by=decision.by, accepted_when=now, entry=name)
        begin_publication(spool, begun._replace(number=max(number, 1)), StagedFiles(label, text))
    elif decision.takes_more or spool.read_accepted().opens(settings, now) != decision.accepted.opens(settings, now):
        begin_publication(spool, begun)
    else:
        _refresh(spool, decision)


def _removals(spool: Spool, in_force: InForce, decision: Decision, now: int) -> bytes:
    removals = {**removed_addresses.read_removals(spool.folder, now), **decision.removals}
    entry = decision.entry.entry if decision.entry else upload_log.new_id()
    removal = Removal(now, entry, bool(decision.by))
    removals = removed_addresses.mark_brought_back(removals, decision.brings_back)
    removals = removed_addresses.update_removals(removals, in_force.recipients, decision.recipients, removal)
    gone = {name: each for name, each in decision.removals.items() if name not in decision.recipients}
    return removed_addresses.encode_removals({**removals, **gone})


def _label(decision: Decision, before: frozenset[str], begun: Publication) -> ListRecord:
    after = decision.recipients
    label = ListRecord(begun.list, len(after), len(after - before), len(before - after), decision.origin, ())
    entry = decision.entry.entry if decision.entry else ""
    label = label._replace(domains=tuple(decision.accepted.domains), entry=entry)
    return label._replace(accepted_by=decision.by, accepted_when=begun.when) if decision.by else label


def _refresh(spool: Spool, decision: Decision) -> None:
    """Record that the list in force was confirmed; the tables need no build for that."""
    if decision.accepted != spool.read_accepted():
        spool.store_accepted(decision.accepted)
    if decision.clears:
        spool.delete_held()
    if decision.entry:
        upload_log.add_entry(spool.folder, decision.entry)


def begin_publication(spool: Spool, begun: Publication, staged: StagedFiles | None = None) -> None:
    """Put the staged files in force: the list, its label for history, and the removals, where begun.number says so.

    Raises OSError. What needs room on the disk comes first, so a full one leaves the old list.
    """
    try:
        if staged:
            _stage(spool, staged)
        atomic_files.store_json(spool.folder, BEGUN, _fields(begun))
    except OSError:
        for name in (_LIST, _ENTRY, _GONE, f".{BEGUN}"):
            atomic_files.remove(spool.folder, name)
        raise
    os.fsync(spool.folder)
    complete_publication(spool)


def _stage(spool: Spool, staged: StagedFiles) -> None:
    atomic_files.remove(spool.folder, _GONE)  # of a publication that was killed before it began
    atomic_files.write(spool.folder, _LIST, staged.text)
    atomic_files.write(spool.folder, _ENTRY, list_file.pack_list(staged.label, staged.text))
    if staged.removals is not None:
        atomic_files.write(spool.folder, _GONE, staged.removals)
    os.fsync(spool.folder)


def complete_publication(spool: Spool) -> None:
    """Finish a publication that was begun; every run that writes calls this first."""
    begun = _read(spool, BEGUN)
    if begun is None:
        return
    before = spool.read_accepted()
    staying = {name: when for name, when in before.domains.items() if name in begun.accepted.domains}
    if staying != before.domains:  # a domain opens before its addresses go, and closes after its addresses have come
        spool.store_accepted(before._replace(domains=staying))
    if atomic_files.read_start(spool.folder, _LIST, 1) is not None and begun.number:
        atomic_files.rename(spool.folder, _LIST, "recipients")
    _remember(spool, begun)
    if begun.frozen:
        spool.store_freeze(begun.frozen)
    spool.store_accepted(begun.accepted)
    if begun.clears:
        spool.delete_held()
    atomic_files.rename(spool.folder, BEGUN, UNVERIFIED)
    os.fsync(spool.folder)


def _remember(spool: Spool, begun: Publication) -> None:
    """Update removals, log and history; every step can be repeated."""
    if begun.number and atomic_files.read_start(spool.folder, _GONE, 1) is not None:
        atomic_files.rename(spool.folder, _GONE, removed_addresses.NAME)
    if atomic_files.read_start(spool.folder, removed_addresses.NAME, 1) is not None:
        history.forget_references(spool.folder)
    if begun.entry:
        upload_log.add_entry(spool.folder, begun.entry)
    if begun.number:
        history.add_list(spool.folder, _ENTRY, begun.number)


def read_unfinished(spool: Spool) -> Publication | None:
    """Return the publication that is not finished or not verified yet; another run may be working on it."""
    return _read(spool, BEGUN) or _read(spool, UNVERIFIED)


def read_unverified(spool: Spool) -> Publication | None:
    """Return the last publication that the tables have not been seen to hold."""
    return _read(spool, UNVERIFIED)


def mark_verified(spool: Spool, begun: Publication) -> None:
    """Record that the tables have this publication, unless another has come meanwhile."""
    if read_unverified(spool) == begun:
        atomic_files.remove(spool.folder, UNVERIFIED)


def _fields(begun: Publication) -> dict[str, object]:
    fields = begun._asdict()
    frozen = fields.pop("frozen")
    entry = upload_log.encode_entry(begun.entry)
    return {**fields, "accepted": begun.accepted._asdict(), "pin": frozen and frozen._asdict(), "entry": entry}


def _read(spool: Spool, name: str) -> Publication | None:
    fields = atomic_files.load_json(spool.folder, name) or {}
    try:
        known = {name: value for name, value in fields.items() if name in Publication._fields}
        accepted, frozen = Accepted.read(fields["accepted"]), fields["pin"] and ListFreeze.read(fields["pin"])
        entry = upload_log.decode_entry(fields["entry"]) if fields.get("entry") else None
        begun = Publication(**{**known, "accepted": accepted, "frozen": frozen, "entry": entry})
        is_typed = isinstance(begun.list, str) and is_time(begun.when) and isinstance(begun.number, int)
        if not (is_typed and begun.number in history.NUMBERS):
            raise TypeError
        return begun
    except (TypeError, KeyError, ValueError, AttributeError):  # there is none, or it is damaged
        return None
