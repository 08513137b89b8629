"""Follows the store: puts its heads of this relay's customers in force here, customer by customer.

Each run reads the heads that changed since the last run, and all of them every ten minutes. A follower never writes a
head. An upload relay writes one where it has heads that the store lacks.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from common.settings import BadSettings
from common.spool_files import FOLLOW, TIMER
from receiver.formatting import escape
from receiver.lists import publishing
from receiver.lists.spool import Spool
from receiver.outcome import Stopped
from receiver.store import rows
from receiver.store.access import StoreAccess
from receiver.store.connection import Connection, Unclear, Unreached
from receiver.store.head import Tip
from receiver.store.heartbeat import beat
from receiver.store.in_force import News
from receiver.store.merge import is_settled, reconcile
from receiver.store.notes import read_notes
from receiver.store.relay_heads import find_list, read_heads
from receiver.store.settings import load_upload_relays
from receiver.store.transaction import find_missing_lists, prepare, publish, write
from receiver.system import atomic_files, locks
from receiver.system.checked_json import check_types

ALL = 600  # seconds after which every customer is looked at
OVERLAP = 60  # seconds by which a look reaches back, for what was committed late
QUIET = 1_800  # seconds since the timer's last run, after which this relay tells nobody anything
BESIDE = 180  # seconds for which a follower may have heads that do not know each other


class FollowRecord(NamedTuple):
    """The times of the last runs of `postern follow`, and what failed."""

    reached: int = 0  # epoch seconds of this relay: when the store was asked last and answered
    tried: int = 0  # when it was asked last
    clock: int = 0  # of the database, at that look: epoch seconds
    every: int = 0  # when every customer was looked at
    why: str = ""  # the store was not reached
    wrong: Mapping[str, str] = {}  # by customer: what could not be taken, and why
    beside: Mapping[str, int] = {}  # by customer: since when it has heads that do not know each other
    alive: Sequence[str] = ()  # upload relays with a heartbeat in the last hour; none: this one's was not written


class FollowResult(NamedTuple):
    """The result of one run of `postern follow`."""

    followed: FollowRecord
    changed: tuple[str, ...] = ()  # customers whose list in force is another now


def read_followed(run: int) -> FollowRecord:
    """Return what the last run noted; nothing where there was none, or where it is damaged."""
    fields = atomic_files.load_json(run, FOLLOW) or {}
    record = FollowRecord(**{name: value for name, value in fields.items() if name in FollowRecord._fields})
    try:
        check_types(dict, record.wrong, record.beside)
        check_types((list, tuple), record.alive)
        check_types(int, record.reached, record.tried, record.clock, record.every, *record.beside.values())
        check_types(str, record.why, *record.wrong.values(), *record.alive)
    except TypeError:
        return FollowRecord()
    return record


def follow(access: StoreAccess, customers: Sequence[str], now: int, seconds: float = 3_600.0) -> FollowResult:
    """Read the store once, for at most so many seconds. Raises Busy while another run is at it."""
    with atomic_files.hold_directory(access.places.run) as run:
        lock = os.open("follow.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=run)
        try:
            with locks.hold_lock(lock, fcntl.LOCK_EX, 0, "the last run of follow has not ended yet"):
                looked = _look(access, customers, run, now, time.monotonic() + seconds)
                atomic_files.store_json(run, FOLLOW, looked.followed._asdict())
                return looked
        finally:
            os.close(lock)


def _look(access: StoreAccess, customers: Sequence[str], run: int, now: int, until: float) -> FollowResult:
    last = _without_future(read_followed(run), now)
    every = not last.reached or now - last.every >= ALL or last.every > now or bool(last.why)
    noted = {note.customer for note in read_notes(run, last.tried - OVERLAP)}  # those whose uploads were not judged
    changed: list[str] = []
    wrong: dict[str, str] = {}
    try:
        with access.connect() as connection:
            clock, names = find_changed(connection, customers, 0 if every else last.clock)
            names |= {*last.wrong, *last.beside, *noted}
            again = [name for name in customers if name in names]
            for name in again:
                if time.monotonic() > until:
                    return FollowResult(last._replace(tried=now, why="it took too long"), tuple(changed))
                if _follow_safely(access, connection, name, wrong):
                    changed.append(name)
            access.note_damage(connection.damaged)
            alive = beat(connection, access.settings, _upload_relays(access, customers)) if _tells(run, now) else ()
    except (Unreached, BadSettings) as error:
        return FollowResult(last._replace(tried=now, why=str(error)), tuple(changed))
    beside = {name: last.beside.get(name, now) for name in customers if _has_several(access, name)}
    whole = now if every else last.every
    return FollowResult(FollowRecord(now, now, clock, whole, "", wrong, beside, alive), tuple(changed))


def _tells(run: int, now: int) -> bool:
    """Return whether a person hears what this relay has to tell: its timer runs, and its alarms get through.

    Else it has no heartbeat, and another relay tells as well. A relay whose timer has never run is given time.
    """
    noted = atomic_files.load_json(run, TIMER)
    if not noted:
        return True
    ran = noted.get("ran")
    return isinstance(ran, int) and abs(now - ran) <= QUIET and noted.get("told") is True


def _upload_relays(access: StoreAccess, customers: Iterable[str]) -> set[str]:
    """Return the upload relays that this relay's trees name, as far as those can be read."""
    found: set[str] = set()
    for name in customers:
        with suppress(BadSettings):
            found.update(load_upload_relays(access.places, name))
    return found


