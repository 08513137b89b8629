"""What concerns the inventory alone: check, list, init, and the host keys it pins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import inventory
from commands import screen
from commands.fleet import Refused
from deploy.ssh import fetch_host_keys, fingerprint
from inventory import Inventory, words
from inventory.keys import trust as pin
from inventory.model import Relay, Ssh
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
    """Show the host keys that a relay, or a customer's server, offers, ask, and pin them."""
    where = inventory.where()
    codes = [_trust(where, one, yes) for one in _machines(inventory.load(where), name)]
    return report.worst(codes)


class _Machine(NamedTuple):
    """What is to be trusted."""

    name: str
    place: Relay | Ssh
    pinned: tuple[str, ...]


def _machines(everything: Inventory, name: str) -> Iterator[_Machine]:
    """Find the relay of that name, the server of the customer of that name, or both."""
    customers = {id_: one for id_, one in everything.customers.items() if one.exchange.reach == "ssh"}
    if name not in customers or name in everything.relays:
        relay = inventory.find_relay(everything, name)
        yield _Machine(name, relay, relay.host_keys)
    if customer := customers.get(name):
        yield _Machine(f"{name}'s server {customer.exchange.server}", customer.exchange.ssh, customer.host_keys)


def _trust(where: Path, machine: _Machine, yes: bool) -> int:
    place = machine.place
    offered = fetch_host_keys(str(place.address), user=place.user, port=place.port)
    rows = [(key.split()[0], fingerprint(key), _standing(key, machine.pinned)) for key in offered]
    screen.table(("type", "fingerprint", "standing"), rows)
    for key in set(machine.pinned) - set(offered):
        screen.note(f"pinned until now and no longer offered: {key.split()[0]} {fingerprint(key)}")
    if set(offered) == set(machine.pinned):
        screen.say(f"{machine.name}: nothing to change")
        return report.DONE
    if not (yes or screen.agreed(f"pin these for {machine.name}?")):
        raise Refused("nothing recorded" + ("" if screen.can_ask() else "; say --yes where no question can be asked"))
    pin(where, place, offered)
    screen.say(f"{machine.name}: {len(offered)} host keys pinned in {where / 'known_hosts'}")
    return report.DONE


def _standing(key: str, pinned: tuple[str, ...]) -> str:
    if key in pinned:
        return "pinned"
    return "NEW, and others are pinned" if pinned else "new"
