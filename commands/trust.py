"""Show the host keys that a machine offers, ask, and pin them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.relay_host import fetch_host_keys, fingerprint
from fleet.relays import load_for
from inventory import Inventory
from inventory.key_records import trust as pin
from inventory.model import Relay, Ssh


def trust(name: str, yes: bool) -> int:
    """Show the host keys that a relay, or a customer's server, offers, ask, and pin them."""
    if not name:
        raise Refused("which machine? Name a relay, or a customer whose server is reached over SSH")
    where = inventory.inventory_path()
    codes = [_trust(where, one, yes) for one in _machines(load_for(name, relay=name), name)]
    return exit_codes.worst(codes)


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
    terminal.table(("type", "fingerprint", "state"), rows)
    for key in set(machine.pinned) - set(offered):
        terminal.note(f"pinned until now and no longer offered: {key.split()[0]} {fingerprint(key)}")
    if set(offered) == set(machine.pinned):
        terminal.say(f"{machine.name}: nothing to change")
        return exit_codes.DONE
    if not (yes or terminal.ask_yes(f"pin these for {machine.name}?")):
        raise Refused("nothing recorded" + ("" if terminal.can_ask() else "; say --yes where no question can be asked"))
    pin(where, place, offered)
    terminal.say(f"{machine.name}: {len(offered)} host keys pinned in {where / 'known_hosts'}")
    return exit_codes.DONE


def _standing(key: str, pinned: tuple[str, ...]) -> str:
    if key in pinned:
        return "pinned"
    return "NEW, and others are pinned" if pinned else "new"
