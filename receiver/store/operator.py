"""What an operator asks of a relay about the store: look, merge, forget, open."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from common.paths import Places
from common.settings import BadSettings, list_customers, load_settings
from receiver.lists import list_file, upload_log
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Busy, Refused, Stopped
from receiver.store import rows
from receiver.store.access import StoreAccess
from receiver.store.connection import FORMAT, Unreached
from receiver.store.follow import read_followed
from receiver.store.head import Head, Tip, decode_head, encode_head
from receiver.store.in_force import News, publish_heads
from receiver.store.merge import find_unknown, take_given, unite
from receiver.store.numbering import RefusedWith
from receiver.store.relay_heads import find_list, read_heads
from receiver.store.settings import load_revision
from receiver.store.transaction import Change, WriteResult, prepare, publish, write
from receiver.system import atomic_files, locks

_HEADS = 100  # that another relay may hand over
_RELAYS = (  # whoever can write heartbeats can write any number of names, of any length and of any time
    "SELECT name, role, release, extract(epoch FROM seen)::bigint FROM postern.relays "
    "WHERE length(name || role || release) <= 300 AND seen > '2000-01-01' AND seen <= clock_timestamp() "
    "ORDER BY seen DESC LIMIT 1000"
)


def write_id(access: StoreAccess) -> dict[str, Any]:
    """Write the store's id where it has none. Raises Unreached."""
    with access.connect() as connection:
        known = connection.ask("SELECT id FROM postern.store")
        if not known:
            connection.ask("INSERT INTO postern.store (id, format) VALUES (%s, %s)", (access.settings.id, FORMAT))
        elif known[0][0] != access.settings.id:
            raise Refused(f"it is another store: its id is {known[0][0]}")
    return {"id": access.settings.id}


def read_status(access: StoreAccess) -> dict[str, Any]:
    """Return what the store and this relay have of every customer; the store may be out of reach."""
    with atomic_files.hold_directory(access.places.run) as run:
        followed = read_followed(run).reached
    role = "upload" if access.settings.is_upload_relay else "follower"
    found: dict[str, Any] = {"reached": False, "why": "", "id": access.settings.id, "role": role, "relays": {}}
    found["customers"] = {name: _own_status(access.places, name) for name in list_customers(access.places)}
    try:
        _add_store(access, found)
    except (Unreached, BadSettings) as error:
        found["why"] = str(error)
    return {**found, "followed": followed}


def _own_status(places: Places, name: str) -> dict[str, Any]:
    here: list[dict[str, Any]] = []
    with suppress(Stopped, OSError), Spool(places, name) as spool:
        here = [summarize_head(tip.head, tip.text) for tip in read_heads(spool)]
    revision = load_revision(places, name)
    return {"store": None, "here": here, "settings": {"number": revision.number, "hash": revision.hash}}


def _add_store(access: StoreAccess, found: dict[str, Any]) -> None:
    with access.connect() as connection, connection.read_transaction():
        for name, each in found["customers"].items():
            head = rows.read_head(connection, name).head
            text = rows.read_list(connection, name, head.list) if head else None
            each["store"] = head and summarize_head(head, text or b"")
        seen = connection.ask(_RELAYS)
        found["relays"] = {name: {"role": role, "release": release, "seen": when} for name, role, release, when in seen}
        found["reached"] = True


def summarize_head(head: Head, text: bytes) -> dict[str, Any]:
    """Return a head as plain JSON for people and for `inv`."""
    held = head.held or {}
    return {
        "point": head.point,
        "list": head.list,
        "total": text.count(b"\n"),
        "accepted": dict(head.accepted.domains),
        "held": str(held.get("list", "")),
        "since": held.get("since", 0),
        "frozen": (head.frozen.by or "somebody") if head.frozen else "",
        "settings": head.settings.number,
        "kind": head.kind,
        "by": head.by,
    }


