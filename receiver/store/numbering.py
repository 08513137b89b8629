"""The number that the settings of a customer's trees get in the store, before the first tree changes.

A relay that has the customer's tree writes it on top of what it has. Where it has none, the number is written on top of
the store's head alone: so a customer who comes back has begun anew before any relay can follow what it once had.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from receiver.addresses import domain_of
from receiver.formatting import count
from receiver.lists import list_file, upload_log
from receiver.lists.accepted import Accepted
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Refused
from receiver.store import rows
from receiver.store.access import StoreAccess
from receiver.store.connection import Connection, Unreached
from receiver.store.head import Head, Revision, Tip, date_on_top, new_point, past_of
from receiver.store.merge import NOTHING
from receiver.store.transaction import Change, prepare, publish, write

_KIND = "settings"


class RefusedWith(Refused):
    """A refusal that names what it is about."""

    def __init__(self, text: str, details: Mapping[str, Any]) -> None:
        """Keep the details that the answer has besides the sentence."""
        super().__init__(text)
        self.details = details


class NewSettings(NamedTuple):
    """The settings that provision is about to write into the customer's trees."""

    revision: Revision  # its number is the least that it may get
    removing: tuple[str, ...]  # what may be lost, in provision's words
    domains: tuple[str, ...]
    is_anew: bool  # no relay that was reached has the customer's tree
    is_confirmed: bool  # a list that the store still has of such a customer may be left behind

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> NewSettings:
        """Read it from JSON."""
        holds, removing, domains = (
            tuple(sorted(map(str, given.get(name, ())))) for name in ("holds", "removing", "domains")
        )
        revision = Revision(int(given.get("number", 0)), str(given.get("hash", "")), holds)
        return cls(revision, removing, domains, bool(given.get("anew")), bool(given.get("confirmed")))


def number_settings(access: StoreAccess, customer: str, wanted: NewSettings, by: str) -> dict[str, Any]:
    """Write settings to the store under its next number; return what it has then.

    Raises RefusedWith, Refused on a follower, Busy.
    """
    access.check_upload_relay()
    if not os.path.isdir(access.places.tree(customer)):
        return access.repeat_while_locked(partial(_write_without_tree, customer, wanted, by))
    with Spool(access.places, customer) as spool:
        prepare(spool, int(time.time()))
        written = write(access, spool, partial(_with_settings, wanted, by))
        publish(access, spool, written.tip, written.news)
    return _answer(written.tip.head) if written.tip else {"number": 0}


def _write_without_tree(customer: str, wanted: NewSettings, by: str, connection: Connection) -> dict[str, Any]:
    """Write the settings on top of the store's head; nobody is listed there any more where the customer begins anew."""
    now = int(time.time())
    with connection.write_transaction():
        rows.lock_row(connection, customer)
        base = _base(connection, customer, wanted)
        change = _with_settings(wanted, by, base)
        head = change.head._replace(list=list_file.digest(change.text), kind=change.kind, by=by, point=new_point())
        if base.head.point:
            head = head._replace(past=past_of([base]), date=date_on_top([base], now))
        rows.write_list(connection, customer, head.list, rows.pack_text(change.text))
        rows.write_log(connection, customer, head.point, change.entry)
        rows.write_head(connection, customer, head)
        rows.forget_lists(connection, customer, [head.list, str((head.held or {}).get("list", ""))])
    return _answer(head)


def _base(connection: Connection, customer: str, wanted: NewSettings) -> Tip:
    """Return the head that the number is written on top of. Raises RefusedWith, Unreached."""
    found = rows.read_head(connection, customer)
    if found.head is None:
        return NOTHING
    if not wanted.is_anew:
        tip, wrong = rows.tip_of(connection, customer, found, None)
        if tip is None:
            raise Unreached(wrong)
        return tip
    listed = (rows.read_list(connection, customer, found.head.list) or b"").count(b"\n")
    if listed and not wanted.is_confirmed:
        text = f"the store still has a list of {count(listed, 'recipient')}, and no relay that was reached has its tree"
        raise RefusedWith(text, {"listed": listed, "updated": found.head.date})
    cleared = found.head._replace(accepted=Accepted(), held=None, kept={}, frozen=None)
    return Tip(cleared._replace(settings=cleared.settings._replace(holds=())), b"")


def _with_settings(wanted: NewSettings, by: str, base: Tip) -> Change:
    known = base.head.settings
    lacking = [word for word in known.holds if word not in wanted.revision.holds and not _is_named(word, wanted)]
    if lacking:
        text = f"the store's settings have what these lack: {', '.join(lacking)}; name it by --removing, or pull first"
        raise RefusedWith(text, {"lacking": lacking})
    is_same = known.hash == wanted.revision.hash and known.number >= max(wanted.revision.number, 1)
    number = known.number if is_same else max(known.number + 1, wanted.revision.number)
    accepted = base.head.accepted.without(frozenset(base.head.accepted.domains) - frozenset(wanted.domains))
    head = base.head._replace(settings=wanted.revision._replace(number=number), accepted=accepted)
    entry = LogEntry(upload_log.new_id(), int(time.time()), _KIND, head.list, head.list, by=by)
    return Change(head, base.text, _KIND, entry, by, is_judgement=False)


def _is_named(word: str, wanted: NewSettings) -> bool:
    """Return whether a person named it for removal; a domain that is named covers all that is in it."""
    return word in wanted.removing or f"domain:{domain_of(word.partition(':')[2])}" in wanted.removing


def _answer(head: Head) -> dict[str, Any]:
    return {"point": head.point, "number": head.settings.number}
