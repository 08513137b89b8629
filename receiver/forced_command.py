"""postern-receive: all that a customer's key can start, by `command="postern-receive CUSTOMER KEYNAME"` in its line.

That line alone says who calls. The client may say one of a few words, with or without a kit's number behind it, and
is refused otherwise: no path, option or name is ever taken from it.
"""

from __future__ import annotations

import os
import re
import sys
import syslog
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from common import names
from common.exit_codes import FAILED, REFUSED
from common.paths import Places
from common.settings import BadSettings, Settings, load_settings
from receiver.formatting import escape
from receiver.lists.spool import Spool
from receiver.monitoring.status import Status
from receiver.outcome import Answer, Busy, Origin, Outcome, Stopped, log_outcome, outcome_of_error, write_lines
from receiver.system import locks, process_limits
from receiver.tables_client import Tables
from receiver.upload import receive
from receiver.upload.pipeline import WAIT
from receiver.views.status import customer_lines

_VERBS = ("receive", "look", "status", "")
_INBOX_VERBS = ("collect", "collect-look")  # as receive and look, of customers who have an SFTP inbox
_KIT = re.compile(r"(receive|look|collect|collect-look) kit=([1-9][0-9]{0,5})")
_NOTE = 1.0  # seconds that the lock is tried for noting that a key was seen


class UploadCall(NamedTuple):
    """The customer, key and client of a call, and its verb."""

    customer: str
    origin: Origin
    verb: str
    kit: int = 0  # the number of the kit that sends an export; 0: it names none, or sends none
    wait: float = WAIT  # seconds that its export waits for a place to parse in


def main() -> int:
    """Run one call; return the exit code."""
    return answer_call(Places(), Tables(Places()), sys.argv[1:], os.environ)


def answer_call(
    places: Places,
    tables: Tables,
    arguments: Sequence[str],
    environ: MutableMapping[str, str],
    wait: float = WAIT,
) -> int:
    """Log the call before its input is read, then run it; return the exit code. `wait`: see process_export."""
    client, verb = environ.get("SSH_CONNECTION", "").partition(" ")[0], environ.get("SSH_ORIGINAL_COMMAND", "")
    process_limits.reset_environment(environ)
    process_limits.give_way()
    try:
        customer, key = arguments
        if not names.CUSTOMER.fullmatch(customer) or not names.KEY.fullmatch(key):
            raise ValueError
    except ValueError:
        return _end(FAILED, "this key's line is damaged: it must name a customer and a key; provision this relay again")
    syslog.syslog(f"{customer} key {key} from {escape(client) or 'nowhere'}: {escape(verb) or 'no verb'}")
    kit = 0
    if numbered := _KIT.fullmatch(verb):
        verb, kit = numbered[1], int(numbered[2])
    if verb not in (*_VERBS, *_INBOX_VERBS):
        return _end(REFUSED, _refuse_verb(customer, verb))
    answer = _answer(places, tables, UploadCall(customer, Origin(int(time.time()), key, client), verb, kit, wait))
    return _end(answer.code, *answer.lines)


def _answer(places: Places, tables: Tables, call: UploadCall) -> Answer:
    if not os.path.exists(places.tree(call.customer)):
        why = f"{call.customer} is not set up on this relay, or no longer; remove this job, or ask your mail provider"
        return _log(Outcome(call.customer, "refused", call.origin, why=why))
    try:
        settings = load_settings(places, call.customer)
        with Spool(places, call.customer) as spool, locks.hold_call_slot(places, call.customer):
            process_limits.limit_resources(settings)
            with suppress(Busy, OSError), spool.hold_lock(_NOTE):
                kit = None if call.verb in ("status", "") else call.kit
                spool.note_key(call.origin.key, call.origin.when, kit)
            return _run_verb(settings, spool, tables, call)
    except (Stopped, BadSettings, OSError) as error:
        return _log(outcome_of_error(call.customer, call.origin, error))


def _run_verb(settings: Settings, spool: Spool, tables: Tables, call: UploadCall) -> Answer:
    if not call.verb:
        works = f"{call.customer}: key {call.origin.key} works; it may receive, look and ask for status"
        return Answer.done([works])
    if call.verb == "status":
        return Answer.done(customer_lines(Status.of(spool, settings, call.origin.when).record()))
    if call.verb in _INBOX_VERBS and not settings.drop:
        return Answer(REFUSED, [_refuse_verb(call.customer, call.verb)], {})
    take = receive.receive_inbox if call.verb in _INBOX_VERBS else partial(receive.receive_stdin, marked=True)
    look = call.verb in ("look", "collect-look")
    run = partial(take, settings, spool, call.origin, tables, look=look, wait=call.wait)
    return _log(receive.run_recorded(spool, call.origin, partial(_hold_slot, spool, run)))


def _hold_slot(spool: Spool, run: Callable[[], Outcome]) -> Outcome:
    with locks.hold_upload_slot(spool.places, spool.customer):
        return run()


def _refuse_verb(customer: str, verb: str) -> str:
    return f"{customer}: refused: {escape(verb)} is none of receive, look, status"


def _log(outcome: Outcome) -> Answer:
    log_outcome(outcome)
    return Answer.to(outcome)


def _end(code: int, *lines: str) -> int:
    write_lines(lines)
    return code
