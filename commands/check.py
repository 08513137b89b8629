"""Check every file of the inventory."""

from __future__ import annotations

from pathlib import Path

import inventory
from common import exit_codes
from console import terminal
from console.grouping import name_some
from receiver.formatting import count


def check(as_json: bool) -> int:
    """Check every file of the inventory. Raises InventoryError with all faults."""
    where = inventory.inventory_path()
    if as_json:
        return _print_document(where)
    everything = inventory.load(where)
    relays, customers = everything.relays, everything.customers
    domains = sum(len(customer.domains) for customer in customers.values())
    counted = (count(len(customers), "customer"), count(domains, "domain"), count(len(relays), "relay"))
    terminal.say(f"{where}: {', '.join(counted)}: no fault")
    if backups := inventory.list_backups(where):
        terminal.note(f"customers/: editors' backups, which are no customers: {name_some(backups)}")
    return exit_codes.DONE


def _print_document(where: Path) -> int:
    """Print what is wrong as JSON, and what is there as far as it can be read. Raises InventoryError."""
    everything = inventory.load(where, ())
    faults = [dict(zip(("place", "text"), fault.partition(": ")[::2], strict=True)) for fault in everything.faults]
    counts = {"customers": len(everything.customers), "relays": len(everything.relays)}
    domains = sum(len(customer.domains) for customer in everything.customers.values())
    terminal.print_document({"inventory": str(where), **counts, "domains": domains, "faults": faults})
    return exit_codes.REFUSED if faults else exit_codes.DONE
