"""The customer's end: what is put there, the one way a private key gets there, and the proof that it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import ProvisionOptions
from deploy.items import file
from deploy.key_formats import Pair, openssh, ppk
from deploy.kit import Kit
from deploy.plan import Busy, ExchangeEnd, HostError, Machine, Plan
from deploy.posix_host import PosixHost
from deploy.windows.host import Windows
from inventory import Inventory
from inventory.model import Customer, Relay
from roles import customer_host as customer_role

Connect: TypeAlias = Callable[[Customer], AbstractContextManager[ExchangeEnd]]
"""How the customers' ends are reached: `reached`, with what the command line said of it."""

WAIT, PAUSE = 120.0, 0.2  # seconds for a run of the batch to end, and between two looks
_READS = {"plink": ppk, "openssh": openssh}
"""The form in which a client reads a private key, where that is known."""


class KeyUsage(NamedTuple):
    """What a customer's relays know of its keys."""

    seen: frozenset[str]  # used on every one of them
    used: frozenset[str]  # used on one of them at least
    behind: tuple[str, ...]  # relays that may lack what is on record
    failed: tuple[str, ...] = ()  # those of them that could not be set up: nobody knows whether they can be used


def prepare_connect(customers: Sequence[Customer], kit_dir: str) -> Connect:
    """Say how these customers' ends are reached. Raises Refused for a kit of one who has none."""
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
    """Tell whether only the customer's own client can make its key."""
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
    """Have the customer's end open every relay's gate with a key; what does not work, none if all do.

    from= lets nobody else in, so it must be that machine. The gate answers with the name of the key that let it in.
    Raises HostError when the machine itself cannot be asked.
    """
    found = []
    for relay in relays:
        done = machine.run(*customer_role.key_test_command(customer, relay, key_name))
        if done.code or f"key {key_name} works" not in done.out:
            said = " ".join(f"{done.out} {done.err}".split())
            found.append(f"{relay.name}: key {key_name} does not open it from {machine.name}: {said or done.code}")
    return found


def wait_for_batch(end: ExchangeEnd) -> None:
    """Wait for the end of a run of the batch there. Raises Busy."""
    lock = file("runexport.lck", None)  # a directory, and so no state of a file, as long as a run is at work
    began = time.monotonic()
    while end.read([lock]) != [None]:
        if time.monotonic() > began + WAIT:
            raise Busy(f"an export is at work on {end.name}: run the same again when it has ended")
        time.sleep(PAUSE)


def provision(
    everything: Inventory,
    customers: Sequence[Customer],
    known: Mapping[str, KeyUsage],
    options: ProvisionOptions,
    ends: Connect,
) -> Iterator[int]:
    """Bring each customer's end to its wanted state; gives an exit code for each. `known`: by customer."""
    for customer in customers:
        yield _one(everything, customer, known[customer.id], options, ends)


def _one(everything: Inventory, customer: Customer, known: KeyUsage, options: ProvisionOptions, ends: Connect) -> int:
    relays = [everything.relays[name] for name in customer.relays]
    if refusals := customer_role.blockers(customer, relays):
        for text in refusals:
            terminal.error(f"{customer.id}: nothing is put at its end: {text}")
        return exit_codes.REFUSED
    if not customer.keys:
        if options.dry_run and client_makes_key(customer):
            terminal.say(f"{customer.id}: its key is made by its own client, and taken with --public-key FILE")
        elif options.dry_run:
            brought = "a kit written" if customer.exchange.reach == "kit" else f"{customer.exchange.server} set up"
            terminal.say(f"{customer.id}: a key is made and {brought} once a relay is ready for it")
        return exit_codes.DONE
    if len(customer.keys) > 1 and known.behind:
        lacking = f"{', '.join(known.behind)} may not know key {customer.keys[-1].name} yet"
        terminal.note(f"{customer.id}: its end is left as it is: {lacking}; run the same again")
        return exit_codes.DONE
    try:
        with ends(customer) as end:
            return _write(end, customer, relays, known, options)
    except HostError as error:
        return terminal.print_result(customer.id, error)


def _write(
    end: ExchangeEnd, customer: Customer, relays: Sequence[Relay], known: KeyUsage, options: ProvisionOptions
) -> int:
    plan = Plan.of(end, customer_role.items(_naming(customer, end, known.seen), relays))
    place = f"{customer.id}: {'server' if isinstance(end, Machine) else 'kit'} {end.name}"
    if known.behind and any(change.before is not None for change in plan.changes):
        # It works as it is. What it would name now, e.g. another host key, a relay has not borne out.
        terminal.note(f"{place} is left as it is, until {', '.join(known.behind)} is as wanted")
        return exit_codes.DONE
    if known.failed and plan.changes:
        terminal.note(f"{place} is not written before {', '.join(known.failed)} is as wanted: run the same again")
        return exit_codes.DONE
    if plan.changes:
        terminal.plan(f"{place}:", plan.text(brief=not options.full))
    else:
        terminal.say(f"{place}: nothing to change")
    if options.dry_run:
        return exit_codes.DONE
    if isinstance(end, Machine) and "runexport.bat" in {change.item.name for change in plan.changes}:
        wait_for_batch(end)  # cmd.exe reads a batch as it goes: one that is replaced goes on in the middle of the other
    plan.apply()
    if not isinstance(end, Machine):  # a kit has been carried; a machine is where the key is used
        for key in known.seen:
            delete_key(end, customer, key)
        _tell_carrier(end, customer, known, {change.item.name for change in plan.changes})
    return exit_codes.DONE


def _tell_carrier(end: ExchangeEnd, customer: Customer, known: KeyUsage, changed: Collection[str]) -> None:
    """Say what is to be done with a kit; of an open rotation its own story tells."""
    if len(customer.keys) > 1:
        return
    (key,) = customer.keys
    if changed:
        again = [f"; run {name} there again" for name in ("schedule.bat", "schedule.sh") if name in changed]
        how = f"by a way you would trust with a key, and let its admin follow README.txt{''.join(again)}"
        terminal.say(f"{customer.id}: carry {end.name} to {customer.exchange.directory} on its server, {how}")
    held = isinstance(end, Kit) and end.holds(customer_role.key_file(customer, key.name))
    if key.name not in known.used and not held:
        cure = f"if it never reached the server, `inv rotate-key {customer.id}` makes another"
        terminal.note(f"{customer.id}: nobody has used {key.name} yet, and its private half is not in the kit: {cure}")


def _naming(customer: Customer, end: ExchangeEnd, seen: frozenset[str]) -> Customer:
    """Choose the keys its files may name: of a machine, those that have been proved from there, or else the oldest.

    A kit's batch prefers the new key where its file is, and that only comes with the kit.
    """
    if not isinstance(end, Machine):
        return customer
    proved = tuple(key for key in customer.keys if key.name in seen)
    return customer.model_copy(update={"keys": proved or customer.keys[:1]})
