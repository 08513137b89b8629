"""List the customers of the inventory."""

from __future__ import annotations

import inventory
from common import exit_codes
from console import terminal


def list_customers(as_json: bool) -> int:
    """List who there is."""
    customers = inventory.load(inventory.inventory_path()).customers.values()
    if as_json:
        terminal.document([one.model_dump(mode="json", exclude={"keys"}, by_alias=True) for one in customers])
        return exit_codes.DONE
    rows = [
        (customer.id, customer.name, " ".join(customer.domains), " ".join(customer.relays), customer.exchange.source)
        for customer in customers
    ]
    terminal.table(("customer", "name", "domains", "relays", "source"), rows)
    return exit_codes.DONE
