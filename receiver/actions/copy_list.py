"""Hands a list over to a relay that has none yet, with all that is needed to judge and to roll back later lists.

If several relays hand over different lists, nobody knows which is right: every address that any of them lists is
listed, a domain closes only where all close it, and the newest list is held. When keys were seen is not handed over,
because the new relay has seen none.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from common.settings import Settings
from common.spool_files import PINNED
from receiver.addresses import keep_domains
from receiver.formatting import escape
from receiver.lists import history, list_file, publishing, removed_addresses, upload_log
from receiver.lists.accepted import Accepted
from receiver.lists.held import Held
from receiver.lists.list_file import ListRecord
from receiver.lists.publishing import Publication, StagedFiles
from receiver.lists.spool import Spool
from receiver.outcome import AHEAD, FORMAT, Failed, Origin, Outcome, Refused
from receiver.system import atomic_files
from receiver.system.checked_json import decode_json
from receiver.tables_client import Tables
from receiver.upload.guard import count_by_domain
from receiver.upload.pipeline import build_and_verify_tables

LIMIT = 512 << 20  # bytes of JSON
_ROOM = LIMIT // 2  # bytes of files, which are longer in JSON: eighteen lists of a million, and a held one
_LAST = 90_000_000  # number in history: names there have eight digits, and leave room for later lists
_FOLDERS = {
    ".": re.compile(r"(?:pinned|last-export)\.json|log|gone"),
    "held": re.compile(r"recipients|why\.json"),
    "history": re.compile(r"[0-9]{8}\.gz"),
    "reference": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.gz"),
}


_PAST = (upload_log.NAME, removed_addresses.NAME)


class SpoolFile(NamedTuple):
    """One file of a spool."""

    folder: str
    name: str
    content: bytes


class ExportedLists(NamedTuple):
    """The files of a sibling's spool, as it sent them."""

    number: int  # of the list in force, in history
    packed: bytes  # the list in force; empty where it has none
    accepted: Accepted
    files: tuple[SpoolFile, ...]

    @classmethod
    def read(cls, text: bytes, customer: str, now: int, most: int) -> ExportedLists:
        """Read what export_lists() returned, a list of `most` bytes at most, without dates to come. Raises Refused."""
        try:
            record = decode_json(text)
            if (record["postern"], record["customer"]) != (FORMAT, customer):
                raise ValueError(f"it is not format {FORMAT} of {customer}")
            number, accepted, packed = (
                int(record["number"]),
                Accepted.read(record["accepted"]),
                _decode_bytes(record["list"]),
            )
            files = tuple(_place_file(path, content, number) for path, content in record["files"].items())
            if packed:
                list_file.decode_recipients(list_file.read_content(packed, most))
            domains = {name: when for name, when in accepted.domains.items() if 0 <= when <= now + AHEAD}
            past = tuple(file for file in files if file.folder != "reference" or file.name <= _file_name_today(now))
            return cls(number, packed, accepted._replace(domains=domains), past)
        except (Failed, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"what was handed over cannot be used: {escape(str(error))}") from error

    @property
    def text(self) -> bytes:
        """Return the list in force as it is written."""
        return list_file.read_content(self.packed) if self.packed else b""

    def content_of(self, name: str) -> bytes:
        """Return a file of the spool's own folder; empty where it was not handed over."""
        return next((file.content for file in self.files if (file.folder, file.name) == (".", name)), b"")

    @property
    def agreement(self) -> tuple[bytes, frozenset[str]]:
        """Return what relays must agree on: who is listed, and which domains have an accepted list."""
        return self.text, frozenset(self.accepted.domains)


def read_exported(text: bytes, customer: str, now: int, most: int) -> tuple[ExportedLists, ...]:
    """Read what the relays of a customer handed over, a line each, that with the newest list first.

    Each list has `most` bytes at most. Raises Refused.
    """
    if len(text) > LIMIT:
        raise Refused(f"what was handed over cannot be used: it is larger than {LIMIT} bytes")
    return tuple(ExportedLists.read(line, customer, now, most) for line in text.splitlines() or [text])


def export_lists(spool: Spool) -> dict[str, Any]:
    """Return as plain JSON what import_lists() needs."""
    with spool.hold_lock():
        publishing.complete_publication(spool)
        in_force, newest = spool.read_in_force(), next(iter(history.read_entries(spool.folder)), None)
        name = list_file.digest(in_force.text)
        label = ListRecord(name, len(in_force.recipients), 0, 0, Origin(0), tuple(in_force.accepted.domains))
        if newest and newest.kept.list == name:
            label = newest.kept
        return {
            "postern": FORMAT,
            "customer": spool.customer,
            "number": newest.number if newest else 1,
            "list": _encode_bytes(list_file.pack_list(label, in_force.text) if in_force.text else b""),
            "accepted": in_force.accepted._asdict(),
            "files": {f"{file.folder}/{file.name}": _encode_bytes(file.content) for file in _files(spool)},
        }


def import_lists(spool: Spool, givens: Sequence[ExportedLists], origin: Origin, tables: Tables) -> Outcome:
    """Fill an empty spool with the lists of its siblings. Raises Refused where there is a list already."""
    with publishing.transaction(spool) as settings:
        if spool.read_in_force().text or spool.read_accepted().domains:
            raise Refused("there is a list here already; only an empty spool takes one over")
        some = [given for given in givens if given.packed] or [givens[0]]
        why = _describe_difference(some)
        given = _cut_to_domains(_unite_in_force(some, settings, origin) if why else some[0], settings)
        _fill(spool, (*given.files, *_find_freeze(some)))
        outcome = Outcome(spool.customer, "unchanged", origin)
        if why:
            _hold(spool, some[0], origin, why)
        if given.packed:
            label = list_file.read_record(given.packed)
            accepted = given.accepted.only_listed(given.text)
            begun = Publication(origin.when, label.list, accepted, number=given.number)
            publishing.begin_publication(spool, begun, StagedFiles(label, given.text))
            outcome = outcome._replace(did="held" if why else "published", total=label.total, added=label.total)
        outcome = outcome._replace(reasons=(why,) if why else ())
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, ())


