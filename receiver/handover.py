"""A list handed over to a relay that has none yet, with all that judging and rolling back the next ones needs.

When keys were seen is not handed over: this relay has seen none yet.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from receiver import disk, history, kept, lock, publishing
from receiver.kept import Kept, Origin
from receiver.offer import prove
from receiver.publishing import Begun
from receiver.report import FORMAT, Failed, Outcome, Refused, shown
from receiver.settings import load_settings
from receiver.spool import Accepted, Spool
from receiver.tables import Tables

LIMIT = 512 << 20  # bytes of JSON
_FOLDERS = {
    "history": re.compile(r"[0-9]{8}\.gz"),
    "reference": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.gz"),
    "held": re.compile(r"recipients|why\.json"),
    ".": re.compile(r"(?:pinned|last-export)\.json"),
}


class File(NamedTuple):
    """One file of a spool."""

    folder: str
    name: str
    content: bytes


class Given(NamedTuple):
    """What a sibling handed over."""

    number: int  # of the list in force, in history
    packed: bytes  # the list in force; nothing: it has none
    accepted: Accepted
    files: tuple[File, ...]

    @classmethod
    def read(cls, text: bytes, customer: str) -> Given:
        """Read what hand_over() gave, as JSON. Raises Refused."""
        try:
            if len(text) > LIMIT:
                raise ValueError(f"it is larger than {LIMIT} bytes")
            record = json.loads(text)
            if (record["postern"], record["customer"]) != (FORMAT, customer):
                raise ValueError(f"it is not format {FORMAT} of {customer}")
            files = tuple(_placed(path, content) for path, content in record["files"].items())
            accepted = Accepted(dict(record["accepted"]["domains"]), str(record["accepted"]["list"]))
            packed = _bytes(record["list"])
            if packed:
                kept.recipients(kept.content(packed))
            return cls(int(record["number"]), packed, accepted, files)
        except (Failed, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused(f"what was handed over cannot be used: {shown(str(error))}") from error


def hand_over(spool: Spool) -> dict[str, Any]:
    """Give what take_over() takes, as plain JSON."""
    with spool.locked():
        publishing.finish(spool)
        in_force, newest = spool.in_force(), next(iter(history.entries(spool.folder)), None)
        name = kept.digest(in_force.text)
        label = Kept(name, len(in_force.recipients), 0, 0, Origin(0), tuple(in_force.accepted.domains))
        if newest and newest.kept.list == name:
            label = newest.kept
        return {
            "postern": FORMAT,
            "customer": spool.customer,
            "number": newest.number if newest else 1,
            "list": _text(kept.packed(label, in_force.text) if in_force.text else b""),
            "accepted": in_force.accepted._asdict(),
            "files": {f"{file.folder}/{file.name}": _text(file.content) for file in _files(spool)},
        }


def take_over(spool: Spool, given: Given, origin: Origin, tables: Tables) -> Outcome:
    """Fill an empty spool with what a sibling handed over. Raises Refused where there is a list already."""
    with spool.locked(), lock.settings(spool.places):
        load_settings(spool.places, spool.customer)
        publishing.finish(spool)
        if spool.in_force().text or spool.accepted().domains:
            raise Refused("there is a list here already; only an empty spool takes one over")
        for file in given.files:
            disk.make(spool.folder, file.folder)
            with disk.inside(spool.folder, file.folder) as directory:
                disk.replace(directory, file.name, file.content)
        outcome = Outcome(spool.customer, "unchanged", *origin)
        if given.packed:
            label, text = kept.label(given.packed), kept.content(given.packed)
            begun = Begun(origin.when, label.list, given.accepted, number=given.number)
            publishing.begin(spool, begun, label, text)
            outcome = outcome._replace(did="published", total=label.total, added=label.total)
        spool.record(outcome)
    return prove(spool, tables, outcome, ())


def _files(spool: Spool) -> Iterator[File]:
    for folder, form in _FOLDERS.items():
        for name in filter(form.fullmatch, disk.names(spool.folder, folder)):
            with disk.inside(spool.folder, folder) as directory:
                yield File(folder, name, disk.read(directory, name, kept.LIMIT) or b"")


def _placed(path: str, content: str) -> File:
    folder, _, name = path.rpartition("/")
    if folder not in _FOLDERS or not _FOLDERS[folder].fullmatch(name):
        raise ValueError(f"no spool has a file {path}")
    return File(folder, name, _bytes(content))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
