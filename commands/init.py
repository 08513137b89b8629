"""Write a customer file to fill in."""

from __future__ import annotations

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from inventory import validators
from templates import render


def init(customer: str) -> int:
    """Write a customer file to fill in; never over one that is there."""
    where = inventory.inventory_path()
    place = where / "customers" / f"{customer}.toml"
    try:
        validators.name(customer)
        text = render("inventory/customer.toml.j2", customer=customer, relays=inventory.relay_names(where))
        place.parent.mkdir(exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except ValueError as error:
        raise Refused(f"'{customer}' cannot be an id: it {error}") from None
    except FileExistsError:
        raise Refused(f"{place} is there already; edit it, or choose another id") from None
    terminal.say(f"{place} written: fill it in, then `inv check`")
    return exit_codes.DONE
