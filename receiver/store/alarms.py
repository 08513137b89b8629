"""What a person must hear of the store, as (customer, kind, text)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from common.paths import Places
from common.settings import BadSettings, list_customers, load_settings
from receiver.formatting import DAY, NAMED, escape, format_time
from receiver.lists import list_file
from receiver.lists.spool import Spool
from receiver.outcome import Stopped
from receiver.store.access import StoreAccess
from receiver.store.follow import BESIDE, FollowRecord
from receiver.store.notes import read_notes

SILENT = 3_600  # seconds without the store after which it is an alarm


def find_alarms(access: StoreAccess, run: int, followed: FollowRecord, now: int) -> Iterator[tuple[str, str, str]]:
    """Yield them. A database that is down is one alarm of the relay, not one of each customer.

    It is one at once where a domain would open within the hour, or has opened, since the store was reached last.
    """
    opening = _opening(access.places, followed, now) if followed.why else []
    if followed.why and (opening or now - followed.reached > SILENT):
        last = f"since {format_time(followed.reached)}" if followed.reached else "yet"
        opens = f"; open for want of it, or soon: {', '.join(opening[:NAMED])}" if opening else ""
        text = f"this relay has not followed the store {last}: {escape(followed.why)}{opens}"
        yield "", f"store {followed.reached}{' opens' if opening else ''}", text
    for name, wrong in followed.wrong.items():
        yield name, f"store {list_file.digest(wrong.encode())[:8]}", f"what the store has is not taken: {wrong}"
    for name, since in followed.beside.items():
        if now - since >= BESIDE and not access.settings.is_upload_relay:
            text = "this relay and the store have lists that do not know each other, and both are in force"
            yield name, f"beside {since}", f"{text}; an upload relay, or `inv store {name}`, makes one of them"
    for note in read_notes(run, now - DAY):
        yield note.customer, f"store {note.when} {list_file.digest(note.text.encode())[:8]}", note.text


def _opening(places: Places, followed: FollowRecord, now: int) -> list[str]:
    """Return the domains that were closed when the store was reached last, and are not in an hour's time."""
    found: list[str] = []
    for name in list_customers(places):
        with suppress(Stopped, BadSettings, OSError), Spool(places, name) as spool:
            settings, accepted = load_settings(places, name), spool.read_accepted()
            already = accepted.opens(settings, followed.reached)
            found += (domain for domain in accepted.opens(settings, now + SILENT) if domain not in already)
    return found
