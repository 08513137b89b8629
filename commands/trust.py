"""Show the host keys that a machine offers, ask, and pin them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import read_file
from deploy.connection import fetch_host_keys
from deploy.key_formats import fingerprint
from fleet.relays import load_for
from inventory import Inventory, key_records
from inventory.exchange import Ssh
from inventory.model import Relay
from receiver.formatting import count

Pin: TypeAlias = Callable[[Sequence[str]], object]
_COLUMNS = ("type", "fingerprint", "state")


class Found(NamedTuple):
    """The host keys of a machine with the state of each, those to be pinned, and those that are no longer offered."""

    states: Mapping[str, str]
    new: Sequence[str]  # empty: nothing is to be recorded
    gone: Sequence[str] = ()  # pinned until now and no longer offered


def trust(name: str, yes: bool, spare: str, as_json: bool) -> int:
    """Show the host keys that a relay, or a customer's server, offers, ask, and pin them.

    `spare`: a file with host keys that a relay may come to offer, which are pinned beside those it has. `as_json`:
    nobody is asked; without `yes` it only looks.
    """
    if not name:
        raise Refused("which machine? Name a relay, or a customer whose server is reached over SSH")
    where, everything = inventory.inventory_path(), load_for(name, relay=name)
    if spare:
        relay = inventory.find_relay(everything, name)
        found = {relay.name: _find_spare(relay, spare)}
        pin = {relay.name: partial(key_records.pin_spare, where, relay)}
    else:
        machines = {one.name: one for one in _machines(everything, name)}
        found = {name: _find_offered(one) for name, one in machines.items()}
        pin = {name: partial(key_records.trust, where, one.place) for name, one in machines.items()}
    if as_json:
        return _print_document(found, pin, yes)
    for name, each in found.items():
        _show_and_ask(name, each, yes, pin[name], bool(spare))
    return exit_codes.DONE


class _Machine(NamedTuple):
    """A relay, or a customer's server that is reached over SSH."""

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


def _find_offered(machine: _Machine) -> Found:
    """Return the host keys that a machine offers. Raises HostError."""
    place = machine.place
    offered = fetch_host_keys(str(place.address), user=place.user, port=place.port)
    states = {key: _describe_key(key, machine) for key in offered}
    is_known = set(offered) == set(machine.pinned) - set(machine.spare)
    gone = [key for key in machine.pinned if key not in offered and key not in machine.spare]
    return Found(states, [] if is_known else offered, gone)


def _find_spare(relay: Relay, file: str) -> Found:
    """Read host keys that a relay may come to offer. Raises Refused."""
    try:
        keys = key_records.read_host_keys(read_file(file).decode("utf-8", "replace"))
    except ValueError as error:
        raise Refused(f"{file}: {error}") from None
    states = {key: "pinned" if key in relay.host_keys else "spare" for key in keys}
    return Found(states, [key for key in keys if key not in relay.host_keys])


def _describe_key(key: str, machine: _Machine) -> str:
    if key in machine.spare:
        return "pinned as a spare"
    if key in machine.pinned:
        return "pinned"
    return "NEW, and others are pinned" if machine.pinned else "new"


def _show_and_ask(name: str, found: Found, yes: bool, pin: Pin, is_spare: bool) -> None:
    """Print the keys, and pin those that are new once somebody has said yes. Raises Refused."""
    terminal.print_table(_COLUMNS, [(key.split()[0], fingerprint(key), state) for key, state in found.states.items()])
    for key in found.gone:
        terminal.note(f"pinned until now and no longer offered: {key.split()[0]} {fingerprint(key)}")
    if not found.new:
        terminal.say(f"{name}: nothing to change")
        return
    beside = " beside those it has" if is_spare else ""
    if not (yes or terminal.ask_yes(f"pin these for {name}{beside}?")):
        raise Refused("nothing recorded" + ("" if terminal.can_ask() else "; say --yes where no question can be asked"))
    pin(found.new)
    where = inventory.inventory_path() / "known_hosts"
    if not is_spare:
        terminal.say(f"{name}: {count(len(found.new), 'host key')} pinned in {where}")
        return
    terminal.say(
        f"{name}: {count(len(found.new), 'spare host key')} pinned in {where}; `inv provision --all` puts them "
        "into the kits, `inv kits` says who must carry one"
    )


def _print_document(found: Mapping[str, Found], pin: Mapping[str, Pin], yes: bool) -> int:
    """Pin new keys if --yes is given, and print the document that docs/json.md describes."""
    for name, each in found.items():
        if yes and each.new:
            pin[name](each.new)
    terminal.print_document({name: _document(each, yes) for name, each in found.items()})
    return exit_codes.PENDING if any(each.new for each in found.values()) and not yes else exit_codes.DONE


def _document(found: Found, yes: bool) -> dict[str, Any]:
    keys = [_key(key) | {"state": state} for key, state in found.states.items()]
    return {"keys": keys, "gone": [_key(key) for key in found.gone], "recorded": len(found.new) if yes else 0}


def _key(key: str) -> dict[str, str]:
    return {"type": key.split()[0], "fingerprint": fingerprint(key)}
