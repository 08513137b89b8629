"""What each verb of `postern` does, once its customer, settings and spool are known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from common.exit_codes import DONE
from common.paths import Places
from common.settings import Settings
from common.spool_files import most_bytes
from receiver.actions import adopt, copy_list, review
from receiver.actions.accept import AcceptOrder, Witness, accept_held
from receiver.actions.bring_back import bring_back
from receiver.actions.copy_list import ExportedLists
from receiver.actions.explain import explain, find_addresses
from receiver.actions.merge_list import MergeOptions, look_at_merge, merge_list
from receiver.actions.open_domains import open_domains
from receiver.actions.rehearse import rehearse
from receiver.actions.resume import resume_uploads
from receiver.actions.rollback import ListChoice, preview_rollback, roll_back
from receiver.lists import history, publishing, review_record, upload_log
from receiver.lists.review_record import BadRecord, MailSeen, Numbers
from receiver.lists.spool import Spool
from receiver.monitoring import call_logs
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.next_hop import NextHop
from receiver.monitoring.status import Status
from receiver.outcome import Answer, Busy, Origin, Outcome, Refused, log_outcome
from receiver.store.access import load_access
from receiver.store.shared_change import (
    PersonDecision,
    hold_shared,
    make_done_check,
    run_anyway,
    run_shared,
    share_review,
)
from receiver.system import process_limits
from receiver.system.checked_json import decode_json
from receiver.tables_client import Tables
from receiver.upload import receive
from receiver.upload.pipeline import recover
from receiver.views.explain import explain_lines, find_lines
from receiver.views.history import difference_lines, history_lines
from receiver.views.refusals import refusal_lines
from receiver.views.rehearse import rehearse_lines
from receiver.views.review import review_lines
from receiver.views.rollback import rollback_lines
from receiver.views.status import status_lines

_DECISIONS = ("adopt", "accept", "rollback", "resume", "open", "merge-list")  # made in the store first
_NOTE = 5.0  # seconds that the lock is tried for noting that a list was reviewed


class AdminCall(NamedTuple):
    """One call of `postern`."""

    places: Places
    tables: Tables
    asked: argparse.Namespace
    origin: Origin
    logs: OpenedLogs | None


def print_record(record: dict[str, Any], view: Callable[[dict[str, Any]], list[str]]) -> Answer:
    """Return the answer that shows a record: as `--json` has it, and for people as a view words it."""
    return Answer.done(view(record), **record)


def _run_change(call: AdminCall, spool: Spool, run: Callable[[], Outcome]) -> Answer:
    if publishing.read_unfinished(spool):  # the list that this run is asked about may be in no table yet
        recover(spool, call.tables)
    outcome = receive.run_recorded(spool, call.origin, _through_store(call, spool, run))
    log_outcome(outcome)
    return Answer.to(outcome)


def _through_store(call: AdminCall, spool: Spool, run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Return what makes a person's decision in the store first, where there is one."""
    access = load_access(call.places)
    if access is None or call.asked.verb not in _DECISIONS:
        return run
    name = getattr(call.asked, "list", "") or ""
    if call.asked.verb == "adopt":
        return partial(hold_shared, access, spool, call.origin.by, run)
    decided = PersonDecision(call.asked.verb, call.origin)
    if call.asked.verb == "open" or (call.asked.verb == "merge-list" and not call.asked.exact):
        return partial(run_anyway, access, spool, decided, run)
    return partial(run_shared, access, spool, decided, run, make_done_check(spool, call.asked.verb, name))


