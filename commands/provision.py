"""Bring both ends of the chosen customers to their wanted state."""

from __future__ import annotations

from collections.abc import Sequence

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import ProvisionOptions
from customer_host import customer_host, customer_keys
from customer_host.customer_keys import NewKeys
from fleet.provisioning import provision_customers
from fleet.relays import load_for, select_customers
from inventory.model import Customer


def provision(customer: str, every: bool, options: ProvisionOptions, as_json: bool) -> int:
    """Provision both ends of the selected customers. Raises InventoryError, Refused."""
    where = inventory.inventory_path()
    everything = load_for("" if every else customer)
    customers = select_customers(everything, customer, every)
    if (every or len(customers) > 1) and (options.kit_dir or options.public_key):
        raise Refused("--kit-dir and --public-key are for one customer")
    given = customer_keys.read_given_key(options.public_key, everything, customers)
    _refuse_second_key(customers, given)
    new_keys = NewKeys(where, customer_host.prepare_connect(customers, options.kit_dir), given)
    with terminal.document_alone(as_json):
        result = provision_customers(everything, customers, options, new_keys)
    code = exit_codes.worst([result.code, everything.code])
    if as_json:
        terminal.print_document({"code": code, "relays": result.relays, "customers": result.customers})
    return code


def _refuse_second_key(customers: Sequence[Customer], given: str) -> None:
    for customer in customers:
        if given and customer.keys and given not in {key.public for key in customer.keys}:
            raise Refused(
                f"{customer.id} has a key already, {customer.keys[-1].name}; "
                f"`inv rotate-key {customer.id} --public-key FILE` adds another beside it"
            )
