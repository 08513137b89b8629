"""The customer's end: connect to it, write a private key there, test that the key works, wait for a running export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias

import inventory
from console import terminal
from console.errors import Refused
from deploy.items import file
from deploy.key_formats import Pair, openssh, ppk
from deploy.kit import Kit
from deploy.plan import Busy, ExchangeEnd, HostError, Machine
from deploy.posix_host import PosixHost
from deploy.windows.host import Windows
from inventory.model import Customer, Relay
from roles import customer_host as customer_role

Connect: TypeAlias = Callable[[Customer], AbstractContextManager[ExchangeEnd]]
"""Connects to a customer's end: `connect`, with the options of the command line."""

WAIT, PAUSE = 120.0, 0.2  # seconds for a run of the batch to end, and between two looks
_READS = {"plink": ppk, "openssh": openssh}
"""The form in which a client reads a private key, where that is known."""


def prepare_connect(customers: Sequence[Customer], kit_dir: str) -> Connect:
    """Return the function that connects to these customers' ends.

    Raises Refused for --kit-dir where a customer has no kit.
    """
    for customer in customers if kit_dir else ():
        if customer.exchange.reach != "kit":
            raise Refused(f"--kit-dir: {customer.id} has no kit, its server is reached over SSH")
    return partial(connect, kit_dir=kit_dir)


@contextmanager
def connect(customer: Customer, kit_dir: str = "") -> Iterator[ExchangeEnd]:
    """Connect to where the customer's files are written.

    A Machine, which can be made to use a key, or a Kit, which cannot.
    """
    if customer.exchange.reach == "ssh":
        with connect_server(customer) as machine:
            yield machine
    else:
        yield Kit(Path(kit_dir) if kit_dir else inventory.inventory_path().absolute().parent / "kits" / customer.id)


@contextmanager
def connect_server(customer: Customer) -> Iterator[Windows | PosixHost]:
    """Connect to the customer's server over SSH; only its recorded host keys are trusted. Raises HostError."""
    there = customer.exchange.ssh
    if not customer.host_keys:
        raise HostError(f"no host key of its server is pinned yet: `inv trust {customer.id}` shows and records them")
    kind = PosixHost if customer.exchange.is_posix else Windows
    with kind(
        customer.exchange.server,
        str(there.address),
        user=str(there.user),
        port=there.port,
        host_keys=customer.host_keys,
        folder=customer.exchange.directory,
    ) as machine:
        yield machine


def client_makes_key(customer: Customer) -> bool:
    """Return whether only the customer's own client can make its key."""
    return customer.exchange.client not in _READS


def write_key(end: ExchangeEnd, customer: Customer, key_name: str, pair: Pair) -> None:
    """Write a private key at the customer's end, in the form its client reads.

    No relay accepts it before it is recorded.
    """
    write = _READS[customer.exchange.client]
    end.write_key(customer_role.key_file(customer, key_name), write(pair, f"{customer.id} {key_name}"))


def delete_leftover_key(end: ExchangeEnd, customer: Customer, key_name: str) -> None:
    """Delete a kit's file of this name, which a killed run left; on a machine a key made there is kept."""
    if not isinstance(end, Machine):
        end.delete_key(customer_role.key_file(customer, key_name))


def delete_key(end: ExchangeEnd, customer: Customer, key_name: str) -> None:
    """Delete a private key that is not used any more."""
    file = customer_role.key_file(customer, key_name)
    if end.delete_key(file):
        terminal.say(f"{customer.id}: key file {file} no longer needed here: deleted")


def test_key_login(machine: Machine, customer: Customer, relays: Sequence[Relay], key_name: str) -> list[str]:
    """Log in from the customer's end to every relay with a key; return what does not work, empty when all logins do.

    from= on the key line admits no other machine. The forced command answers with the name of the key.
    Raises HostError when the machine itself cannot be asked.
    """
    found = []
    for relay in relays:
        done = machine.run(*customer_role.key_test_command(customer, relay, key_name))
        if done.code or f"key {key_name} works" not in done.out:
            said = " ".join(f"{done.out} {done.err}".split())
            found.append(f"{relay.name}: key {key_name} does not log in there from {machine.name}: {said or done.code}")
    return found


def wait_for_batch(end: ExchangeEnd) -> None:
    """Wait for the end of a run of the batch there. Raises Busy."""
    lock = file("runexport.lck", None)  # a directory, and so no state of a file, as long as a run is at work
    began = time.monotonic()
    while end.read([lock]) != [None]:
        if time.monotonic() > began + WAIT:
            raise Busy(f"an export is at work on {end.name}: run the same again when it has ended")
        time.sleep(PAUSE)
