"""postern: the program for people, over the admin connection or at the relay itself. No key line names it.

Started as root it becomes account `postern` before it touches a spool; nobody else but that account may start it.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, NamedTuple

from common.exit_codes import DONE
from common.paths import Places
from common.settings import BadSettings, Settings, load_settings
from common.spool_files import most_bytes
from receiver import store_cli
from receiver.actions import adopt, copy_list, report, review
from receiver.actions.accept import AcceptOrder, Witness, accept_held
from receiver.actions.bring_back import bring_back
from receiver.actions.copy_list import ExportedLists
from receiver.actions.explain import explain, find_addresses
from receiver.actions.merge_list import MergeOptions, look_at_merge, merge_list
from receiver.actions.open_domains import open_domains
from receiver.actions.rehearse import rehearse
from receiver.actions.resume import resume_uploads
from receiver.actions.rollback import ListChoice, preview_rollback, roll_back
from receiver.admin_arguments import parse_arguments
from receiver.lists import history, publishing, review_record, upload_log
from receiver.lists.review_record import BadRecord, MailSeen, Numbers
from receiver.lists.spool import Spool
from receiver.monitoring import call_logs
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.next_hop import NextHop
from receiver.monitoring.status import Status
from receiver.outcome import (
    Answer,
    Busy,
    Origin,
    Outcome,
    Refused,
    Stopped,
    log_outcome,
    outcome_of_error,
)
from receiver.store.shared_change import PersonDecision, done_check, hold_shared, run_anyway, run_shared, share_review
from receiver.store.transaction import load_access
from receiver.system import account, process_limits
from receiver.system.checked_json import decode_json
from receiver.tables_client import Tables
from receiver.timer import run_timer
from receiver.upload import receive
from receiver.upload.pipeline import recover
from receiver.views.explain import explain_lines, find_lines
from receiver.views.history import difference_lines, history_lines
from receiver.views.refusals import refusal_lines
from receiver.views.rehearse import rehearse_lines
from receiver.views.report import report_lines
from receiver.views.review import review_lines
from receiver.views.rollback import rollback_lines
from receiver.views.status import status_lines

_READ_LOGS = ("tick", "review", "accept", "refusals", "explain")  # the verbs for which root opens the mail logs
_DECISIONS = ("adopt", "accept", "rollback", "resume", "open", "merge-list")  # made in the store first
_NOTE = 5.0  # seconds that the lock is tried for noting that a list was reviewed


class AdminCall(NamedTuple):
    """One call of `postern`."""

    places: Places
    tables: Tables
    asked: argparse.Namespace
    origin: Origin
    logs: OpenedLogs | None


def main() -> int:
    """Run one call; return the exit code."""
    places = Places()
    if sys.argv[1:2] and sys.argv[1] in store_cli.WORDS:
        return _answer_store(places)
    asked = parse_arguments(sys.argv[1:])
    try:
        logs = _become_postern(places, asked.verb in _READ_LOGS)
    except (Stopped, BadSettings) as error:
        return _end(Answer.to(outcome_of_error(asked.customer, Origin(0), error)), asked)
    return answer_call(places, Tables(places), asked, os.environ, logs)


def _answer_store(places: Places) -> int:
    asked = store_cli.parse_arguments(sys.argv[1:])
    try:
        _become_postern(places, reads_logs=False)
    except Stopped as error:
        return Answer.to(outcome_of_error("postern", Origin(0), error)).write(asked.json)
    by = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or account.NAME
    process_limits.reset_environment(os.environ)
    return store_cli.answer_call(places, Tables(places), asked, by, sys.stdin.buffer).write(asked.json)


def answer_call(
    places: Places,
    tables: Tables,
    asked: argparse.Namespace,
    environ: MutableMapping[str, str],
    logs: OpenedLogs | None,
) -> int:
    """Run one call as the account; return the exit code."""
    by = environ.get("SUDO_USER") or environ.get("LOGNAME") or account.NAME
    if operator := getattr(asked, "operator", ""):
        by = f"{operator} as {by}"
    client = environ.get("SSH_CONNECTION", "").partition(" ")[0]
    process_limits.reset_environment(environ)
    call = AdminCall(places, tables, asked, Origin(int(time.time()), client=client, by=by), logs)
    return _end(_answer(call), asked)


def _become_postern(places: Places, reads_logs: bool) -> OpenedLogs | None:
    """Switch from root to the account for good, after opening the mail logs, which only root may open.

    Returns None where no log is needed.
    """
    theirs = account.find_account()
    if os.geteuid() == theirs.uid:
        return None
    if os.geteuid() != 0:
        raise Refused(f"only root and account {account.NAME} may use this: sudo postern ...")
    logs = call_logs.open_logs(places) if reads_logs else None
    os.setgroups([theirs.gid])
    os.setresgid(theirs.gid, theirs.gid, theirs.gid)
    os.setresuid(theirs.uid, theirs.uid, theirs.uid)
    return logs


def _end(answer: Answer, asked: argparse.Namespace) -> int:
    return answer.write(asked.json or (asked.verb == "hand-over" and answer.code == DONE))


def _answer(call: AdminCall) -> Answer:
    try:
        if call.asked.verb == "tick":
            return run_timer(call.places, call.tables, call.origin.when, call.logs)
        if call.asked.verb == "report":
            return _print_record(report.report_customers(call.places, call.origin.when), report_lines)
        _check_customer(call.places, call.asked.customer)
        settings = load_settings(call.places, call.asked.customer)
        with Spool(call.places, call.asked.customer) as spool:
            return _VERBS[call.asked.verb](call, settings, spool)
    except (Stopped, BadSettings, OSError) as error:
        return Answer.to(outcome_of_error(call.asked.customer, call.origin, error))


def _print_record(record: dict[str, Any], view: Callable[[dict[str, Any]], list[str]]) -> Answer:
    return Answer.done(view(record), **record)


def _check_customer(places: Places, customer: str) -> None:
    there = sorted(name for name in os.listdir(os.path.join(places.etc, "customers")) if not name.startswith("."))
    if customer not in there:
        near = difflib.get_close_matches(customer, there, n=1)
        raise Refused("no such customer on this relay" + (f"; did you mean {near[0]!r}?" if near else ""))


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
    return partial(run_shared, access, spool, decided, run, done_check(spool, call.asked.verb, name))


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
    if spool.held() is None:
        return _print_record(review.nothing_held(spool.customer), review_lines)
    found = review.review_held(spool, settings, call.origin.when)
    seen = call_logs.read_on(call.places, call.logs, call.origin.when).seen_mail(spool.customer, call.origin.when)
    with spool.locked(_NOTE):  # what cannot be noted cannot be accepted
        record = review.note_review(spool, found, seen)
    had_mail, people = sorted(found.mail_refused(seen.mail)), found.recipients - {*settings.include}
    next_hop = NextHop.of(call.places, settings, call.logs).describe(had_mail, people) if had_mail else ""
    return _print_record({**found.as_json(spool.customer, spool.frozen(), record), "next_hop": next_hop}, review_lines)


def _record_review(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    try:
        record = review_record.decode_record(sys.stdin.buffer.read(review_record.LIMIT))
    except BadRecord as error:
        raise Refused(str(error)) from error
    with spool.locked(_NOTE):
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
    return _print_record(watch.record(spool.customer, call.origin.when), refusal_lines)


def _explain(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    watched = call_logs.read_on(call.places, call.logs, call.origin.when).customers.get(spool.customer)
    found = explain(spool, settings, call.asked.address, call.tables, watched, call.origin.when)
    return _print_record({"customer": spool.customer, **found}, explain_lines)


def _find(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    found = find_addresses(spool, settings, call.asked.pattern)
    return _print_record({"customer": spool.customer, **found}, find_lines)


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
        return _print_record(preview_rollback(spool, which), rollback_lines)
    return _run_change(call, spool, partial(roll_back, spool, which, asked.removing, call.origin, call.tables))


def _resume(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    return _run_change(call, spool, partial(resume_uploads, spool, call.origin, call.tables))


def _open(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    return _run_change(call, spool, partial(open_domains, spool, call.origin, call.tables))


def _history(call: AdminCall, _: Settings, spool: Spool) -> Answer:
    if call.asked.diff is not None:
        found = {"customer": spool.customer, **history.difference(spool.folder, call.asked.diff)}
        return _print_record(found, difference_lines)
    frozen = spool.frozen()
    found = {"history": history.records(spool.folder), "pinned": frozen and frozen._asdict()}
    found["log"] = upload_log.removal_records(spool.folder)
    return _print_record({"customer": spool.customer, **found}, history_lines)


def _rehearse(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    found = rehearse(upload_log.read_entries(spool.folder), settings, dict(call.asked.guard))
    return _print_record({"customer": spool.customer, **found}, rehearse_lines)


def _status(call: AdminCall, settings: Settings, spool: Spool) -> Answer:
    return _print_record(Status.of(spool, settings, call.origin.when).record(), status_lines)


def _hand_over(_: AdminCall, __: Settings, spool: Spool) -> Answer:
    return Answer(DONE, [], copy_list.export_lists(spool))


def _read_given(call: AdminCall, settings: Settings, spool: Spool) -> tuple[ExportedLists, ...]:
    most = most_bytes(settings.max_recipients)
    return copy_list.read(sys.stdin.buffer.read(copy_list.LIMIT + 1), spool.customer, call.origin.when, most)


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


_VERBS: Mapping[str, Callable[[AdminCall, Settings, Spool], Answer]] = {
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
