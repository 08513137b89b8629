"""Judges an offered list against the list in force. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from common.settings import Settings
from receiver.addresses import count_domains
from receiver.formatting import DAY, format_time
from receiver.lists import history, list_file, removed_addresses, upload_log
from receiver.lists.accepted import Accepted, InForce
from receiver.lists.held import Held, ListFreeze
from receiver.lists.publishing import Decision
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import Spool
from receiver.lists.upload_log import GuardInputs, LastAccept, LogEntry
from receiver.outcome import Failed, Origin, Outcome
from receiver.upload.guard import ListsBefore, Verdict, compute_verdict, count_by_domain, describe_earlier_losses
from receiver.upload.recipient_filter import FilteredExport

REFERENCE_DAYS = 7  # for which the guard counts an address that left, unless a person has accepted a list since


class Before(NamedTuple):
    """The state of the spool before a list is judged."""

    in_force: InForce
    counts: Mapping[str, int]  # by domain, of the list that passed or was accepted last
    removals: Mapping[str, Removal]
    last: LastAccept
    frozen: ListFreeze | None = None  # a person has frozen the list
    reasons: tuple[str, ...] = ()  # why a list is held that the guard would let pass
    takes_plus: bool = False  # the last export said that user+tag@ is taken where user@ is


class Judgement(NamedTuple):
    """The result of judging a list."""

    outcome: Outcome
    entry: LogEntry
    added: frozenset[str] = frozenset()
    decision: Decision | None = None  # None: the list in force is frozen
    accepted: Accepted = Accepted()  # while the list is frozen: the dates after this upload
    held: Held | None = None  # the list waits
    text: bytes = b""  # the list that was offered, as it is written


def read_before(settings: Settings, spool: Spool, frozen: ListFreeze | None, now: int) -> Before:
    """Return what this relay's own spool has to judge a list against."""
    in_force = spool.read_in_force()
    removals = removed_addresses.read_removals(spool.folder, now)
    counts, plus = _counts(settings, in_force, spool), bool(spool.read_last_export().plus_addresses)
    return Before(in_force, counts, removals, find_last_accept(spool, now), frozen, takes_plus=plus)


def find_last_accept(spool: Spool, now: int) -> LastAccept:
    """Return since when the guard counts an address that left, and how many were listed then.

    Later additions must not make a loss look small.
    """
    return upload_log.find_last_accept(spool.folder, now - REFERENCE_DAYS * DAY, now)


def judge_export(settings: Settings, filtered: FilteredExport, before: Before, origin: Origin, now: int) -> Judgement:
    """Return what becomes of a list: it passes, is held and only adds, or waits while the list in force is frozen."""
    text, in_force = list_file.encode_recipients(filtered.recipients), before.in_force
    name = list_file.digest(text)
    verdict, inputs = find_verdict(settings, filtered, before, name, now)
    outcome = Outcome(settings.customer, "pinned", origin, total=len(in_force.recipients), offered=name)
    notes = (*filtered.notes, *describe_earlier_losses(inputs, settings))
    outcome = outcome._replace(left_out=filtered.left_out, named=filtered.named, notes=notes, reasons=verdict.reasons)
    held = None
    if before.frozen or verdict.reasons:
        held = Held(
            name, filtered.recipients, origin, origin.when, verdict.reasons, filtered.left_out, named=filtered.named
        )
        held = held._replace(open_domains=tuple(sorted(filtered.open_domains)))
    if before.frozen:
        entry = log_entry(outcome, in_force, inputs)
        accepted = _refresh_accepted(settings, filtered, in_force.accepted, origin, now)
        outcome = outcome._replace(why=format_time(before.frozen.since))
        return Judgement(outcome, entry, accepted=accepted, held=held, text=text)
    after, added = _outcome_of(outcome, in_force.recipients, verdict)
    entry = log_entry(after, in_force, inputs)
    in_force = in_force._replace(accepted=in_force.accepted.unexpired(settings, now))
    decision = _decide(settings, filtered, text, before._replace(in_force=in_force), verdict, after)
    takes_more = bool(filtered.plus_addresses) and not before.takes_plus
    decision = decision._replace(entry=entry, takes_more=takes_more)
    return Judgement(after, entry, added, decision, held=held, text=text)


