"""What concerns the inventory alone: check, list, init, and the host keys it pins."""

from __future__ import annotations

import inventory
from commands import screen
from commands.fleet import Refused
from deploy.ssh import fetch_host_keys, fingerprint
from inventory import words
from inventory.keys import trust as pin
from receiver import report
from templates import render


def check() -> int:
    """Check every file of the inventory. Raises InventoryError with all faults."""
    where = inventory.where()
    relays, customers = inventory.load(where)
    domains = sum(len(customer.domains) for customer in customers.values())
    screen.say(f"{where}: {len(customers)} customers, {domains} domains, {len(relays)} relays: no fault")
    return report.DONE


def list_customers(as_json: bool) -> int:
    """List who there is."""
    customers = inventory.load(inventory.where()).customers.values()
    if as_json:
        screen.document([one.model_dump(mode="json", exclude={"keys"}, by_alias=True) for one in customers])
        return report.DONE
    rows = [
        (customer.id, customer.name, " ".join(customer.domains), " ".join(customer.relays), customer.exchange.source)
        for customer in customers
    ]
    screen.table(("customer", "name", "domains", "relays", "source"), rows)
    return report.DONE


def init(customer: str) -> int:
    """Write a customer file to fill in; never over one that is there."""
    where = inventory.where()
    place = where / "customers" / f"{customer}.toml"
    try:
        words.name(customer)
        text = render("inventory/customer.toml.j2", customer=customer, relays=inventory.relay_names(where))
        place.parent.mkdir(exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except ValueError as error:
        raise Refused(f"'{customer}' cannot be an id: it {error}") from None
    except FileExistsError:
        raise Refused(f"{place} is there already; edit it, or choose another id") from None
    screen.say(f"{place} written: fill it in, then `inv check`")
    return report.DONE


def trust(name: str, yes: bool) -> int:
    """Show the host keys a relay offers, ask, and pin them."""
    where = inventory.where()
    relay = inventory.find_relay(inventory.load(where), name)
    offered = fetch_host_keys(relay.address, user=relay.user, port=relay.port)
    rows = [(key.split()[0], fingerprint(key), _standing(key, relay.host_keys)) for key in offered]
    screen.table(("type", "fingerprint", "standing"), rows)
    for key in set(relay.host_keys) - set(offered):
        screen.note(f"pinned until now and no longer offered: {key.split()[0]} {fingerprint(key)}")
    if set(offered) == set(relay.host_keys):
        screen.say(f"{name}: nothing to change")
        return report.DONE
    if not (yes or screen.agreed(f"pin these for {name}?")):
        raise Refused("nothing recorded; say --yes where no question can be asked")
    pin(where, relay, offered)
    screen.say(f"{name}: {len(offered)} host keys pinned in {where / 'known_hosts'}")
    return report.DONE


def _standing(key: str, pinned: tuple[str, ...]) -> str:
    if key in pinned:
        return "pinned"
    return "NEW, and others are pinned" if pinned else "new"
