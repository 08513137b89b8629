"""Show who was refused, as the relays' mail logs say, or log files on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from common import exit_codes
from console import terminal
from console.errors import Refused
from fleet import relay_cli
from fleet.relay_answers import RelayAnswer, print_answers
from fleet.relay_cli import CustomerRelays
from inventory.model import Customer
from receiver.formatting import escape
from receiver.monitoring.collector import Collector, map_owners
from receiver.monitoring.last_hop import LastHops
from receiver.monitoring.log_content import OpenedFile, open_log
from receiver.monitoring.log_reading import Part, Reading, drop_copies, find_cut_lengths
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.refusals import Refusals
from receiver.views.refusals import file_lines
from roles import relay as relay_role

FIELDS = ("refused", "had_mail", "waiting", "gaps", "unread")
MOST = 100_000  # refused addresses of files that somebody names


def refusals(customer: str, logs: Sequence[str], now: str, as_json: bool) -> int:
    """Show who was refused; from log files where some are named. Raises InventoryError, Refused."""
    scope = CustomerRelays.of(customer)
    if logs:
        return _print_files(scope.customer, logs, _read_time(now), as_json)
    if now:
        raise Refused("--now is for log files without a time of their own: name them with --log FILE")
    answers = relay_cli.ask_relays(scope, "asking", "refusals")
    if as_json:
        answers = {
            name: _documented_fields(answer) if isinstance(answer, RelayAnswer) else answer
            for name, answer in answers.items()
        }
    return print_answers(answers, as_json)


def _documented_fields(said: RelayAnswer) -> RelayAnswer:
    """Return the documented fields alone of what a relay says; why it says nothing stays as it is."""
    if said.code != exit_codes.DONE:
        return said
    return said._replace(record={name: said.record.get(name) for name in FIELDS})


def _print_files(customer: Customer, logs: Sequence[str], now: float, as_json: bool) -> int:
    files = [_open_log(path, now) for path in logs]
    try:
        document = _read_files(customer, files)
    finally:
        for file in files:
            os.close(file.descriptor)
    if as_json:
        terminal.print_document(document)
        return exit_codes.DONE
    terminal.say("\n".join(file_lines(customer.id, document)))
    if not any(document[name] for name in ("refused", "had_mail", "waiting")):
        terminal.note(
            f"no line about {', '.join(customer.domains)} is in what was read: are these Postfix's mail logs?"
        )
    if document["gaps"]:
        terminal.note("at least: lines of these files are missing or damaged")
    if document["unread"]:
        terminal.note(f"{document['unread']} lines were not understood: cut, damaged, or not certain")
    return exit_codes.DONE


def _read_files(customer: Customer, files: Sequence[OpenedFile]) -> dict[str, Any]:
    """Read log files as one log, the oldest first, in the documented form."""
    refused, losses = Refusals(MOST), Losses()
    settings = relay_role.settings(customer)
    hops = LastHops(dict.fromkeys(settings.domains, customer.next_hop or ""))
    collector = Collector(map_owners([(settings, refused)]), hops)
    some = [Part(file) for file in drop_copies(files)]
    Reading(MailLog(losses, find_cut_lengths(some)), losses, collector, lambda: False).read(some)
    collector.settle(hops.settle())
    return {**refused.document, "gaps": losses.gaps, "unread": losses.unread}


def _open_log(path: str, now: float) -> OpenedFile:
    """Open a log file; one that does not say when it was written was so now. Raises Refused."""
    try:
        file = open_log(path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or 'is not a plain file'}") from None
    return file if file.written else file._replace(written=now)


def _read_time(text: str) -> float:
    """Read --now: epoch seconds, or YYYY-MM-DD[THH:MM[:SS]] in this machine's own time. Raises Refused."""
    if not text:
        return datetime.now().timestamp()
    try:
        return float(text) if text.isdigit() else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Refused(f"--now {escape(text)}: a time as 2026-11-28T12:00:00, or seconds since 1970") from None