def _without_future(last: FollowRecord, now: int) -> FollowRecord:
    """Return what was noted, as of now where a clock that was ahead noted it: no alarm waits for that time."""
    beside = {name: min(since, now) for name, since in last.beside.items()}
    return last._replace(reached=min(last.reached, now), beside=beside)


def find_changed(connection: Connection, customers: Sequence[str], since: int) -> tuple[int, set[str]]:
    """Return the database's clock, and the customers whose heads changed since its time `since`.

    Returns all customers where that clock went back, as after a fail-over, or where the query fails on a damaged page.
    """
    with connection.read_transaction():
        clock = int(connection.ask("SELECT extract(epoch FROM clock_timestamp())")[0][0])
        if not since or clock < since:
            return clock, set(customers)
    with suppress(Unreached), connection.read_transaction():
        found = connection.ask(
            "SELECT customer FROM postern.heads WHERE customer = ANY(%s) AND updated >= to_timestamp(%s)",
            (list(customers), since - OVERLAP),
        )
        return clock, {name for (name,) in found}
    return clock, set(customers)


def _follow_safely(access: StoreAccess, connection: Connection, name: str, wrong: dict[str, str]) -> bool:
    """Follow one customer; a failure is recorded and stops no other customer, unless the connection is gone."""
    try:
        with Spool(access.places, name) as spool:
            return follow_customer(access, connection, spool, wrong)
    except Exception as error:
        is_ours = isinstance(error, (Stopped, BadSettings, OSError))
        wrong[name] = escape(str(error) if is_ours else f"{type(error).__name__}: {error}", 300)
        if isinstance(error, (Unreached, Unclear)) and not connection.is_open:
            raise Unreached(str(error)) from error
        return False


def follow_customer(access: StoreAccess, connection: Connection, spool: Spool, wrong: dict[str, str]) -> bool:
    """Put the store's head of one customer in force; return whether the list in force changed."""
    own = prepare(spool, int(time.time()))
    with connection.read_transaction():
        found = rows.read_head(connection, spool.customer)
        here = find_list(spool, found.head.list) if found.head else None
        store, why = rows.tip_of(connection, spool.customer, found, here)
        news = News() if store is None else _news_of(connection, spool, store, own)
        lost = access.settings.is_upload_relay and find_missing_lists(connection, spool, found.head)
    if why and (own or found.head):
        wrong[spool.customer] = why
    tips = reconcile(own, store)
    if lost or (access.settings.is_upload_relay and not is_settled(tips, store)):
        written = write(access, spool, None)
        store, news = written.tip, written.news
        wrong.pop(spool.customer, None)
    done = publish(access, spool, store, news)
    return bool(done.added or done.removed) or publishing.read_unverified(spool) is not None


def _news_of(connection: Connection, spool: Spool, store: Tip, own: Iterable[Tip]) -> News:
    is_known = any((tip.head.point, tip.head.review) == (store.head.point, store.head.review) for tip in own)
    return News() if is_known else rows.read_news(connection, spool, store.head)


def _has_several(access: StoreAccess, name: str) -> bool:
    with suppress(Stopped, OSError), Spool(access.places, name) as spool:
        return len(read_heads(spool)) > 1
    return False
