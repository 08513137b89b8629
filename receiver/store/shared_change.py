"""A person's decision on an upload relay: made on top of the store's state, and committed there before it takes effect.

The decision is made by the same code as without a store. This relay takes the store's head first. The customer's row is
locked when the decision is published, and if another head has come meanwhile, nothing is changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from receiver.formatting import escape
from receiver.lists import list_file, removed_addresses, upload_log
from receiver.lists.publishing import Decision
from receiver.lists.removed_addresses import Removal
from receiver.lists.review_record import ReviewRecord, encode_record
from receiver.lists.spool import Spool
from receiver.outcome import Busy, Origin, Outcome, Refused
from receiver.store.access import StoreAccess
from receiver.store.connection import Unreached
from receiver.store.follow import follow_customer
from receiver.store.head import Freeze, Head, Tip
from receiver.store.merge import unite
from receiver.store.relay_heads import read_heads, write_heads
from receiver.store.transaction import Change, make_fallback, prepare, publish, write

_TRIES = 3  # where another relay writes in between
DONE_ALREADY = "done already"


class PersonDecision(NamedTuple):
    """A person's decision, and who made it."""

    kind: str  # accept, rollback, bring back, resume
    origin: Origin

    @property
    def by(self) -> str:
        """Return who asked."""
        return self.origin.by


class HeadChanged(Busy):
    """Another relay has written the customer's head since this one took it."""

    def __init__(self) -> None:
        """Set the sentence that the operator reads."""
        super().__init__("the list in force has changed just now; look again and ask again")


def run_shared(
    access: StoreAccess, spool: Spool, decided: PersonDecision, run: Callable[[], Outcome], is_done: Callable[[], bool]
) -> Outcome:
    """Run an action whose decisions go to the store first.

    `is_done` says, once this relay has the store's list, that another relay has taken the decision already: a person
    asks all upload relays at once. Raises Busy where the store does not take part, Refused.
    """
    for _ in range(_TRIES - 1):
        with suppress(HeadChanged):
            return _run_once(access, spool, decided, run, is_done)
    return _run_once(access, spool, decided, run, is_done)


def _run_once(
    access: StoreAccess, spool: Spool, decided: PersonDecision, run: Callable[[], Outcome], is_done: Callable[[], bool]
) -> Outcome:
    tip = take_head(access, spool)
    if is_done():
        return Outcome(
            spool.customer, "unchanged", decided.origin, total=spool.summarize_in_force().total, notes=(DONE_ALREADY,)
        )
    spool.commit = partial(_commit, access, spool, decided, tip)
    try:
        outcome = run()
    finally:
        spool.commit = None
    if decided.kind == "resume":
        write_spool_state(access, spool, decided)
    return outcome


def run_anyway(access: StoreAccess, spool: Spool, decided: PersonDecision, run: Callable[[], Outcome]) -> Outcome:
    """Run what only adds and opens: in the store, or where that does not take part, on this relay alone.

    The store learns later what was done here.
    """
    with suppress(Busy, Refused):
        return run_shared(access, spool, decided, run, lambda: False)
    outcome, now = run(), int(time.time())
    own = prepare(spool, now)
    base = unite(own)
    opened = base.head.accepted.domains.keys() - spool.read_accepted().domains.keys()
    recipients = base.recipients | spool.read_in_force().recipients
    if opened or recipients != base.recipients:
        head = base.head._replace(accepted=base.head.accepted.without(opened))
        fallback = make_fallback(own, head, list_file.encode_recipients(recipients), now)
        with spool.hold_lock():
            write_heads(spool, [fallback])
        access.note(spool.customer, f"{decided.kind} by {escape(decided.by)} could not be written to the store yet")
    return outcome


def hold_shared(access: StoreAccess, spool: Spool, by: str, run: Callable[[], Outcome]) -> Outcome:
    """Run an action that holds a list, and hold it in the store too. Raises Busy, Refused on a follower."""
    access.check_upload_relay()
    prepare(spool, int(time.time()))
    outcome = run()
    written = write(access, spool, partial(_with_held, spool, by))
    publish(access, spool, written.tip, written.news)
    return outcome


def _with_held(spool: Spool, by: str, base: Tip) -> Change | None:
    waits = spool.summarize_held()
    if waits is None:
        return None
    head = base.head._replace(held=waits.fields())
    entry = upload_log.LogEntry(upload_log.new_id(), int(time.time()), "held", waits.list, by=by)
    text = list_file.encode_recipients(base.recipients | spool.read_in_force().recipients)
    return Change(head, text, "held", entry, by, _held_text(spool, head))


def share_review(access: StoreAccess, spool: Spool, record: ReviewRecord, by: str) -> None:
    """Write the review of the held list into the store, for upload relays that were not asked. Raises Busy."""
    prepare(spool, int(time.time()))
    written = write(access, spool, partial(_with_review, encode_record(record), by))
    publish(access, spool, written.tip, written.news)


