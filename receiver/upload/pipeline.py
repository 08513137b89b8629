"""From the bytes of an export to a list in force: the order of all steps, for a key's call and for `postern`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from common.settings import Settings, load_settings
from receiver.formatting import first_names, format_time
from receiver.lists import left_out, list_file, publishing, upload_log
from receiver.lists.held import ListFreeze
from receiver.lists.spool import LastExport, Spool
from receiver.outcome import Busy, Origin, Outcome
from receiver.store.access import StoreAccess, load_access
from receiver.store.settings import uses_store
from receiver.system import locks
from receiver.tables_client import Tables
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.guard import describe_earlier_losses
from receiver.upload.judgement import find_verdict, judge_export, read_before
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.store_upload import take_export

WAIT = 300.0  # seconds that an export waits for a place to parse in


def process_export(
    settings: Settings,
    export: bytes,
    spool: Spool,
    origin: Origin,
    tables: Tables,
    look: bool = False,
    store: StoreAccess | None = None,
    wait: float = WAIT,
) -> Outcome:
    """Judge an export, without its end mark, and apply it; a dry run ends before anything is written.

    `store`: as the relay's own files say where it is left out. `wait`: seconds for a place to parse in. Raises Busy,
    Failed, BadSettings and OSError, and whatever it is, the list in force is the old one or the new one.
    """
    store = store or load_access(spool.places)
    try:
        with locks.hold_parsing_slot(spool.places, spool.customer, wait):
            filtered = _read_export(settings, export)
        if look:
            return _look(settings, filtered, spool, origin)
        if store:
            current = load_settings(spool.places, spool.customer)
            if current != settings:  # provisioned while we were reading
                settings, filtered = current, _read_export(current, export)
            outcome, added = take_export(store, settings, filtered, spool, origin)
            return _record_and_build(spool, tables, filtered, outcome, added)
        with spool.hold_lock(), locks.hold_settings(spool.places):
            if uses_store(spool.places):
                raise Busy("this relay has come to use a store meanwhile; try again")
            current = load_settings(spool.places, spool.customer)
            if current != settings:  # provisioned while we were reading
                filtered = _read_export(current, export)
            publishing.complete_publication(spool)
            left_out.write_left_out(spool.folder, filtered.own_left_out)
            outcome, added = apply_list(current, filtered, spool, origin, spool.read_freeze())
            spool.store_last_export(LastExport(tuple(sorted(filtered.open_domains)), filtered.plus_addresses))
            spool.store_last_run(outcome)
    except BadExport as error:
        return record_refusal(spool, origin, error, look)
    return build_and_verify_tables(spool, tables, outcome, added)


def _record_and_build(
    spool: Spool, tables: Tables, filtered: FilteredExport, outcome: Outcome, added: Iterable[str]
) -> Outcome:
    with spool.hold_lock():
        left_out.write_left_out(spool.folder, filtered.own_left_out)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, added)


def record_refusal(spool: Spool, origin: Origin, error: BadExport, look: bool = False) -> Outcome:
    """Return the outcome of an export that cannot be read, after recording it unless `look` is set."""
    outcome = Outcome(spool.customer, "refused", origin, why=f"{error}; the list in force stays")
    if not look:
        with suppress(Busy), spool.hold_lock():
            spool.store_last_run(outcome)
    return outcome


def apply_list(
    settings: Settings, filtered: FilteredExport, spool: Spool, origin: Origin, frozen: ListFreeze | None
) -> tuple[Outcome, frozenset[str]]:
    """Judge a list and publish the result; return the outcome and whom it added.

    The caller holds the locks and has finished what was begun.
    """
    now = int(time.time())
    before = read_before(settings, spool, frozen, now)
    judged = judge_export(settings, filtered, before, origin, now)
    if judged.held:
        spool.store_held(judged.held, judged.text)
    if judged.decision:
        publishing.publish(spool, settings, before.in_force, judged.decision, now)
    else:
        spool.store_accepted(judged.accepted)
        upload_log.add_entry(spool.folder, judged.entry)
    return judged.outcome, judged.added


def build_and_verify_tables(spool: Spool, tables: Tables, outcome: Outcome, added: Iterable[str]) -> Outcome:
    """Build the tables and look the list up in them, if that is still to be done. The lock is free meanwhile."""
    begun = publishing.read_unverified(spool)
    if begun is None:
        return outcome
    trouble = tables.rebuild_and_verify(spool.customer, added, spool.read_text())
    if trouble and publishing.read_unverified(spool) != begun:
        return outcome  # another run has published meanwhile, and answers for it
    outcome = outcome._replace(trouble=trouble)
    with suppress(Busy), spool.hold_lock():
        if trouble:
            spool.store_last_run(outcome)
        else:
            publishing.mark_verified(spool, begun)
    return outcome


def recover(spool: Spool, tables: Tables) -> None:
    """Finish what a killed or failed run left to be done. A run that is still working is left alone."""
    try:
        with spool.hold_lock(0):
            publishing.complete_publication(spool)
    except Busy:
        return
    last = spool.read_last_run() or Outcome(spool.customer, "unchanged")
    after = build_and_verify_tables(spool, tables, last._replace(trouble=""), ())
    if after != last:
        with suppress(Busy), spool.hold_lock():
            spool.store_last_run(after)


def _read_export(settings: Settings, export: bytes) -> FilteredExport:
    return filter_export(formats.read(export, settings), settings)


def _look(settings: Settings, filtered: FilteredExport, spool: Spool, origin: Origin) -> Outcome:
    """Return the outcome that an upload would have. Takes no lock: it reads the state before or after another run."""
    now, frozen = int(time.time()), spool.read_freeze()
    before = read_before(settings, spool, frozen, now)
    in_force, name = before.in_force, list_file.digest(list_file.encode_recipients(filtered.recipients))
    verdict, inputs = find_verdict(settings, filtered, before, name, now)
    coming, going = filtered.recipients - in_force.recipients, in_force.recipients - filtered.recipients
    why = format_time(frozen.since) if frozen else ""
    outcome = Outcome(spool.customer, "looked", origin, total=len(filtered.recipients), offered=name, why=why)
    outcome = outcome._replace(added=len(coming), removed=len(going), kept_back=len(verdict.kept_back))
    notes = (*filtered.notes, *describe_earlier_losses(inputs, settings))
    outcome = outcome._replace(left_out=filtered.left_out, named=filtered.named, notes=notes, reasons=verdict.reasons)
    return outcome._replace(coming=first_names(coming), going=first_names(going))
