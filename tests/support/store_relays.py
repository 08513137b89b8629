"""Small relays on a real store, for the tests of one fault each."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from receiver import store_cli
from receiver.outcome import Origin, Outcome
from receiver.store.access import StoreAccess, load_access
from receiver.store.follow import FollowRecord, follow
from receiver.store.notes import read_notes
from receiver.system import atomic_files
from receiver.upload.pipeline import process_export
from tests.support.postgres import Postgres, join
from tests.support.small_relay import SmallRelay, export

Step = Callable[[str], None]


def relay(folder: Path, server: Postgres, *, uploads: bool = True) -> SmallRelay:
    """A relay that uses the store."""
    made = SmallRelay(folder)
    join(made, server, uploads=uploads)
    return made


def access(of: SmallRelay, step: Step = lambda _: None, seconds: float = 20.0) -> StoreAccess:
    """How it reaches the store, with less patience than in life."""
    found = load_access(of.places)
    assert found
    return found._replace(patience=0.5, step=step, seconds=seconds)


def run_follow(of: SmallRelay, now: int = 2_000_000_000) -> FollowRecord:
    """Follow once."""
    return follow(access(of), ["acme"], now).followed


def accept_first(of: SmallRelay, names: Sequence[str]) -> None:
    """Write on a relay a list that was accepted before there was a store."""
    store = Path(of.places.store)
    store.rename(f"{store}.away")
    of.offer(names)
    of.accept("first", len(names))
    Path(f"{store}.away").rename(store)


def upload(of: SmallRelay, names: Sequence[str], step: Step = lambda _: None, seconds: float = 20.0) -> Outcome:
    """Upload, with something that happens between two steps."""
    with of.spool() as spool:
        origin = Origin(int(time.time()), "k1", "198.51.100.7")
        reached = access(of, step, seconds)
        return process_export(of.settings, export(names), spool, origin, of.tables, store=reached)


def notes(of: SmallRelay) -> str:
    """What it noted for a person."""
    run = atomic_files.open_directory(of.places.run)
    return " ".join(note.text for note in read_notes(run, 0))


def ask(of: SmallRelay, *arguments: str, stdin: bytes = b"") -> dict[str, Any]:
    """The answer of `postern store ...` or `postern follow`."""
    asked = store_cli.parse_arguments(arguments)
    return store_cli.answer_call(of.places, of.tables, asked, "olga", io.BytesIO(stdin)).record
