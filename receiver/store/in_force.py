"""Puts a relay's heads in force: the list from which Postfix's tables are built, and what belongs to it.

A head keeps every address; here the list is cut to the domains of the relay's tree. Every step can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from common.settings import Settings
from common.spool_files import HEADS_IN_FORCE
from receiver.addresses import keep_domains
from receiver.lists import list_file, publishing, removed_addresses, upload_log
from receiver.lists.held import Held, ListFreeze
from receiver.lists.publishing import Decision
from receiver.lists.removed_addresses import Removal
from receiver.lists.review_record import BadRecord, decode_record, load_record, store_record
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Origin
from receiver.store.head import Head, Tip
from receiver.store.merge import newest_settings, unite
from receiver.store.relay_heads import find_list, write_heads
from receiver.system import atomic_files

_LOGGED = 500  # newest entries of the log among which one from the store may be already


class News(NamedTuple):
    """The log entries, the removals, the held list and its review that came with the store's head."""

    log: Mapping[str, LogEntry] = {}  # by point, the oldest first
    removals: Mapping[str, Removal] = {}
    held: bytes = b""  # the held list; empty where it is here already, or none is held
    review: bytes = b""  # the record of its review; empty where it is here already, or there is none


class Published(NamedTuple):
    """The recipients that publishing added and removed."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


def publish_heads(spool: Spool, settings: Settings, tips: Sequence[Tip], news: News, now: int) -> Published:
    """Make these the relay's heads, and put their union in force. The caller holds the customer's lock."""
    publishing.complete_publication(spool)
    wanted = {"heads": [[tip.head.point, _digest_dates(tip.head)] for tip in tips], "domains": list(settings.domains)}
    wanted["settings"] = list(newest_settings(tip.head for tip in tips)[:2]) if tips else [0, ""]
    base = unite(tips)
    made = atomic_files.load_json(spool.folder, HEADS_IN_FORCE)
    if made == wanted and (spool.read_text() or not keep_domains(base.recipients, settings.domains)):
        return Published()
    write_heads(spool, tips)
    done = _put_into_force(spool, settings, base, news, now)
    atomic_files.store_json(spool.folder, HEADS_IN_FORCE, wanted)
    return done


def _digest_dates(head: Head) -> str:
    """Return a digest of all in a head that may change while its point stays."""
    words = [f"{name} {when}" for name, when in sorted(head.accepted.domains.items())]
    return list_file.digest("\n".join((*words, str(head.held), str(head.review), str(head.settings))).encode())


def _put_into_force(spool: Spool, settings: Settings, base: Tip, news: News, now: int) -> Published:
    in_force = spool.read_in_force()
    recipients = keep_domains(base.recipients, settings.domains)
    text = list_file.encode_recipients(recipients)
    domains = {name: when for name, when in base.head.accepted.domains.items() if name in settings.domains}
    accepted = base.head.accepted._replace(domains=domains)
    added, removed = recipients - in_force.recipients, in_force.recipients - recipients
    entry = _entry(base, news, in_force.text, Published(added, removed), now)
    takes_more = bool(base.head.export.plus_addresses) and not spool.read_last_export().plus_addresses
    origin = Origin(entry.when, entry.key, entry.client, entry.by)
    is_logged = bool(added or removed or base.head.point in news.log)  # else newer dates, or a review, of the same list
    logged = entry if is_logged else None
    decision = Decision(recipients, text, accepted, origin, entry.accepted_by, clears=False, entry=logged)
    decision = decision._replace(removals=_removals(spool, base.head, news, now), takes_more=takes_more)
    decision = decision._replace(brings_back=_brought_back(spool, base.head, now))
    _log_others(spool, news, entry)
    publishing.publish(spool, settings, in_force, decision, now)
    spool.store_last_export(base.head.export)
    _freeze(spool, base.head)
    _hold(spool, base.head, news)
    return Published(added, removed)


def _log_others(spool: Spool, news: News, entry: LogEntry) -> None:
    """Write what other relays logged since this one looked last."""
    known = {each.entry for each in islice(upload_log.read_entries(spool.folder), _LOGGED)}
    for each in news.log.values():
        if each.entry != entry.entry and each.entry not in known:
            upload_log.add_entry(spool.folder, each)


def _entry(base: Tip, news: News, before: bytes, done: Published, now: int) -> LogEntry:
    """Return the log entry: the store's of this point; of a merge, and without the store, one of this relay's own."""
    if base.head.point in news.log:
        return news.log[base.head.point]
    old = list_file.digest(before) if before else ""
    name = upload_log.name_step(old, base.head.list) if done.added or done.removed else upload_log.new_id()
    entry = LogEntry(name, now, base.head.kind or "merged", base.head.list, old, base.text.count(b"\n"))
    return entry._replace(added=len(done.added), removed=len(done.removed), by=base.head.by)


def _removals(spool: Spool, head: Head, news: News, now: int) -> dict[str, Removal]:
    """Return who left elsewhere, who is kept until a person accepts that they go, and who no longer is."""
    known = removed_addresses.read_removals(spool.folder, now)
    kept = {
        name: known.get(name, Removal(now, entry))._replace(entry=entry, is_brought_back=True)
        for name, entry in head.kept.items()
    }
    ended = {name: known[name]._replace(is_brought_back=False) for name in removed_addresses.find_brought_back(known)}
    return {**ended, **news.removals, **kept}


def _brought_back(spool: Spool, head: Head, now: int) -> frozenset[str]:
    known = removed_addresses.find_brought_back(removed_addresses.read_removals(spool.folder, now))
    return frozenset(head.kept) if head.kept.keys() - known else frozenset()


def _freeze(spool: Spool, head: Head) -> None:
    if head.frozen is None:
        spool.delete_freeze()
    elif spool.read_freeze() != ListFreeze(head.frozen.since, head.frozen.by, head.frozen.to):
        spool.store_freeze(ListFreeze(head.frozen.since, head.frozen.by, head.frozen.to))


def _hold(spool: Spool, head: Head, news: News) -> None:
    """Hold the list that is held in the store. A follower that has not received that list holds none."""
    if not head.held:
        spool.delete_held()
        return
    with suppress(KeyError, TypeError, ValueError):
        held, waits = Held.read(head.held), spool.summarize_held()
        text = news.held or find_list(spool, held.list) or b""
        if text and (waits is None or waits.fields() != held.fields()):
            spool.store_held(held._replace(recipients=list_file.decode_recipients(text)), text)
    _record_review(spool, news)


def _record_review(spool: Spool, news: News) -> None:
    """Record a review that a person made through another relay, so that it can be accepted here as well."""
    with suppress(BadRecord):
        record = decode_record(news.review) if news.review else None
        if record and record != load_record(spool.folder):
            store_record(spool.folder, record)