def _offer(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    process_limits.limit_resources(settings)
    look = call.asked.look
    return _run_change(
        call, spool, partial(receive.receive_stdin, settings, spool, call.origin, call.tables, look=look, marked=False)
    )


def _adopt(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    given = adopt.read_adopted(sys.stdin.buffer.read(adopt.LIMIT), settings)
    return _run_change(call, spool, partial(adopt.hold_adopted, settings, spool, given, call.origin, call.tables))


def _review(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    if spool.read_held() is None:
        return print_record(review.make_empty_record(spool.customer), review_lines)
    found = review.review_held(spool, settings, call.origin.when)
    seen = call_logs.read_on(call.places, call.logs, call.origin.when).seen_mail(spool.customer, call.origin.when)
    with spool.hold_lock(_NOTE):  # what cannot be noted cannot be accepted
        record = review.note_review(spool, found, seen)
    had_mail, people = sorted(found.mail_refused(seen.mail)), found.recipients - {*settings.include}
    next_hop = NextHop.of(call.places, settings, call.logs).describe(had_mail, people) if had_mail else ""
    return print_record(
        {**found.as_json(spool.customer, spool.read_freeze(), record), "next_hop": next_hop}, review_lines
    )


def _record_review(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    try:
        record = review_record.decode_record(sys.stdin.buffer.read(review_record.LIMIT))
    except BadRecord as error:
        raise Refused(str(error)) from error
    with spool.hold_lock(_NOTE):
        review_record.store_record(spool.folder, record)
    access, unshared = load_access(call.places), ""
    if access and access.settings.is_upload_relay:
        try:
            share_review(access, spool, record, call.origin.by)
        except Busy as error:  # it is recorded here, and on every other relay that was asked
            unshared = str(error)
    return Answer.done([], customer=spool.customer, list=record.list, unshared=unshared)


def _refusals(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    watch = call_logs.read_on(call.places, call.logs, call.origin.when)
    return print_record(watch.record(spool.customer, call.origin.when), refusal_lines)


def _explain(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    watched = call_logs.read_on(call.places, call.logs, call.origin.when).customers.get(spool.customer)
    found = explain(spool, settings, call.asked.address, call.tables, watched, call.origin.when)
    return print_record({"customer": spool.customer, **found}, explain_lines)


def _find(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    found = find_addresses(spool, settings, call.asked.pattern)
    return print_record({"customer": spool.customer, **found}, find_lines)


def _accept(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    asked = call.asked
    if not asked.list:
        raise Refused(f"which list? `review {spool.customer}` names it: --list HASH")
    numbers = Numbers(*(getattr(asked, name) for name in Numbers._fields))
    order = AcceptOrder(numbers, asked.list, call.origin.by, asked.log_incomplete, asked.dry_run)
    seen = call_logs.read_on(call.places, call.logs, call.origin.when).seen_mail(spool.customer, call.origin.when)
    if asked.mail:
        seen = seen._replace(mail=review_record.unite_mail([seen.mail, _read_mail(spool.customer)]))
    witness = Witness(seen, NextHop.of(call.places, settings, call.logs).ask)
    if order.look:
        return Answer.to(accept_held(spool, order, witness, call.tables))
    return _run_change(call, spool, partial(accept_held, spool, order, witness, call.tables))


def _read_mail(customer: str) -> dict[str, MailSeen]:
    """Read who had mail on any relay of the customer. Raises Refused."""
    try:
        return review_record.decode_mail(decode_json(sys.stdin.buffer.read(review_record.LIMIT)))
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(f"who had mail on the relays of {customer} cannot be read: {type(error).__name__}") from error


def _rollback(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    asked = call.asked
    if asked.entry:
        run = partial(bring_back, spool, asked.entry, call.origin, call.tables, look=asked.dry_run)
        return Answer.to(run()) if asked.dry_run else _run_change(call, spool, run)
    which = ListChoice(asked.list or "", asked.to)
    if asked.dry_run:
        return print_record(preview_rollback(spool, which), rollback_lines)
    return _run_change(call, spool, partial(roll_back, spool, which, asked.removing, call.origin, call.tables))


def _resume(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    return _run_change(call, spool, partial(resume_uploads, spool, call.origin, call.tables))


def _open(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    return _run_change(call, spool, partial(open_domains, spool, call.origin, call.tables))


def _history(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    if call.asked.diff is not None:
        found = {"customer": spool.customer, **history.read_difference(spool.folder, call.asked.diff)}
        return print_record(found, difference_lines)
    frozen = spool.read_freeze()
    found = {"history": history.read_records(spool.folder), "pinned": frozen and frozen._asdict()}
    found["log"] = upload_log.removal_records(spool.folder)
    return print_record({"customer": spool.customer, **found}, history_lines)


def _rehearse(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    found = rehearse(upload_log.read_entries(spool.folder), settings, dict(call.asked.guard))
    return print_record({"customer": spool.customer, **found}, rehearse_lines)


def _status(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    return print_record(Status.of(spool, settings, call.origin.when).record(), status_lines)


def _hand_over(_: AdminCall, __: Settings, spool: Spool) -> Answer:
    return Answer(DONE, [], copy_list.export_lists(spool))


def _read_given(call: AdminCall, settings: Settings, spool: Spool) -> tuple[ExportedLists, ...]:
    most = most_bytes(settings.max_recipients)
    return copy_list.read_exported(sys.stdin.buffer.read(copy_list.LIMIT + 1), spool.customer, call.origin.when, most)


def _take_over(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    givens = _read_given(call, settings, spool)
    return _run_change(call, spool, partial(copy_list.import_lists, spool, givens, call.origin, call.tables))


def _merge_list(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    given = _read_given(call, settings, spool)[0]
    options = MergeOptions(call.asked.exact, call.asked.removing, call.asked.look)
    if not options.look:
        return _run_change(call, spool, partial(merge_list, spool, given, options, call.origin, call.tables))
    merge = look_at_merge(spool, given, options)
    answer = Answer.to(merge.outcome(spool.customer, call.origin, look=True))
    return answer._replace(record={**answer.record, "changes": merge.changes, "leaving": sorted(merge.going)})


VERBS: Mapping[str, Callable[[AdminCall, Settings, Spool], Answer]] = {
    "offer": _offer,
    "adopt": _adopt,
    "review": _review,
    "record-review": _record_review,
    "accept": _accept,
    "rollback": _rollback,
    "resume": _resume,
    "open": _open,
    "rehearse": _rehearse,
    "history": _history,
    "status": _status,
    "refusals": _refusals,
    "explain": _explain,
    "find": _find,
    "hand-over": _hand_over,
    "take-over": _take_over,
    "merge-list": _merge_list,
}