def find_verdict(
    settings: Settings, filtered: FilteredExport, before: Before, name: str, now: int
) -> tuple[Verdict, GuardInputs]:
    """Return the guard's verdict, but let the list that was accepted last pass where it removes nobody.

    Otherwise that list would be held again every hour. A domain that opened by its age closes only by a review: its
    list is a first one.
    """
    accepted, offered = before.in_force.accepted.unexpired(settings, now), filtered.recipients
    lists = ListsBefore(
        before.in_force.recipients,
        removed_addresses.find_gone_since(before.removals, before.last.when, before.last.later),
        accepted.domains,
        before.counts,
        removed_addresses.find_brought_back(before.removals),
        before.last.counts,
    )
    verdict, inputs = compute_verdict(lists, offered, filtered.open_domains, settings)
    served = {domain for domain, each in inputs.domains.items() if each.listed} - filtered.open_domains
    if name == accepted.list and not inputs.leaving and accepted.domains.keys() >= served:
        verdict = Verdict(offered, frozenset(), ())
    if before.reasons and not verdict.reasons:
        ours = before.in_force.recipients
        verdict = Verdict(ours | offered, ours - offered, before.reasons)
    return verdict, inputs


def log_entry(outcome: Outcome, in_force: InForce, inputs: GuardInputs | None, accepted_by: str = "") -> LogEntry:
    """Return the log entry of a run that replaces, or keeps, the list in force."""
    before = list_file.digest(in_force.text) if in_force.text else ""
    changed = outcome.added or outcome.removed
    name = upload_log.name_step(before, outcome.offered) if changed else upload_log.new_id()
    origin = outcome.origin
    entry = LogEntry(name, origin.when, outcome.did, outcome.offered, before, outcome.total)
    entry = entry._replace(added=outcome.added, removed=outcome.removed, accepted_by=accepted_by, inputs=inputs)
    return entry._replace(key=origin.key, client=origin.client, by=origin.by)


def _decide(
    settings: Settings, filtered: FilteredExport, offered: bytes, before: Before, verdict: Verdict, outcome: Outcome
) -> Decision:
    """Return what is published of an upload; a held upload only adds recipients and opens domains.

    `offered`: its list as it is written.
    """
    in_force = before.in_force
    accepted = in_force.accepted.without(filtered.open_domains)
    if verdict.reasons:
        accepted = accepted._replace(counts=before.counts)
    else:
        accepted = accepted_domains(settings, filtered.recipients, outcome.origin, outcome.offered)
        accepted = accepted.without(filtered.open_domains)
    if verdict.published == in_force.recipients:
        text = in_force.text
    else:
        is_all = verdict.published is filtered.recipients
        text = offered if is_all else list_file.encode_recipients(verdict.published)
    return Decision(verdict.published, text, accepted, outcome.origin, clears=not verdict.reasons)


def accepted_domains(settings: Settings, recipients: frozenset[str], origin: Origin, name: str) -> Accepted:
    """Return what is accepted once this list has passed: the domains it has recipients in, from its upload on."""
    listed = count_domains(recipients)
    domains = {each: origin.when for each in settings.domains if each in listed}
    return Accepted(domains, name, count_by_domain(recipients, settings))


def _refresh_accepted(
    settings: Settings, filtered: FilteredExport, accepted: Accepted, origin: Origin, now: int
) -> Accepted:
    """Return what is accepted after an upload that was judged while the list is frozen.

    Domains in which it has recipients get its date, so that none opens by its age because its list is frozen.
    """
    closed = accepted.unexpired(settings, now).without(filtered.open_domains).domains
    listed = count_domains(filtered.recipients)
    heard = {name: max(when, origin.when) for name, when in closed.items() if name in listed}
    return accepted._replace(domains={**accepted.domains, **heard})


def _counts(settings: Settings, in_force: InForce, spool: Spool) -> Mapping[str, int]:
    """Return the counts of the list that passed or was accepted last. The first release did not write them down.

    If that list is no longer in history, those of the list in force are used, this once.
    """
    accepted, text = in_force.accepted, in_force.text
    if accepted.counts or not accepted.domains:
        return accepted.counts
    for entry in history.read_entries(spool.folder):
        with suppress(Failed):
            if entry.kept.list == accepted.list:
                text = history.read_list(spool.folder, entry.number)
    return count_by_domain(list_file.decode_recipients(text), settings)


def _outcome_of(outcome: Outcome, before: frozenset[str], verdict: Verdict) -> tuple[Outcome, frozenset[str]]:
    after, added = verdict.published, verdict.published - before
    did = "held" if verdict.reasons else "unchanged" if after == before else "published"
    outcome = outcome._replace(did=did, total=len(after), kept_back=len(verdict.kept_back))
    return outcome._replace(added=len(added), removed=len(before - after)), added
