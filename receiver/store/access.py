"""How this relay reaches the store, and where it notes what a person must hear of that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from common.paths import Places
from receiver.formatting import DAY
from receiver.outcome import Refused
from receiver.store.connection import Connection, Locked, Step
from receiver.store.notes import Note, add_note, read_notes
from receiver.store.settings import StoreSettings, load_store
from receiver.store.watchdog import SECONDS
from receiver.system import atomic_files

PATIENCE = 60.0  # seconds for which a locked row is tried
_PAUSE = 0.2  # seconds between two tries
T = TypeVar("T")


class StoreAccess(NamedTuple):
    """How this relay uses the store."""

    places: Places
    settings: StoreSettings
    step: Step = lambda _: None
    patience: float = PATIENCE
    seconds: float = SECONDS  # without progress, after which a connection is ended

    def connect(self) -> Connection:
        """Connect. Raises Unreached, BadSettings."""
        return Connection(self.places, self.settings, self.step, self.seconds)

    def check_upload_relay(self) -> None:
        """Raise Refused on a follower: what a person decides is written by upload relays alone."""
        if not self.settings.is_upload_relay:
            raise Refused("this relay follows the store; ask one of the upload relays")

    def note_damage(self, tables: Iterable[str]) -> None:
        """Record, once a day, tables of which the database cannot read or write something."""
        now = int(time.time())
        with atomic_files.hold_directory(self.places.run) as run:
            known = {note.text for note in read_notes(run, now - DAY)}
            for table in sorted(tables):
                text = f"the database cannot read a page of its table {table}; lists go on, docs/store.md says the cure"
                if text not in known:
                    add_note(run, Note(now, "", text))

    def note(self, customer: str, text: str) -> None:
        """Record something that a person must hear of."""
        with atomic_files.hold_directory(self.places.run) as run:
            add_note(run, Note(int(time.time()), customer, text))

    def repeat_while_locked(self, run: Callable[[Connection], T]) -> T:
        """Run a transaction until no other relay holds the customer's row. Raises Locked once patience has ended."""
        until = time.monotonic() + self.patience
        while True:
            with suppress(Locked), self.connect() as connection:
                return run(connection)
            if time.monotonic() >= until:
                raise Locked(f"another relay has been writing this customer's list for {self.patience:g} s")
            time.sleep(_PAUSE)


def load_access(places: Places) -> StoreAccess | None:
    """Return how this relay uses the store; None: there is none. Raises BadSettings."""
    settings = load_store(places)
    return settings and StoreAccess(places, settings)
