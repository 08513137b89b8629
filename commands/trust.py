"""Show the host keys that a machine offers, ask, and pin them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import read_file
from deploy.relay_host import fetch_host_keys, fingerprint
from fleet.relays import load_for
from inventory import Inventory, key_records
from inventory.model import Relay, Ssh

_COLUMNS = ("type", "fingerprint", "state")


def trust(name: str, yes: bool, spare: str = "") -> int:
    """Show the host keys that a relay, or a customer's server, offers, ask, and pin them.

    `spare`: a file with host keys that a relay may come to offer, which are pinned beside those it has.
    """
    if not name:
        raise Refused("which machine? Name a relay, or a customer whose server is reached over SSH")
    where = inventory.inventory_path()
    if spare:
        return _pin_spare(where, inventory.find_relay(load_for(name, relay=name), name), spare, yes)
    codes = [_trust(where, one, yes) for one in _machines(load_for(name, relay=name), name)]
    return exit_codes.worst(codes)


class _Machine(NamedTuple):
    """What is to be trusted."""

    name: str
    place: Relay | Ssh
    pinned: tuple[str, ...]
    spare: tuple[str, ...]


def _machines(everything: Inventory, name: str) -> Iterator[_Machine]:
    """Find the relay of that name, the server of the customer of that name, or both."""
    customers = {id_: one for id_, one in everything.customers.items() if one.exchange.reach == "ssh"}
    if name in everything.customers and name not in {**customers, **everything.relays}:
        raise Refused(f"{name}'s server takes a kit and is not reached over SSH (reach in customers/{name}.toml)")
    if name not in customers or name in everything.relays:
        relay = inventory.find_relay(everything, name)
        yield _Machine(name, relay, relay.host_keys, key_records.spare_keys(inventory.inventory_path(), relay))
    if customer := customers.get(name):
        yield _Machine(f"{name}'s server {customer.exchange.server}", customer.exchange.ssh, customer.host_keys, ())


def _trust(where: Path, machine: _Machine, yes: bool) -> int:
    place = machine.place
    offered = fetch_host_keys(str(place.address), user=place.user, port=place.port)
    terminal.table(_COLUMNS, [_row(key, _standing(key, machine)) for key in offered])
    for key in set(machine.pinned) - set(offered) - set(machine.spare):
        terminal.note(f"pinned until now and no longer offered: {key.split()[0]} {fingerprint(key)}")
    if set(offered) == set(machine.pinned) - set(machine.spare):
        terminal.say(f"{machine.name}: nothing to change")
        return exit_codes.DONE
    if not (yes or terminal.ask_yes(f"pin these for {machine.name}?")):
        raise Refused("nothing recorded" + ("" if terminal.can_ask() else "; say --yes where no question can be asked"))
    key_records.trust(where, place, offered)
    terminal.say(f"{machine.name}: {len(offered)} host keys pinned in {where / 'known_hosts'}")
    return exit_codes.DONE


def _standing(key: str, machine: _Machine) -> str:
    if key in machine.spare:
        return "pinned as a spare"
    if key in machine.pinned:
        return "pinned"
    return "NEW, and others are pinned" if machine.pinned else "new"


def _row(key: str, state: str) -> tuple[str, str, str]:
    return key.split()[0], fingerprint(key), state


def _pin_spare(where: Path, relay: Relay, file: str, yes: bool) -> int:
    """Pin host keys that a relay may come to offer: they are in every kit that is written from then on."""
    try:
        keys = key_records.read_host_keys(read_file(file).decode("utf-8", "replace"))
    except ValueError as error:
        raise Refused(f"{file}: {error}") from None
    terminal.table(_COLUMNS, [_row(key, "pinned" if key in relay.host_keys else "spare") for key in keys])
    new = [key for key in keys if key not in relay.host_keys]
    if not new:
        terminal.say(f"{relay.name}: nothing to change")
        return exit_codes.DONE
    if not (yes or terminal.ask_yes(f"pin these for {relay.name} beside those it has?")):
        raise Refused("nothing recorded" + ("" if terminal.can_ask() else "; say --yes where no question can be asked"))
    key_records.pin_spare(where, relay, new)
    terminal.say(
        f"{relay.name}: {len(new)} spare host keys pinned in {where / 'known_hosts'}; `inv provision --all` puts them "
        "into the kits, `inv kits` says who must carry one"
    )
    return exit_codes.DONE