def _describe_difference(givens: Sequence[ExportedLists]) -> str:
    """Return in words what the siblings do not agree on; empty where they agree."""
    lists = {given.agreement[0] for given in givens}
    if len(lists) > 1:
        counts = ", ".join(str(text.count(b"\n")) for text in sorted(lists, key=len, reverse=True))
        return f"its relays list different addresses ({counts}): every address that any of them lists stays listed"
    if len({given.agreement[1] for given in givens}) > 1:
        return "its relays do not agree on which domains have an accepted list"
    return ""


def _unite_in_force(givens: Sequence[ExportedLists], settings: Settings, origin: Origin) -> ExportedLists:
    """Return the union that is in force where siblings disagree; no list counts as the one accepted last."""
    newest = givens[0]
    recipients = frozenset[str]().union(*(list_file.decode_recipients(given.text) for given in givens))
    closed = frozenset.intersection(*(given.agreement[1] for given in givens))
    domains = {name: when for name, when in newest.accepted.domains.items() if name in closed}
    text = list_file.encode_recipients(recipients)
    label = ListRecord(list_file.digest(text), len(recipients), 0, 0, origin, tuple(domains))
    counts = count_by_domain(list_file.decode_recipients(newest.text), settings)
    kept = (file for file in newest.files if file.folder != "held" and file.name not in _PAST)
    files = (*kept, *_past_of_all(givens, recipients))
    return ExportedLists(newest.number + 1, list_file.pack_list(label, text), Accepted(domains, "", counts), files)


def _cut_to_domains(given: ExportedLists, settings: Settings) -> ExportedLists:
    """Return it without addresses in domains that left the customer: root knows none here, and takes no such list."""
    listed = list_file.decode_recipients(given.text)
    recipients = keep_domains(listed, settings.domains)
    if recipients == listed:
        return given
    text = list_file.encode_recipients(recipients)
    label = list_file.read_record(given.packed)._replace(list=list_file.digest(text), total=len(recipients))
    return given._replace(packed=list_file.pack_list(label, text))


def _past_of_all(givens: Sequence[ExportedLists], recipients: frozenset[str]) -> Iterator[SpoolFile]:
    """Yield log and removals of all siblings in one."""
    logs, gone = ([given.content_of(name) for given in givens] for name in _PAST)
    removals = removed_addresses.unite_removals(map(removed_addresses.decode_removals, gone), recipients)
    yield SpoolFile(".", upload_log.NAME, upload_log.unite_logs(logs[0], logs[1:]))
    yield SpoolFile(".", removed_addresses.NAME, removed_addresses.encode_removals(removals))


def _find_freeze(givens: Sequence[ExportedLists]) -> Iterator[SpoolFile]:
    """Yield the file that freezes the list where any sibling has one: a person froze it there."""
    pins = [file for given in givens for file in given.files if file.name == PINNED]
    yield from pins[:1]


def _fill(spool: Spool, files: Iterable[SpoolFile]) -> None:
    for file in files:
        atomic_files.make(spool.folder, file.folder)
        with atomic_files.hold_directory(file.folder, spool.folder) as directory:
            atomic_files.replace(directory, file.name, file.content)


def _hold(spool: Spool, newest: ExportedLists, origin: Origin, why: str) -> None:
    label = list_file.read_record(newest.packed)
    held = Held(label.list, list_file.decode_recipients(newest.text), origin, origin.when, (why,), {})
    spool.store_held(held, newest.text)


def _files(spool: Spool) -> Iterator[SpoolFile]:
    """Yield the files to hand over, as many as there is room for, the newest lists first.

    An attacker who has the account may have put anything there, so a file that is no kept list is skipped.
    """
    past = (
        SpoolFile(".", removed_addresses.NAME, removed_addresses.export_removals(spool.folder, int(time.time()))),
        SpoolFile(".", upload_log.NAME, upload_log.export_log(spool.folder)),
    )
    yield from past
    room = _ROOM - sum(len(file.content) for file in past)
    for folder, form in _FOLDERS.items():
        for name in filter(form.fullmatch, reversed(atomic_files.list_names(spool.folder, folder))):
            if name in (upload_log.NAME, removed_addresses.NAME):
                continue
            with atomic_files.hold_directory(folder, spool.folder) as directory, suppress(Failed):
                if name.endswith(".gz"):
                    list_file.read_record(atomic_files.read_start(directory, name, list_file.LABEL) or b"")
                content = atomic_files.read(directory, name, room) or b""
                room -= len(content)
                yield SpoolFile(folder, name, content)


def _place_file(path: str, content: str, number: int) -> SpoolFile:
    folder, _, name = path.rpartition("/")
    if folder not in _FOLDERS or not _FOLDERS[folder].fullmatch(name):
        raise ValueError(f"no spool has a file {path}")
    if not 0 < number < _LAST or (folder == "history" and int(name[:8]) > number):
        raise ValueError(f"{path}: history ends with number {number}")
    return SpoolFile(folder, name, _decode_bytes(content))


def _file_name_today(now: int) -> str:
    return time.strftime("%Y-%m-%d.gz", time.gmtime(now + AHEAD))


def _encode_bytes(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decode_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
