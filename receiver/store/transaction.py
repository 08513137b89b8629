"""An upload relay's one transaction: lock the customer's row, reconcile, act, write, commit; then publish it.

`act` is given what would be in force, and returns what is to be in force instead. Where the store does not take part,
the fallback is published: what is in force here, with what the upload adds and opens. That removes nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from common.settings import load_settings
from receiver.lists import history, list_file, removed_addresses, upload_log
from receiver.lists.accepted import Accepted
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Failed
from receiver.store import rows
from receiver.store.access import StoreAccess
from receiver.store.connection import Connection, Unreached
from receiver.store.head import FALLBACK, GIVEN, Head, Tip, date_on_top, new_point, past_of
from receiver.store.in_force import News, Published, publish_heads
from receiver.store.merge import describe_merge, find_unknown, is_settled, reconcile, rename_given, unite
from receiver.store.relay_heads import adopt_list, find_list, read_heads, read_texts
from receiver.store.settings import load_revision
from receiver.system import locks

_REFRESH = 3_600  # seconds after which the date of the last good upload is written anew


class Change(NamedTuple):
    """The list to put in force, and what is written with it."""

    head: Head  # its point, date and past are not set yet
    text: bytes
    kind: str
    entry: LogEntry
    by: str = ""
    held: bytes = b""  # the list that it holds; empty: none, or the one that is held already
    removals: Mapping[str, Removal] = {}
    review: bytes = b""  # the record of a review of what waits; nothing: none, or the one that is there already
    is_judgement: bool = True  # False: the tree's settings have no say in it


class WriteResult(NamedTuple):
    """The store's head afterwards, and what a relay that takes it must know."""

    tip: Tip | None
    news: News


class StoreSnapshot(NamedTuple):
    """The heads of the store and of this relay at one moment."""

    own: tuple[str, ...]  # the relay's heads as they are written
    found: rows.FoundHead
    store: Tip | None  # the store's head with its list
    wrong: str  # why there is none


class PreparedWrite(NamedTuple):
    """What is to be written over a snapshot."""

    tips: tuple[Tip, ...]
    base: Tip
    change: Change | None = None
    made: Tip | None = None  # None: nothing is
    parts: tuple[bytes, ...] = ()  # of its list


Act = Callable[[Tip], "Change | None"]


def prepare(spool: Spool, now: int) -> tuple[Tip, ...]:
    """Return this relay's heads, after making one of the list in force where none has it. Raises Busy."""
    with spool.hold_lock():
        adopt_list(spool, now)
        return read_heads(spool)


def make_fallback(own: Sequence[Tip], head: Head, text: bytes, now: int) -> Tip:
    """Return the fallback of an upload, under a new point that ends in its mark."""
    made = head._replace(list=list_file.digest(text), kind="own", by="", point=new_point() + FALLBACK)
    return Tip(made._replace(past=past_of(own), date=date_on_top(own, now)), text)


def write(
    access: StoreAccess, spool: Spool, act: Act | None, fallback: Tip | None = None, given: Sequence[Tip] = ()
) -> WriteResult:
    """Run the transaction; again while the row is locked, within the access's patience. Raises Unreached, Unclear.

    `given`: heads that another relay handed over; they are merged with the others and replace nothing.
    """
    return access.repeat_while_locked(lambda connection: _write_once(access, connection, spool, act, fallback, given))


def publish(access: StoreAccess, spool: Spool, tip: Tip | None, news: News) -> Published:
    """Merge the store's head, or the fallback, with this relay's own heads and put the result in force. Raises Busy."""
    access.step("before-publish")
    with spool.hold_lock(), locks.hold_settings(spool.places):
        settings, now = load_settings(spool.places, spool.customer), int(time.time())
        adopt_list(spool, now)
        done = publish_heads(spool, settings, reconcile(read_heads(spool), tip), news, now)
    access.step("published")
    return done


def _write_once(
    access: StoreAccess,
    connection: Connection,
    spool: Spool,
    act: Act | None,
    fallback: Tip | None,
    given: Sequence[Tip],
) -> WriteResult:
    customer = spool.customer
    with connection.read_transaction():
        seen = _look(connection, spool)
    ready = _work_out(spool, seen, act, fallback, given)
    with connection.write_transaction():
        rows.lock_row(connection, customer)
        if rows.read_head(connection, customer) != seen.found or read_texts(spool) != seen.own:
            seen = _look(connection, spool)
            ready = _work_out(spool, seen, act, fallback, given)
        found, store, tips, base, change = seen.found, seen.store, ready.tips, ready.base, ready.change
        for name in find_missing_lists(connection, spool, found.head):
            rows.write_list(connection, customer, name, rows.pack_text(find_list(spool, name) or b""))
        if change and change.is_judgement:
            _check_settings(spool, tips, base)
        if ready.made is None:
            return WriteResult(store, rows.read_news(connection, spool, store.head) if store else News())
        is_known = is_settled(tips, store) and store is not None
        _write_rows(connection, spool, ready.made, ready, store if is_known else None)
        if not is_settled(tips, store):
            access.note(customer, describe_merge(tips, store, base, seen.wrong))
        news = rows.read_news(connection, spool, ready.made.head)
    access.note_damage(connection.damaged)
    if change:
        news = news._replace(held=change.held or news.held, review=change.review or news.review)
    return WriteResult(ready.made, news)


