"""What a person must hear of the store, as (customer, kind, text)."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.formatting import escape, format_time
from receiver.lists import list_file
from receiver.store.follow import BESIDE, Followed
from receiver.store.notes import read_notes
from receiver.store.transaction import StoreAccess

SILENT = 3_600  # seconds without the store after which it is an alarm
_DAY = 86_400


def find_alarms(access: StoreAccess, run: int, followed: Followed, now: int) -> Iterator[tuple[str, str, str]]:
    """Yield them. A database that is down is one alarm of the relay, not one of each customer."""
    if followed.why and now - followed.reached > SILENT:
        last = f"since {format_time(followed.reached)}" if followed.reached else "yet"
        yield "", f"store {followed.reached}", f"this relay has not followed the store {last}: {escape(followed.why)}"
    for name, wrong in followed.wrong.items():
        yield name, f"store {list_file.digest(wrong.encode())[:8]}", f"what the store has is not taken: {wrong}"
    for name, since in followed.beside.items():
        if now - since >= BESIDE and not access.settings.is_upload_relay:
            text = "this relay and the store have lists that do not know each other, and both are in force"
            yield name, f"beside {since}", f"{text}; an upload relay, or `inv store {name}`, makes one of them"
    for note in read_notes(run, now - _DAY):
        yield note.customer, f"store {note.when} {list_file.digest(note.text.encode())[:8]}", note.text
