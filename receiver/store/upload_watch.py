"""Which relay tells a person that uploads are late, held, frozen or refused: of many, one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from common.paths import Places
from common.settings import BadSettings
from receiver.store.follow import FollowRecord, read_followed
from receiver.store.settings import load_store, load_upload_relays
from receiver.system import atomic_files

RECENT = 600  # seconds since this relay's own last heartbeat, in which it relies on those of others


def find_watched_elsewhere(places: Places, customers: Iterable[str], now: int) -> frozenset[str]:
    """Return the customers of whom another relay tells: the first of their upload relays that has a heartbeat.

    A follower leaves all of them to those. An upload relay that cannot read or write heartbeats counts itself first,
    and so does one whose settings are damaged.
    """
    with suppress(BadSettings):
        store = load_store(places)
        if store is None:
            return frozenset()
        if not store.is_upload_relay:
            return frozenset(customers)
        with atomic_files.hold_directory(places.run) as run:
            followed = read_followed(run)
        if not followed.why and abs(now - followed.reached) <= RECENT:
            return frozenset(one for one in customers if _first(places, one, followed) not in ("", store.name))
    return frozenset()


def _first(places: Places, customer: str, followed: FollowRecord) -> str:
    """Return the first of a customer's upload relays that is there; empty: none is, or its tree does not say."""
    with suppress(BadSettings):
        return next((name for name in load_upload_relays(places, customer) if name in followed.alive), "")
    return ""
