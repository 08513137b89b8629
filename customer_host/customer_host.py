"""The customer's end: what is put there, the one way a private key gets there, and the proof that it works."""

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
"""How the customers' ends are reached: `reached`, with what the command line said of it."""

WAIT, PAUSE = 120.0, 0.2  # seconds for a run of the batch to end, and between two looks
_READS = {"plink": ppk, "openssh": openssh}
"""The form in which a client reads a private key, where that is known."""


def prepare_connect(customers: Sequence[Customer], kit_dir: str) -> Connect:
    """Return how these customers' ends are reached. Raises Refused for a kit of one who has none."""
    for customer in customers if kit_dir else ():
        if customer.exchange.reach != "kit":
            raise Refused(f"--kit-dir: {customer.id} has no kit, its server is reached over SSH")
    return partial(connect, kit_dir=kit_dir)


@contextmanager
def connect(customer: Customer, kit_dir: str = "") -> Iterator[ExchangeEnd]:
    """Reach the place the customer's files go to. One that is a Machine can be made to use a key, a kit cannot."""
    if customer.exchange.reach == "ssh":
        with connect_server(customer) as machine:
            yield machine
    else:
        yield Kit(Path(kit_dir) if kit_dir else inventory.inventory_path().absolute().parent / "kits" / customer.id)


@contextmanager
def connect_server(customer: Customer) -> Iterator[Windows | PosixHost]:
    """Reach a server that is reached over SSH, pinned to its recorded host keys. Raises HostError."""
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


def place_key(end: ExchangeEnd, customer: Customer, key_name: str, pair: Pair) -> None:
    """Put a private key at the customer's end, in the form its client reads. It opens nothing until it is recorded."""
    write = _READS[customer.exchange.client]
    end.place(customer_role.key_file(customer, key_name), write(pair, f"{customer.id} {key_name}"))


def keep_made_key(end: ExchangeEnd, customer: Customer, key_name: str) -> None:
    """Let a key made at the customer's end be: a kit has none of that name but what a killed run left."""
    if not isinstance(end, Machine):
        end.forget_key(customer_role.key_file(customer, key_name))


def delete_key(end: ExchangeEnd, customer: Customer, key_name: str) -> None:
    """Delete a private key that is of no more use."""
    file = customer_role.key_file(customer, key_name)
    if end.forget_key(file):
        terminal.say(f"{customer.id}: key file {file} no longer needed here: deleted")


def test_key_login(machine: Machine, customer: Customer, relays: Sequence[Relay], key_name: str) -> list[str]:
    """Have the customer's end log in to every relay with a key; what does not work, none if all do.

    from= lets nobody else in, so it must be that machine. The gate answers with the name of the key that let it in.
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
