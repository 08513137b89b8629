"""An upload on a relay that uses the store: judged within its transaction, published once that has committed."""

from __future__ import annotations

import time
from functools import partial

from common.settings import BadSettings, Settings, load_settings
from receiver.formatting import escape
from receiver.lists import list_file, removed_addresses
from receiver.lists.accepted import InForce
from receiver.lists.held import ListFreeze
from receiver.lists.removed_addresses import Removal
from receiver.lists.spool import LastExport, Spool
from receiver.outcome import Busy, Origin, Outcome, Refused
from receiver.store.access import StoreAccess
from receiver.store.head import Head, Tip
from receiver.store.in_force import News
from receiver.store.merge import unite
from receiver.store.transaction import Change, make_fallback, prepare, publish, write
from receiver.upload import judgement
from receiver.upload.judgement import Before, Judgement, judge_export
from receiver.upload.recipient_filter import FilteredExport


def take_export(
    access: StoreAccess, settings: Settings, filtered: FilteredExport, spool: Spool, origin: Origin
) -> tuple[Outcome, frozenset[str]]:
    """Judge a list in the store and publish the result; return the outcome and whom it added here.

    If the store does not take part, or it is unclear whether it did, this relay adds and opens what the list adds and
    opens, removes nobody, and returns the outcome of a busy relay. Raises Refused on a follower.
    """
    if not access.settings.is_upload_relay:
        raise Refused("this relay follows the store and takes no uploads; send to the upload relays")
    own = prepare(spool, origin.when)
    fallback = _find_fallback(settings, filtered, spool, own, origin)
    made: list[Judgement] = []
    try:
        written = write(access, spool, partial(_act, settings, filtered, spool, origin, made), fallback)
    except (Busy, BadSettings) as error:
        return _fall_back(access, spool, origin, fallback, str(error))
    done = publish(access, spool, written.tip, written.news)
    outcome = made[-1].outcome
    return outcome, done.added


def _fall_back(
    access: StoreAccess, spool: Spool, origin: Origin, fallback: Tip | None, why: str
) -> tuple[Outcome, frozenset[str]]:
    access.step("own-add")
    access.note(spool.customer, f"an upload could not be judged: {why}; what it adds is in force on this relay alone")
    added = frozenset[str]()
    if fallback:
        added = publish(access, spool, fallback, News()).added
    total = spool.summarize_in_force().total
    told = f"{why}; {len(added)} added on this relay, nobody removed; try again later"
    return Outcome(spool.customer, "busy", origin, total=total, added=len(added), why=told), added


def _act(
    settings: Settings, filtered: FilteredExport, spool: Spool, origin: Origin, made: list[Judgement], base: Tip
) -> Change:
    if load_settings(spool.places, spool.customer) != settings:
        raise Busy("this relay was provisioned meanwhile")
    judged = judge_export(settings, filtered, before_of(spool, base, origin.when), origin, int(time.time()))
    made.append(judged)
    return change_of(base, judged, filtered, origin)


def before_of(spool: Spool, base: Tip, now: int) -> Before:
    """Return what a list is judged against, where the store keeps what is in force."""
    head = base.head
    in_force = InForce(base.text, base.recipients, head.accepted)
    known = removed_addresses.read_removals(spool.folder, now)
    kept = {name: Removal(now, entry, is_brought_back=True) for name, entry in head.kept.items()}
    ended = {name: known[name]._replace(is_brought_back=False) for name in removed_addresses.find_brought_back(known)}
    last = judgement.find_last_accept(spool, now)
    before = Before(in_force, head.accepted.counts, {**known, **ended, **kept}, last)
    before = before._replace(takes_plus=bool(head.export.plus_addresses))
    if head.frozen is None:
        return before
    if not head.frozen.is_merged:
        return before._replace(frozen=ListFreeze(head.frozen.since, head.frozen.by, head.frozen.to))
    who = escape(head.frozen.by) or "somebody"
    return before._replace(reasons=(f"frozen by {who} on one side of a merge: `resume` or `rollback` ends it",))


def change_of(base: Tip, judged: Judgement, filtered: FilteredExport, origin: Origin) -> Change:
    """Return what the store is to have once a list has been judged."""
    export = LastExport(tuple(sorted(filtered.open_domains)), filtered.plus_addresses)
    head, decision = base.head._replace(export=export), judged.decision
    if judged.held:
        since = base.head.held["since"] if base.head.held and base.head.held["reasons"] else judged.held.since
        head = head._replace(held=judged.held._replace(since=since).fields())
    elif decision:
        head = head._replace(held=None, review="")
    held = judged.text if judged.held else b""
    if decision is None:
        head = head._replace(accepted=judged.accepted.without(filtered.open_domains))
        return Change(head, base.text, "held", judged.entry, held=held)
    kept = {name: entry for name, entry in head.kept.items() if name in decision.recipients}
    head = head._replace(accepted=decision.accepted, kept=kept)
    removed = base.recipients - decision.recipients
    removals = dict.fromkeys(removed, Removal(origin.when, judged.entry.entry, bool(decision.by)))
    return Change(head, decision.text, "held" if judged.held else "upload", judged.entry, decision.by, held, removals)


def _find_fallback(
    settings: Settings, filtered: FilteredExport, spool: Spool, own: tuple[Tip, ...], origin: Origin
) -> Tip | None:
    """Return this relay's fallback; None where the upload adds and opens nothing here, or there is no list here yet."""
    if not own:
        return None
    base = unite(own)
    judged = judge_export(settings, filtered, before_of(spool, base, origin.when), origin, int(time.time()))
    may_add = judged.decision is not None and filtered.recipients <= judged.decision.recipients
    recipients = base.recipients | (filtered.recipients if may_add else frozenset())
    head = _with_open_domains(base.head, filtered)
    if recipients == base.recipients and head == base.head:
        return None
    text = base.text if recipients == base.recipients else list_file.encode_recipients(recipients)
    return make_fallback(own, head, text, int(time.time()))


def _with_open_domains(head: Head, filtered: FilteredExport) -> Head:
    domains = tuple(sorted({*head.export.open_domains, *filtered.open_domains}))
    plus = True if filtered.plus_addresses else head.export.plus_addresses
    return head._replace(accepted=head.accepted.without(filtered.open_domains), export=LastExport(domains, plus))
