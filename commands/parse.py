"""The parsing step alone, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import exit_codes
from common.settings import MEGABYTE, Settings
from console import terminal
from console.errors import Refused
from console.options import read_file
from deploy.plan import HostError
from fleet.relay_cli import CustomerRelays
from receiver import filter_cli
from receiver.formatting import count, name_left_out, sort_by_count
from roles import relay as relay_role


def parse(file: str, customer: str, as_json: bool) -> int:
    """Parse an export on this machine; print what the relay would list, and why it would leave out the rest.

    Raises Refused, and HostError where it needs more than a relay gives it.
    """
    if not customer:
        raise Refused("which customer's? --customer CUSTOMER; `inv list` shows them")
    answer = _filter_bounded(relay_role.settings(CustomerRelays.of(customer).customer), file)
    if as_json:
        terminal.print_document(answer)
        return exit_codes.DONE
    terminal.print_lines(f"{address} OK" for address in answer["recipients"])
    reasons = ", ".join(f"{count} {reason}" for reason, count in sort_by_count(answer["left_out"]))
    for note in answer["notes"]:
        terminal.note(note)
    total = sum(answer["left_out"].values())
    terminal.note(f"{count(len(answer['recipients']), 'recipient')}; left out {total}: {reasons or 'none'}")
    for line in name_left_out(answer["named"]):
        terminal.note(line)
    return exit_codes.DONE


def _filter_bounded(settings: Settings, file: str) -> Any:
    """Return the filtered export, made by a process with a relay's limits. Raises Refused, HostError."""
    export = read_file(file)
    if len(export) > settings.max_megabytes * MEGABYTE:
        why = "which is max_megabytes in the customer's file"
        raise Refused(f"{file}: the export is larger than {settings.max_megabytes} MB, {why}")
    argv, here = [sys.executable, "-m", filter_cli.__name__], Path(filter_cli.__file__).parent.parent
    done = subprocess.run(
        argv, input=filter_cli.encode_request(settings, export), capture_output=True, cwd=here, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise HostError(f"{file}: the process that reads it ended with {done.returncode} and no answer") from None
    if done.returncode == exit_codes.REFUSED:
        raise Refused(f"{file}: {answer['why']}")
    if done.returncode:
        raise HostError(f"{file}: {answer['why']}")
    return answer
