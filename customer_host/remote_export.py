"""Run the export of a server that is reached over SSH, now; followed line by line, with an exit code at its end."""

from __future__ import annotations

import re
from collections.abc import Callable

from common import exit_codes
from console import terminal
from customer_host import customer_host
from customer_host.export_progress import ExportProgress
from deploy.posix_host import PosixHost
from deploy.windows import run_as_system
from deploy.windows.host import Windows
from inventory.model import Customer
from roles.customer_host import task_name

_LOOKED = re.compile(r": only looked: [0-9]+ recipients \(\+([0-9]+) -([0-9]+)\)")
"""How a relay's answer to a look begins, as receiver.outcome writes it."""


def run_export(customer: Customer, look: bool, as_json: bool) -> int:
    """Run the customer's export, or a dry run of it; return the batch's exit code, the worst of all relays.

    Raises HostError when the server cannot be asked.
    """
    with customer_host.connect_server(customer) as machine:
        progress = ExportProgress(machine.name, quiet=as_json)
        ended = _run(machine, customer, ["look"] if look else [], progress.add)
        progress.finish()
    code = exit_codes.worst([ended])
    if look and code == exit_codes.DONE and any(map(_would_change, progress.lines)):
        code = exit_codes.PENDING
    if as_json:
        terminal.print_document({machine.name: {"code": code, "lines": progress.lines}})
    return code


def _would_change(line: str) -> bool:
    """Return whether a relay says in this line that it only looked, and that somebody would come or go."""
    looked = _LOOKED.search(line)
    return looked is not None and looked.groups() != ("0", "0")


def _run(machine: Windows | PosixHost, customer: Customer, words: list[str], hear: Callable[[bytes], None]) -> int:
    if isinstance(machine, PosixHost):
        return machine.run(f"{machine.folder}/runexport.sh", *words, hear=hear).code
    return run_as_system.run_task(machine, task_name(customer), " ".join(["runexport.bat", *words]), hear)