def _with_review(record: bytes, by: str, base: Tip) -> Change | None:
    if not base.head.held:
        return None
    head = base.head._replace(review=list_file.digest(record))
    entry = upload_log.LogEntry(upload_log.new_id(), int(time.time()), "reviewed", head.list, head.list, by=by)
    return Change(head, base.text, "merge", entry, by, review=record, is_judgement=False)


def take_head(access: StoreAccess, spool: Spool) -> Tip:
    """Put the store's state in force here and return its head. Raises Busy, and Refused on a follower."""
    access.check_upload_relay()
    wrong: dict[str, str] = {}
    with access.connect() as connection:
        follow_customer(access, connection, spool, wrong)
    tips = read_heads(spool)
    if len(tips) != 1 or wrong:
        raise Unreached(wrong.get(spool.customer) or "the store has no list of this customer; try again in a minute")
    return tips[0]


def make_done_check(spool: Spool, verb: str, name: str) -> Callable[[], bool]:
    """Return a function that tells, once this relay has the store's list, whether another took the same decision.

    This is called before that, because what this relay holds now is what the person has seen. `name`: the list asked
    for.
    """
    waits = spool.summarize_held()
    if verb == "accept":
        return partial(_was_accepted, spool, {name, waits.list} if waits else {name})
    if verb == "rollback" and name:
        return partial(_was_rolled_back, spool, name)
    if verb == "resume" and spool.read_freeze():
        return lambda: spool.read_freeze() is None
    return lambda: False


def _was_accepted(spool: Spool, names: Collection[str]) -> bool:
    """Return whether one of these lists is the one accepted last, or the log has that a person accepted it."""
    every = (entry.list for entry in upload_log.read_entries(spool.folder) if entry.accepted_by)
    return spool.summarize_held() is None and (
        spool.read_accepted().list in names or any(name in names for name in every)
    )


def _was_rolled_back(spool: Spool, name: str) -> bool:
    """Return whether a list that was rolled back to is in force, and no merge alone keeps it there."""
    frozen = unite(read_heads(spool)).head.frozen
    is_named = frozen is not None and not frozen.is_merged and frozen.to.startswith(name)
    return is_named and frozen is not None and spool.summarize_in_force().list == frozen.to


def write_spool_state(access: StoreAccess, spool: Spool, decided: PersonDecision) -> None:
    """Write the spool's state after a resume: nothing is frozen, and which list waits. Raises Busy."""
    written = write(access, spool, partial(_change_of_spool, spool, decided))
    if written.tip:
        with spool.hold_lock():
            write_heads(spool, [written.tip])


def _commit(access: StoreAccess, spool: Spool, decided: PersonDecision, seen: Tip, decision: Decision) -> None:
    written = write(access, spool, partial(_change_of, spool, decided, seen, decision))
    if written.tip:
        write_heads(spool, [written.tip])


def _change_of(spool: Spool, decided: PersonDecision, seen: Tip, decision: Decision, base: Tip) -> Change:
    if base.head.point != seen.head.point:
        raise HeadChanged
    head = _with_spool_state(spool, base.head)
    if decision.clears:
        head = head._replace(held=None, review="")
    if decision.frozen:
        name = list_file.digest(base.text)
        head = head._replace(frozen=Freeze(decision.frozen.by, decision.frozen.since, decision.frozen.list, name))
    if decided.kind == "resume":
        head = head._replace(frozen=None)
    head = head._replace(accepted=decision.accepted, kept=_brought_back(spool, head, decision))
    entry = decision.entry or upload_log.LogEntry(upload_log.new_id(), int(time.time()), decided.kind, head.list)
    removal = Removal(entry.when, entry.entry, bool(decision.by))
    removals = dict.fromkeys(base.recipients - decision.recipients, removal)
    held = _held_text(spool, head)
    return Change(head, decision.text, decided.kind, entry, decided.by, held, removals)


def _change_of_spool(spool: Spool, decided: PersonDecision, base: Tip) -> Change:
    if base.head.point not in [tip.head.point for tip in read_heads(spool)]:
        raise HeadChanged
    head = _with_spool_state(spool, base.head)._replace(frozen=None)
    entry = upload_log.LogEntry(upload_log.new_id(), int(time.time()), decided.kind, head.list, by=decided.by)
    return Change(head, base.text, decided.kind, entry, decided.by, _held_text(spool, head), is_judgement=False)


def _with_spool_state(spool: Spool, head: Head) -> Head:
    waits = spool.summarize_held()
    return head._replace(held=waits and waits.fields(), review=head.review if waits else "")


def _held_text(spool: Spool, head: Head) -> bytes:
    held = spool.read_held() if head.held else None
    return list_file.encode_recipients(held.recipients) if held else b""


def _brought_back(spool: Spool, head: Head, decision: Decision) -> dict[str, str]:
    known = removed_addresses.read_removals(spool.folder, int(time.time()))
    back = {name: known[name].entry for name in decision.brings_back if name in known}
    return {name: entry for name, entry in {**head.kept, **back}.items() if name in decision.recipients}
