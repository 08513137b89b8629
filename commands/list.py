"""List the customers of the inventory."""

from __future__ import annotations

from console import terminal
from fleet.relays import load_for


def list_customers(as_json: bool) -> int:
    """List who there is; REFUSED where the file of somebody else has faults. Raises InventoryError."""
    everything = load_for("")
    customers = everything.customers.values()
    if as_json:
        terminal.print_document([one.model_dump(mode="json", exclude={"keys"}, by_alias=True) for one in customers])
        return everything.code
    rows = [
        (customer.id, customer.name, " ".join(customer.domains), " ".join(customer.relays), customer.exchange.source)
        for customer in customers
    ]
    terminal.print_table(("customer", "name", "domains", "relays", "source"), rows)
    return everything.code
