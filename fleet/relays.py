"""Relays side by side: one failure does not stop the rest, and there is one exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from common.paths import PLACES
from console import terminal
from console.errors import Refused
from console.grouping import name_some
from deploy.plan import HostError
from deploy.relay_host import RelayHost
from inventory import Inventory, find, find_relay, inventory_path, load, load_sound
from inventory.errors import faulty_files
from inventory.model import Customer, Relay

NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)
AT_ONCE = 16  # connections; more would only queue on the operator's own processor
INTERRUPT_SEEN = 0.5  # seconds; Python can miss a Ctrl-C that comes just as it begins to wait, until that wait ends

Result = TypeVar("Result")


def split_names(names: str) -> tuple[str, ...]:
    """Return the names, which may be several with commas between; each once."""
    return tuple(dict.fromkeys(name for each in names.split(",") if (name := each.strip())))


def load_for(customer: str, relay: str = "") -> Inventory:
    """Return the inventory of these customers (`acme,bolt`), or of this relay; empty: all of it. Raises InventoryError.

    What is wrong elsewhere is said in one line: another customer's mistake must not stop this one's emergency. Where
    all are meant, each fault of customers' files is said, and the others are there; the command ends with `code` at
    least.
    """
    if not (customer or relay):
        everything = load_sound(inventory_path())
        for fault in everything.faults:
            terminal.error(fault)
        if not everything.customers:
            terminal.note("no customer is written down yet: `inv init ID` writes a file for the first one")
        return everything
    everything = load(inventory_path(), split_names(customer), split_names(relay))
    if everything.faults:
        files = name_some(faulty_files(everything.faults))
        terminal.note(f"the inventory has faults elsewhere, in {files}; `inv check` names each")
    return everything


def select_customers(inventory: Inventory, customer: str, every: bool) -> tuple[Customer, ...]:
    """Return the customers with these ids, as `acme,bolt`, or all of them. Raises InventoryError, Refused."""
    select_name(customer, every)
    return tuple(inventory.customers.values()) if every else select_named(inventory, customer)


def select_named(inventory: Inventory, customer: str) -> tuple[Customer, ...]:
    """Return the customers with these ids, as `acme,bolt`, for a command that has no --all.

    Raises InventoryError, Refused.
    """
    names = split_names(customer)
    if not names:
        raise Refused("which customer? Name one; `inv list` shows them")
    return tuple(find(inventory, name) for name in names)


def select_name(customer: str, every: bool) -> None:
    """Check that either a customer or all were named. Raises Refused."""
    if customer and every:
        raise Refused(f"either '{customer}' or --all, not both")
    if not (split_names(customer) or every):
        raise Refused("which customer? Name one, or say --all; `inv list` shows them")


def relays_of(inventory: Inventory, customers: Iterable[Customer], only: str = "") -> tuple[Relay, ...]:
    """Return every relay at least one of the customers is on, in the inventory's order; `only`: those of these names.

    Raises InventoryError, and Refused where none of the customers is on a relay that was named.
    """
    names = {name for customer in customers for name in customer.relays}
    wanted = [find_relay(inventory, name).name for name in split_names(only)]
    if idle := [name for name in wanted if name not in names]:
        raise Refused(f"none of these customers is on {', '.join(idle)}")
    return tuple(relay for name, relay in inventory.relays.items() if name in (wanted or names))


@contextmanager
def connect(relay: Relay, install_python: bool = False) -> Iterator[RelayHost]:
    """Open the one connection to a relay, pinned to its recorded host keys. Raises HostError."""
    if not relay.host_keys:
        raise HostError(f"no host key is pinned for it yet: `inv trust {relay.name}` shows and records them")
    with RelayHost(
        relay.name,
        relay.address,
        user=relay.user,
        port=relay.port,
        host_keys=relay.host_keys,
        sudo=relay.sudo,
        lock=PLACES.etc,
        install_python=install_python,
    ) as host:
        yield host


def run_parallel(
    relays: Sequence[Relay], call: Callable[[Relay], Result], doing: str
) -> Mapping[str, Result | HostError | Refused]:
    """Run a function for every relay at once; return each result, or the error that it raised."""
    with terminal.progress(doing, [relay.name for relay in relays]) as advance, ThreadPoolExecutor(AT_ONCE) as pool:

        def run_one(relay: Relay) -> Result | HostError | Refused:
            try:
                return call(relay)
            except (HostError, Refused) as error:
                return error
            except OSError as error:  # of a file here that only the way to this relay needs
                return HostError(str(error))
            except NONSENSE as error:  # an answer of another shape is that relay's error
                return HostError(f"what it answers cannot be understood ({type(error).__name__}: {error})")
            finally:
                advance(relay.name)

        try:
            answers = {relay.name: pool.submit(run_one, relay) for relay in relays}
            while wait(answers.values(), INTERRUPT_SEEN).not_done:
                pass
            return {name: answer.result() for name, answer in answers.items()}
        except KeyboardInterrupt:
            _stop_soon(pool)
            raise


def _stop_soon(pool: ThreadPoolExecutor) -> None:
    """Start no further calls, and let a second Ctrl-C end the program at once: a relay may take long to answer."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pool.shutdown(wait=False, cancel_futures=True)
    terminal.note("stopping once the relays that are being asked have answered; Ctrl-C again stops at once")