def export_heads(spool: Spool) -> dict[str, Any]:
    """Return what this relay has of a customer, with the lists."""
    tips = prepare(spool, int(time.time()))
    every = [
        {"head": encode_head(tip.head), "list": base64.b64encode(zlib.compress(tip.text, 1)).decode()} for tip in tips
    ]
    return {"customer": spool.customer, "heads": every}


def merge_heads(access: StoreAccess, spool: Spool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge another relay's heads with this one's; an upload relay writes one on top. Raises Refused, Busy."""
    now, mine = int(time.time()), load_revision(spool.places, spool.customer)
    taken = [take_given(tip, mine, now) for tip in _read_given(spool.customer, given)]
    prepare(spool, now)
    if access.settings.is_upload_relay:
        return _publish(access, spool, write(access, spool, None, given=taken))
    with spool.hold_lock(), locks.hold_settings(spool.places):
        own, settings = read_heads(spool), load_settings(spool.places, spool.customer)
        publish_heads(spool, settings, [*own, *find_unknown(own, taken)], News(), now)
    return {"point": "", "total": spool.summarize_in_force().total}


def forget_heads(access: StoreAccess, spool: Spool, removing: int | None) -> dict[str, Any]:
    """Replace this relay's heads by the store's head.

    Raises RefusedWith, with who would go, unless their number is given; Busy.
    """
    own = prepare(spool, int(time.time()))
    with access.connect() as connection, connection.read_transaction():
        found = rows.read_head(connection, spool.customer)
        here = find_list(spool, found.head.list) if found.head else None
        store, wrong = rows.tip_of(connection, spool.customer, found, here)
        news = rows.read_news(connection, spool, store.head) if store else News()
    if store is None:
        raise Refused(wrong)
    going = sorted(unite(own).recipients - store.recipients)
    if removing != len(going):
        raise RefusedWith(f"{len(going)} would be removed by it: --removing {len(going)}", {"going": going})
    with spool.hold_lock(), locks.hold_settings(spool.places):
        if _points(read_heads(spool)) != _points(own):  # others would go than those who were counted
            raise Busy("this relay's list has changed just now; look again and ask again")
        publish_heads(spool, load_settings(spool.places, spool.customer), [store], news, int(time.time()))
    return {"going": going, "point": store.head.point}


def _points(tips: Iterable[Tip]) -> list[str]:
    return [tip.head.point for tip in tips]


def open_domains(access: StoreAccess, spool: Spool, domains: Iterable[str], by: str) -> dict[str, Any]:
    """Remove the accepted dates of domains from the head, so that every relay opens them. Raises Busy."""
    access.check_upload_relay()
    asked = frozenset(domains)
    prepare(spool, int(time.time()))
    return {
        **_publish(access, spool, write(access, spool, partial(_with_open_domains, asked, by))),
        "opened": sorted(asked),
    }


def _with_open_domains(domains: frozenset[str], by: str, base: Tip) -> Change:
    head = base.head._replace(accepted=base.head.accepted.without(domains))
    entry = LogEntry(upload_log.new_id(), int(time.time()), "opened", head.list, head.list, by=by)
    return Change(head, base.text, "open", entry, by, is_judgement=False)


def _publish(access: StoreAccess, spool: Spool, written: WriteResult) -> dict[str, Any]:
    publish(access, spool, written.tip, written.news)
    total = written.tip.text.count(b"\n") if written.tip else 0
    return {"point": written.tip.head.point if written.tip else "", "total": total}


def _read_given(customer: str, given: Mapping[str, Any]) -> list[Tip]:
    if given.get("customer") != customer:
        raise Refused(f"what another relay printed is not of {customer}")
    try:
        return [_read_tip(each) for each in given["heads"][:_HEADS]]
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise Refused(f"what another relay printed cannot be used: {error}") from error


def _read_tip(given: Mapping[str, str]) -> Tip:
    head = decode_head(given["head"])
    text = zlib.decompressobj().decompress(base64.b64decode(given["list"], validate=True), list_file.LIMIT)
    if list_file.digest(text) != head.list:
        raise ValueError("a list is not what its head says")
    list_file.decode_recipients(text)  # ValueError for what is no list
    return Tip(head, text)
