"""Bring a customer's list up to date now: by an export of its server, or from an export file."""

from __future__ import annotations

from console.errors import Refused
from console.options import read_file
from customer_host import remote_export
from fleet import relay_cli
from fleet.relay_cli import CustomerRelays


def sync(customer: str, export_file: str, look: bool, as_json: bool) -> int:
    """Have the server export now, or take an export file through every desk. Raises InventoryError, Refused."""
    place = CustomerRelays.of(customer)
    if not export_file and place.customer.exchange.reach == "ssh":
        return remote_export.run_export(place.customer, look, as_json)
    if not export_file:
        raise Refused(
            f"{customer}'s server is reached by a kit, so it runs the export itself; "
            "--export-file FILE takes an export you have here"
        )
    export = read_file(export_file)
    return relay_cli.print_answers(
        relay_cli.ask_relays(place, "offering to", "offer", *(["--look"] if look else []), stdin=export), as_json
    )
