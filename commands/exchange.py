"""The customer's end: what is put there, and the one way a private key gets there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import inventory
from commands import fleet, screen
from commands.wish import Wish
from deploy.folder import Folder
from deploy.keys import Pair, ppk
from deploy.plan import HostError, Plan
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver import report
from roles import exchange


def end(customer: Customer, kit_dir: str = "") -> Folder:
    """Give the place the customer's files go to."""
    return Folder(Path(kit_dir) if kit_dir else inventory.where().absolute().parent / "kits" / customer.id)


def place(customer: Customer, key_name: str, pair: Pair, kit_dir: str) -> None:
    """Put a private key at the customer's end, in the form its client reads. It opens nothing until it is recorded."""
    end(customer, kit_dir).place(exchange.key_file(customer, key_name), ppk(pair, f"{customer.id} {key_name}"))


def provision(
    everything: Inventory,
    customers: Sequence[Customer],
    seen: Mapping[str, frozenset[str]],
    wish: Wish,
) -> Iterator[int]:
    """Bring each customer's end to its wanted state; gives an exit code for each.

    `seen`: the keys that all of a customer's relays have seen used; their private halves need not rest here any more.
    """
    for customer in customers:
        yield _one(everything, customer, seen[customer.id], wish)


def _one(everything: Inventory, customer: Customer, seen: frozenset[str], wish: Wish) -> int:
    relays = [everything.relays[name] for name in customer.relays]
    if refusals := exchange.refusals(customer, relays):
        for text in refusals:
            screen.fault(f"{customer.id}: no kit: {text}")
        return report.REFUSED
    if not customer.keys:
        if wish.dry_run:
            screen.say(f"{customer.id}: a key is made and a kit written once a relay is ready for it")
        return report.DONE
    try:
        return _write(customer, end(customer, wish.kit_dir), relays, seen, wish)
    except HostError as error:
        return fleet.told(customer.id, error)


def _write(customer: Customer, folder: Folder, relays: Sequence[Relay], seen: frozenset[str], wish: Wish) -> int:
    plan = Plan.of(folder, exchange.items(customer, relays))
    if plan.changes:
        screen.plan(f"{customer.id}: kit {folder.name}:", plan.text(brief=not wish.full))
    else:
        screen.say(f"{customer.id}: kit {folder.name}: nothing to change")
    if wish.dry_run:
        return report.DONE
    plan.apply()
    for key in seen:
        if folder.forget_key(exchange.key_file(customer, key)):
            screen.say(f"{customer.id}: key file {exchange.key_file(customer, key)} no longer needed here: deleted")
    return report.DONE
