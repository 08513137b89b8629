"""The parsing step alone, on this machine."""

from __future__ import annotations

from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import read_file
from fleet.relay_cli import CustomerRelays
from receiver.formatting import sort_by_count
from receiver.upload import formats, stream
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import filter_export
from roles import relay as relay_role


def parse(file: str, customer: str) -> int:
    """Do the parsing step here: what the relay would list, and why it would leave out the rest."""
    if not customer:
        raise Refused("which customer's? --customer CUSTOMER; `inv list` shows them")
    settings = relay_role.settings(CustomerRelays.of(customer).customer)
    try:
        choice = filter_export(formats.read(stream.strip_end_mark(read_file(file), required=False), settings), settings)
    except BadExport as error:
        raise Refused(f"{file}: {error}") from None
    terminal.print_lines(f"{address} OK" for address in sorted(choice.recipients))
    reasons = ", ".join(f"{count} {reason}" for reason, count in sort_by_count(choice.left_out))
    for note in choice.notes:
        terminal.note(note)
    terminal.note(f"{len(choice.recipients)} recipients; left out {sum(choice.left_out.values())}: {reasons or 'none'}")
    return exit_codes.DONE