def _look(connection: Connection, spool: Spool) -> StoreSnapshot:
    own, found = read_texts(spool), rows.read_head(connection, spool.customer)
    here = find_list(spool, found.head.list) if found.head else None
    return StoreSnapshot(own, found, *rows.tip_of(connection, spool.customer, found, here))


def _work_out(
    spool: Spool, seen: StoreSnapshot, act: Act | None, fallback: Tip | None, given: Sequence[Tip]
) -> PreparedWrite:
    """Return what is to be written. It takes a while where a list is long, so it is done before the row is locked."""
    tips = reconcile(read_heads(spool), seen.store)
    tips = (*tips, *map(rename_given, find_unknown(tips, given)))
    base = unite(tips)
    change = act(base) if act else None
    if change is None and is_settled(tips, seen.store):
        return PreparedWrite(tips, base)
    made = _next_tip(spool, change, tips, base, fallback, int(time.time()))
    if made.head == base.head and is_settled(tips, seen.store):
        return PreparedWrite(tips, base, change)
    return PreparedWrite(tips, base, change, made, rows.pack_text(made.text))


def find_missing_lists(connection: Connection, spool: Spool, head: Head | None) -> list[str]:
    """Return the lists that a head names, that the store has lost or damaged, and that this relay has."""
    lost = [name for name in (head.names if head else ()) if not rows.has_list(connection, spool.customer, name)]
    return [name for name in lost if find_list(spool, name) is not None]


def _check_settings(spool: Spool, tips: Sequence[Tip], base: Tip) -> None:
    """Raise Unreached where this relay's tree is not of the head's settings."""
    mine, wanted = load_revision(spool.places, spool.customer), base.head.settings
    if tips and (mine.number, mine.hash) != (wanted.number, wanted.hash):
        differs = f"this relay has settings {mine.number}, the store has {wanted.number}"
        raise Unreached(f"{differs}; `inv provision {spool.customer}` brings them together")


def _next_tip(
    spool: Spool,
    change: Change | None,
    tips: Sequence[Tip],
    base: Tip,
    fallback: Tip | None,
    now: int,
) -> Tip:
    """Return the head to be written: the same one where it is one state, else one on top of all."""
    if change is None:
        made, text, kind, by = base.head, base.text, "merge", ""
    else:
        made, text, kind, by = change.head, change.text, change.kind, change.by
    made = made._replace(list=list_file.digest(text))
    made = made._replace(accepted=made.accepted.only_listed(text))
    if not tips and not made.settings.number:
        made = made._replace(settings=load_revision(spool.places, spool.customer))
    if len(tips) == 1 and GIVEN not in base.head.point and _state(made) == _state(base.head):
        return Tip(_refresh(base.head, made), text)
    parents = [*([fallback] if fallback else []), *tips]
    point = fallback.head.point.rstrip(FALLBACK) if fallback else new_point()
    made = made._replace(point=point, kind=kind, by=by, past=past_of(tips), date=date_on_top(parents, now))
    return Tip(made, text)


def _state(head: Head) -> tuple[object, ...]:
    """Return all of a head that may not change while its point stays: not dates, review and settings."""
    accepted = (sorted(head.accepted.domains), head.accepted.list, dict(head.accepted.counts))
    held = head.held and (head.held["list"], list(head.held["reasons"]))
    return head.list, accepted, held, dict(head.kept), head.frozen, head.export


def _refresh(before: Head, made: Head) -> Head:
    """Return the head with what may change while its point stays; dates, where they are newer by enough for a write."""
    old, new = before.accepted.domains, made.accepted.domains
    late = any(new[name] - old[name] >= _REFRESH for name in new)
    accepted: Accepted = made.accepted if late else before.accepted
    return before._replace(accepted=accepted, settings=made.settings, review=made.review)


def _write_rows(connection: Connection, spool: Spool, made: Tip, ready: PreparedWrite, store: Tip | None) -> None:
    """Write a head and what it names. `store`: the store's head, where the relay had nothing besides."""
    customer, name, change = spool.customer, made.head.list, ready.change
    if store is None or name != store.head.list:
        rows.write_list(connection, customer, name, ready.parts)
    beside = (change.held, change.review) if change else (b"", b"")
    for each, text in zip((made.head.held_list, made.head.review), beside):
        if each and (content := text or find_list(spool, each)):
            rows.write_list(connection, customer, each, rows.pack_text(content))
    if store is None:
        _write_past(connection, spool)
    if change:
        rows.write_log(connection, customer, made.head.point, change.entry)
        rows.write_removals(connection, customer, change.removals)
    rows.write_head(connection, customer, made.head)
    rows.forget_lists(connection, customer, made.head.names)


def _write_past(connection: Connection, spool: Spool) -> None:
    """Write again what the store may have lost: the lists of history, the log of them, and who left."""
    customer = spool.customer
    for entry in reversed(history.read_entries(spool.folder)):
        with suppress(Failed):
            text = history.read_list(spool.folder, entry.number)
            rows.write_list(connection, customer, entry.kept.list, rows.pack_text(text))
    newest = [entry for entry, _ in zip(upload_log.read_entries(spool.folder), range(history.KEEPS))]
    for logged in reversed(newest):
        rows.write_log(connection, customer, f"entry {logged.entry}", logged)
    rows.write_removals(connection, customer, removed_addresses.find_gone(spool.folder, int(time.time())))
