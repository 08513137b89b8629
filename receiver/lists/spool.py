"""One customer's folder under /var/lib/postern/customers. Each file in it is read and written in one place.

recipients             the list in force
accepted.json          the domains with an accepted list
history/NUMBER.gz      the last lists in force, this one included
log                    each upload, and what the guard counted
gone                   who left the list in the last 90 days
held/                  the list that waits for a person, and the last review of it (review_record)
pinned.json            who froze the list: while it is there uploads do not take effect
begun.json             a publication that is still to be finished
unproven.json          a publication that has not been looked up in the tables yet
keys.json              when each key was used
last-run.json          the Outcome of the last run
last-export.json       what the last export said besides its addresses
left-out.json          values of the last export that are not listed, in the customer's own domains
refusals.json          who was refused, says the mail log
had-mail.json          who had mail, or for whom mail waits
refusal-alarms.json    what the timer raised about refusals
judged-mail.json       who had mail, and is refused since a person accepted a list that lacks them
heads.json, heads/     with a store: this relay's heads, and their lists
heads-in-force.json    with a store: which heads the list in force was made from
upload-, call-NUMBER   empty: locked while an export is received, while a call through a key is answered
parse-NUMBER           empty: locked while an export is parsed or waits for that
reference/             what the first release kept for its guard; gone takes its place
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from common import names, spool_files
from common.paths import Places
from receiver.formatting import is_time
from receiver.lists import list_file
from receiver.lists.accepted import Accepted, InForce, Summary
from receiver.lists.held import Held, ListFreeze
from receiver.outcome import Failed, Outcome
from receiver.system import atomic_files, locks
from receiver.system.checked_json import decode_json, whole_numbers

KEYS = 20  # names in keys.json
KEY_FIELDS = ("first", "last", "kit")  # of each; kit is left out where none is known


class LastExport(NamedTuple):
    """What the last readable export said besides its recipients."""

    open_domains: tuple[str, ...] = ()  # in which every address gets mail, listed or not
    plus_addresses: bool | None = None  # whether the server takes user+tag@ where it takes user@; None: not said


class Spool:
    """The folder, held open. Everything in it is written by account `postern`, under the customer's lock."""

    def __init__(self, places: Places, customer: str) -> None:
        """Open it. Raises Failed where rebuild-relay-recips has not made it yet."""
        self.places, self.customer = places, customer
        self.commit: Callable[[Any], None] | None = None  # called before a decision is published
        try:
            self.folder = atomic_files.open_directory(places.spool(customer))
        except OSError as error:
            raise Failed(f"{places.spool(customer)}: {error.strerror}; rebuild-relay-recips makes it") from error

    def __enter__(self) -> Spool:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder, which ends its lock as well."""
        os.close(self.folder)

    @contextmanager
    def hold_lock(self, seconds: float = locks.CUSTOMER) -> Iterator[None]:
        """Hold the customer's lock, which every writer needs. Raises Busy."""
        busy = f"another run is publishing for {self.customer}; try again in a minute"
        with locks.hold_lock(self.folder, fcntl.LOCK_EX, seconds, busy):
            yield

    def read_in_force(self) -> InForce:
        """Read the list in force and what has been accepted of it."""
        text = self.read_text()
        try:
            return InForce(text, list_file.decode_recipients(text), self.read_accepted()) if text else InForce()
        except ValueError:
            return InForce()

    def summarize_in_force(self) -> Summary:
        """Return the list in force as its number and its SHA-256, read a piece at a time to save memory."""
        total, name = 0, hashlib.sha256()
        with suppress(Failed):
            for piece in atomic_files.pieces(self.folder, spool_files.RECIPIENTS, list_file.LIMIT):
                total += piece.count(b"\n")
                name.update(piece)
        return Summary(total, name.hexdigest(), self.read_accepted()) if total else Summary()

    def read_text(self) -> bytes:
        """Read the list in force as it is written; nothing where there is none."""
        with suppress(Failed):
            return atomic_files.read(self.folder, spool_files.RECIPIENTS, list_file.LIMIT) or b""
        return b""

    def read_accepted(self) -> Accepted:
        """Read accepted.json, whether or not the list is sound."""
        return Accepted.read(atomic_files.load_json(self.folder, spool_files.ACCEPTED) or {})

    def store_accepted(self, accepted: Accepted) -> None:
        """Replace accepted.json."""
        atomic_files.store_json(self.folder, spool_files.ACCEPTED, accepted._asdict())

    def read_held(self) -> Held | None:
        """Read the list that waits. None: there is none, or it is damaged; the next upload is judged again."""
        try:
            with atomic_files.hold_directory("held", self.folder) as directory:
                why, text = (
                    atomic_files.load_json(directory, "why.json"),
                    atomic_files.read(directory, spool_files.RECIPIENTS, list_file.LIMIT),
                )
            if why is None or text is None or list_file.digest(text) != why["list"]:
                return None
            return Held.read(why)._replace(recipients=list_file.decode_recipients(text))
        except (FileNotFoundError, Failed, ValueError, KeyError, TypeError):
            return None

    def summarize_held(self) -> Held | None:
        """Read the list that waits without its recipients."""
        try:
            with atomic_files.hold_directory("held", self.folder) as directory:
                why = atomic_files.load_json(directory, "why.json")
            return None if why is None else Held.read(why)
        except (FileNotFoundError, KeyError, TypeError):
            return None

    def store_held(self, held: Held, text: bytes) -> None:
        """Store a list, written as `text`, as the one that waits; it waits since the first of those held in a row."""
        before = self.read_held()
        since = before.since if before and before.reasons else held.since
        why = {**held.fields(), "since": since}
        atomic_files.make(self.folder, "held")
        with atomic_files.hold_directory("held", self.folder) as directory:
            atomic_files.replace(directory, spool_files.RECIPIENTS, text)
            atomic_files.store_json(directory, "why.json", why)

    def delete_held(self) -> None:
        """Delete the list that waits."""
        with suppress(FileNotFoundError), atomic_files.hold_directory("held", self.folder) as directory:
            for name in ("why.json", "recipients", "review.json", "reviewed.json"):
                atomic_files.remove(directory, name)

    def read_freeze(self) -> ListFreeze | None:
        """Return why uploads do not take effect; a damaged file still freezes."""
        fields = atomic_files.load_json(self.folder, spool_files.PINNED)
        if fields is None:
            return ListFreeze(0, "", "") if spool_files.PINNED in os.listdir(self.folder) else None
        return ListFreeze.read(fields)

    def store_freeze(self, freeze: ListFreeze) -> None:
        """Freeze the list: no upload takes effect."""
        atomic_files.store_json(self.folder, spool_files.PINNED, freeze._asdict())

    def delete_freeze(self) -> None:
        """End the freeze: uploads take effect again."""
        atomic_files.remove(self.folder, spool_files.PINNED)

    def read_keys(self) -> dict[str, dict[str, int]]:
        """Return when each key was seen first and last, and the number of the kit that used it last, if known.

        An entry that is no key, or lacks one of the two times, is skipped.
        """
        with suppress(Failed, ValueError, AttributeError):
            seen = decode_json(atomic_files.read(self.folder, spool_files.KEYS, spool_files.SMALL) or b"{}")
            found = {name: whole_numbers(at) for name, at in seen.items() if names.KEY.fullmatch(name)}
            known = {name: at for name, at in found.items() if is_time(at.get("first")) and is_time(at.get("last"))}
            return {name: {field: at[field] for field in KEY_FIELDS if field in at} for name, at in known.items()}
        return {}

    def note_key(self, key: str, now: int, kit: int | None = None) -> None:
        """Record that a key was used, and by which kit; of more than KEYS the one unused longest is forgotten.

        `kit`: 0 for an export whose kit has no number; None: no export was sent, so nothing is known of a kit.
        """
        keys = self.read_keys()
        before = keys.get(key, {})
        number = before.get("kit", 0) if kit is None else kit
        keys[key] = {"first": before.get("first", now), "last": now, **({"kit": number} if number else {})}
        latest = sorted(keys, key=lambda name: keys[name]["last"])[-KEYS:]
        atomic_files.replace(
            self.folder, spool_files.KEYS, atomic_files.encode_json({name: keys[name] for name in sorted(latest)})
        )

    def read_last_export(self) -> LastExport:
        """Read last-export.json; a damaged file counts as empty."""
        fields = atomic_files.load_json(self.folder, spool_files.LAST_EXPORT) or {}
        domains, plus = fields.get("open_domains"), fields.get("plus_addresses")
        opened = tuple(map(str, domains)) if isinstance(domains, list) else ()
        return LastExport(opened, plus if isinstance(plus, bool) else None)

    def store_last_export(self, export: LastExport) -> None:
        """Replace last-export.json, where its content changes."""
        if export != self.read_last_export():
            atomic_files.store_json(self.folder, spool_files.LAST_EXPORT, export._asdict())

    def is_put_off(self) -> bool:
        """Return whether the timer found that the server refuses to be asked about unlisted addresses."""
        return (atomic_files.load_json(self.folder, spool_files.ASKING) or {}).get("put_off") is True

    def read_last_run(self) -> Outcome | None:
        """Read the outcome of the last run."""
        with suppress(Failed, ValueError, TypeError, AttributeError):
            return Outcome.read(
                decode_json(atomic_files.read(self.folder, spool_files.LAST_RUN, spool_files.SMALL) or b"{}")
            )
        return None

    def store_last_run(self, outcome: Outcome) -> None:
        """Write the outcome of this run."""
        atomic_files.replace(self.folder, spool_files.LAST_RUN, atomic_files.encode_json(outcome.record()))
