"""From the bytes of an export to a list in force: the order of things, once, for both front doors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from common.settings import Settings, load_settings
from receiver.addresses import domain_of
from receiver.formatting import NAMED, format_time
from receiver.lists import history, left_out, list_file, publishing, removed_addresses, upload_log
from receiver.lists.publishing import Decision
from receiver.lists.spool import DAY, Accepted, Held, InForce, LastExport, Pin, Spool
from receiver.lists.upload_log import GuardInputs, LogEntry
from receiver.outcome import Busy, Failed, Origin, Outcome
from receiver.system import locks
from receiver.tables_client import Tables
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.guard import ListsBefore, Verdict, counted, describe_earlier_losses, judge_list
from receiver.upload.recipient_filter import FilteredExport, filter_export

REFERENCE_DAYS = 7  # for which the guard counts an address that left, unless a person has accepted a list since
WAIT = 300.0  # seconds for a place to parse in


def process_export(
    settings: Settings, export: bytes, spool: Spool, origin: Origin, tables: Tables, look: bool = False
) -> Outcome:
    """Offer an export without its end mark; a look ends before anything is written.

    Raises Busy, Failed, BadSettings and OSError, and whatever it is, the list in force is the old one or the new one.
    """
    try:
        with locks.hold_parsing_slot(spool.places, spool.customer, WAIT):
            choice = _read_export(settings, export)
        if look:
            return _look(settings, choice, spool, origin)
        with spool.locked(), locks.hold_settings(spool.places):
            current = load_settings(spool.places, spool.customer)
            if current != settings:  # provisioned while we were reading
                choice = _read_export(current, export)
            publishing.complete(spool)
            left_out.write_left_out(spool.folder, choice.own_left_out)
            outcome, added = apply_list(current, choice, spool, origin, spool.pinned())
            spool.record_export(LastExport(tuple(sorted(choice.open_domains)), choice.plus_addresses))
            spool.record(outcome)
    except BadExport as error:
        return record_refusal(spool, origin, error, look)
    return verify_tables(spool, tables, outcome, added)


def record_refusal(spool: Spool, origin: Origin, error: BadExport, look: bool = False) -> Outcome:
    """Say why an export cannot be read, and record it unless it was only a look."""
    outcome = Outcome(spool.customer, "refused", *origin, why=f"{error}; the list in force stays")
    if not look:
        with suppress(Busy), spool.locked():
            spool.record(outcome)
    return outcome


def apply_list(
    settings: Settings, choice: FilteredExport, spool: Spool, origin: Origin, pin: Pin | None
) -> tuple[Outcome, frozenset[str]]:
    """Judge a list and do what follows from it; give also whom it added.

    The caller holds the locks and has finished what was begun.
    """
    in_force, text, now = spool.in_force(), list_file.encode_recipients(choice.recipients), int(time.time())
    name = list_file.digest(text)
    verdict, inputs = _judge(settings, choice, in_force, name, spool, now)
    outcome = Outcome(spool.customer, "pinned", *origin, total=len(in_force.recipients), offered=name)
    notes = (*choice.notes, *describe_earlier_losses(inputs, settings))
    outcome = outcome._replace(left_out=choice.left_out, named=choice.named, notes=notes, reasons=verdict.reasons)
    if pin or verdict.reasons:
        held = Held(name, choice.recipients, origin, origin.when, verdict.reasons, choice.left_out, named=choice.named)
        spool.hold(held._replace(open_domains=tuple(sorted(choice.open_domains))), text)
    if pin:
        spool.accept(_refreshed(settings, choice, in_force.accepted, origin, now))
        upload_log.add_entry(spool.folder, log_entry(outcome, in_force, inputs))
        return outcome._replace(why=format_time(pin.since)), frozenset()
    after, added = _outcome_of(outcome, in_force.recipients, verdict)
    in_force = in_force._replace(accepted=in_force.accepted.unexpired(settings, now))
    decision = _decide(settings, choice, in_force, verdict, spool, after)
    takes_more = bool(choice.plus_addresses) and not spool.last_export().plus_addresses
    decision = decision._replace(entry=log_entry(after, in_force, inputs), takes_more=takes_more)
    publishing.publish(spool, settings, in_force, decision, now)
    return after, added


def log_entry(outcome: Outcome, in_force: InForce, inputs: GuardInputs | None, accepted_by: str = "") -> LogEntry:
    """Return what the log says of a run that replaces, or keeps, the list in force."""
    before = list_file.digest(in_force.text) if in_force.text else ""
    changed = outcome.added or outcome.removed
    name = upload_log.name_step(before, outcome.offered) if changed else upload_log.new_id()
    entry = LogEntry(name, outcome.when, outcome.did, outcome.offered, before, outcome.total)
    entry = entry._replace(added=outcome.added, removed=outcome.removed, accepted_by=accepted_by, inputs=inputs)
    return entry._replace(key=outcome.key, client=outcome.client, by=outcome.by)


def _decide(
    settings: Settings, choice: FilteredExport, in_force: InForce, verdict: Verdict, spool: Spool, outcome: Outcome
) -> Decision:
    """Return what is published of an upload: a held one only adds, and opens what it opens."""
    origin = Origin(outcome.when, outcome.key, outcome.client, outcome.by)
    accepted = in_force.accepted.without(choice.open_domains)
    if verdict.reasons:
        accepted = accepted._replace(counts=_counts(settings, in_force, spool))
    else:
        accepted = accepted_domains(settings, choice.recipients, origin, outcome.offered)
        accepted = accepted.without(choice.open_domains)
    unchanged = verdict.published == in_force.recipients
    text = in_force.text if unchanged else list_file.encode_recipients(verdict.published)
    return Decision(verdict.published, text, accepted, origin, clears=not verdict.reasons)


def accepted_domains(settings: Settings, recipients: frozenset[str], origin: Origin, name: str) -> Accepted:
    """Return what is accepted once this list has passed: the domains it has recipients in, from its upload on."""
    there = _served(recipients)
    domains = {each: origin.when for each in settings.domains if each in there}
    return Accepted(domains, name, counted(recipients, settings))


def _refreshed(settings: Settings, choice: FilteredExport, accepted: Accepted, origin: Origin, now: int) -> Accepted:
    """Return what is accepted after an upload that was judged while the list is frozen.

    Whom it has is heard of: a domain does not open for its age because somebody has frozen its list.
    """
    closed, there = accepted.unexpired(settings, now).without(choice.open_domains).domains, _served(choice.recipients)
    heard = {name: max(when, origin.when) for name, when in closed.items() if name in there}
    return accepted._replace(domains={**accepted.domains, **heard})


def _served(recipients: frozenset[str]) -> frozenset[str]:
    return frozenset(map(domain_of, recipients))


def verify_tables(spool: Spool, tables: Tables, outcome: Outcome, added: Iterable[str]) -> Outcome:
    """Have the tables built and see the list in them, where that is still to be done. The lock is free meanwhile."""
    begun = publishing.read_unverified(spool)
    if begun is None:
        return outcome
    trouble = tables.rebuild_and_verify(spool.customer, added, spool.text())
    if trouble and publishing.read_unverified(spool) != begun:
        return outcome  # another run has published meanwhile, and answers for it
    outcome = outcome._replace(trouble=trouble)
    with suppress(Busy), spool.locked():
        if trouble:
            spool.record(outcome)
        else:
            publishing.mark_verified(spool, begun)
    return outcome


def recover(spool: Spool, tables: Tables) -> None:
    """Do what a killed or failed run left to be done. One that is still at it is left alone."""
    try:
        with spool.locked(0):
            publishing.complete(spool)
    except Busy:
        return
    last = spool.last_run() or Outcome(spool.customer, "unchanged")
    after = verify_tables(spool, tables, last._replace(trouble=""), ())
    if after != last:
        with suppress(Busy), spool.locked():
            spool.record(after)


def _read_export(settings: Settings, export: bytes) -> FilteredExport:
    return filter_export(formats.read(export, settings), settings)


def _judge(
    settings: Settings, choice: FilteredExport, in_force: InForce, name: str, spool: Spool, now: int
) -> tuple[Verdict, GuardInputs]:
    """Judge a list. The one accepted last passes where nobody goes by it: it is not held again every hour.

    A domain that opened for its age closes again by a review alone: its list is a first one.
    """
    accepted, offered = in_force.accepted.unexpired(settings, now), choice.recipients
    removals = removed_addresses.read_removals(spool.folder, now)
    last = upload_log.find_last_accept(spool.folder, now - REFERENCE_DAYS * DAY, now)
    before = ListsBefore(
        in_force.recipients,
        removed_addresses.gone_since(removals, *last),
        accepted.domains,
        _counts(settings, in_force, spool),
        removed_addresses.brought_back(removals),
    )
    verdict, inputs = judge_list(before, offered, choice.open_domains, settings)
    served = _served(offered) - choice.open_domains
    if name == accepted.list and not inputs.leaving and accepted.domains.keys() >= served:
        return Verdict(offered, frozenset(), ()), inputs
    return verdict, inputs


def _counts(settings: Settings, in_force: InForce, spool: Spool) -> Mapping[str, int]:
    """Return the counts of the list that passed or was accepted last. The first release did not write them down.

    Where that list has left history, and held ones have taken its place, the list in force has to do, this once.
    """
    accepted, text = in_force.accepted, in_force.text
    if accepted.counts or not accepted.domains:
        return accepted.counts
    for entry in history.entries(spool.folder):
        with suppress(Failed):
            if entry.kept.list == accepted.list:
                text = history.read_list(spool.folder, entry.number)
    return counted(list_file.decode_recipients(text), settings)


def _outcome_of(outcome: Outcome, before: frozenset[str], verdict: Verdict) -> tuple[Outcome, frozenset[str]]:
    after, added = verdict.published, verdict.published - before
    did = "held" if verdict.reasons else "unchanged" if after == before else "published"
    outcome = outcome._replace(did=did, total=len(after), kept_back=len(verdict.kept_back))
    return outcome._replace(added=len(added), removed=len(before - after)), added


def _look(settings: Settings, choice: FilteredExport, spool: Spool, origin: Origin) -> Outcome:
    """Judge as if it were an upload. Without a lock: what is read is the state before or after another run."""
    in_force, name = spool.in_force(), list_file.digest(list_file.encode_recipients(choice.recipients))
    verdict, inputs = _judge(settings, choice, in_force, name, spool, int(time.time()))
    coming, going = sorted(choice.recipients - in_force.recipients), sorted(in_force.recipients - choice.recipients)
    outcome = Outcome(spool.customer, "looked", *origin, total=len(choice.recipients), offered=name)
    outcome = outcome._replace(added=len(coming), removed=len(going), kept_back=len(verdict.kept_back))
    notes = (*choice.notes, *describe_earlier_losses(inputs, settings))
    outcome = outcome._replace(left_out=choice.left_out, named=choice.named, notes=notes, reasons=verdict.reasons)
    return outcome._replace(coming=tuple(coming[:NAMED]), going=tuple(going[:NAMED]))
