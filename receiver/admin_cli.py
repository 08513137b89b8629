"""postern: the program for people, over the admin connection or at the relay itself. No key line names it.

Started as root it becomes account `postern` before it touches a spool; nobody else but that account may start it.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import time
from collections.abc import MutableMapping

from common.exit_codes import DONE
from common.paths import Places
from common.settings import BadSettings, list_customers, load_settings
from receiver import store_cli
from receiver.actions import report
from receiver.admin_arguments import parse_arguments
from receiver.admin_verbs import VERBS, AdminCall, print_record
from receiver.lists.spool import Spool
from receiver.monitoring import call_logs
from receiver.monitoring.log_files import OpenedLogs
from receiver.outcome import Answer, Origin, Refused, Stopped, outcome_of_error
from receiver.system import account, process_limits
from receiver.tables_client import Tables
from receiver.timer import run_timer
from receiver.views.report import report_lines

_READ_LOGS = ("tick", "review", "accept", "refusals", "explain")  # the verbs for which root opens the mail logs


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
    owner = account.find_account()
    if os.geteuid() == owner.uid:
        return None
    if os.geteuid() != 0:
        raise Refused(f"only root and account {account.NAME} may use this: sudo postern ...")
    logs = call_logs.open_logs(places) if reads_logs else None
    os.setgroups([owner.gid])
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    return logs


def _end(answer: Answer, asked: argparse.Namespace) -> int:
    return answer.write(asked.json or (asked.verb == "hand-over" and answer.code == DONE))


def _answer(call: AdminCall) -> Answer:
    try:
        if call.asked.verb == "tick":
            return run_timer(call.places, call.tables, call.origin.when, call.logs)
        if call.asked.verb == "report":
            return print_record(report.report_customers(call.places, call.origin.when), report_lines)
        _check_customer(call.places, call.asked.customer)
        settings = load_settings(call.places, call.asked.customer)
        with Spool(call.places, call.asked.customer) as spool:
            return VERBS[call.asked.verb](call, settings, spool)
    except (Stopped, BadSettings, OSError) as error:
        return Answer.to(outcome_of_error(call.asked.customer, call.origin, error))


def _check_customer(places: Places, customer: str) -> None:
    names = list_customers(places)
    if customer not in names:
        near = difflib.get_close_matches(customer, names, n=1)
        raise Refused("no such customer on this relay" + (f"; did you mean {near[0]!r}?" if near else ""))
