"""Relays side by side: one failure does not stop the rest, and there is one exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from commands import screen
from deploy.plan import HostError
from deploy.ssh import SSHHost
from inventory import Inventory, find
from inventory.model import Customer, Relay
from receiver import report
from receiver.settings import Places
from roles import postfix

NONSENSE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)
AT_ONCE = 16  # connections; more would only queue on the operator's own processor

Told = TypeVar("Told")


class Refused(Exception):
    """What was asked for is refused as it stands (exit code 2). The text says why and what would help."""


def code_of(error: Exception) -> int:
    """Give the exit code an error stands for; a host's errors bring their own."""
    return error.code if isinstance(error, HostError) else report.REFUSED


def chosen(inventory: Inventory, customer: str, every: bool) -> tuple[Customer, ...]:
    """Choose one customer by id, or all when that was said. Raises InventoryError with a near name, or Refused."""
    if customer and every:
        raise Refused(f"either '{customer}' or --all, not both")
    if every:
        return tuple(inventory.customers.values())
    if not customer:
        raise Refused("which customer? Name one, or say --all; `inv list` shows them")
    return (find(inventory, customer),)


def relays_of(inventory: Inventory, customers: Iterable[Customer]) -> tuple[Relay, ...]:
    """Give every relay at least one of the customers is on, in the inventory's order."""
    names = {name for customer in customers for name in customer.relays}
    return tuple(relay for name, relay in inventory.relays.items() if name in names)


@contextmanager
def reached(relay: Relay, install_python: bool = False) -> Iterator[SSHHost]:
    """Open the one connection to a relay, pinned to its recorded host keys. Raises HostError."""
    if not relay.host_keys:
        raise HostError(f"no host key is pinned for it yet: `inv trust {relay.name}` shows and records them")
    with SSHHost(
        relay.name,
        relay.address,
        user=relay.user,
        port=relay.port,
        host_keys=relay.host_keys,
        sudo=relay.sudo,
        lock=Places().etc,
        modules=postfix.SENT,
        install_python=install_python,
    ) as host:
        yield host


def side_by_side(
    relays: Sequence[Relay], told: Callable[[Relay], Told], doing: str
) -> Mapping[str, Told | HostError | Refused]:
    """Do the same on every relay at once and give what each said, or the error it ended with."""
    with screen.progress(doing, [relay.name for relay in relays]) as ended, ThreadPoolExecutor(AT_ONCE) as pool:

        def one(relay: Relay) -> Told | HostError | Refused:
            try:
                return told(relay)
            except (HostError, Refused) as error:
                return error
            except NONSENSE as error:  # what it answered has not the shape it must have: it is that relay's row
                return HostError(f"what it answers cannot be understood ({type(error).__name__}: {error})")
            finally:
                ended(relay.name)

        return dict(zip((relay.name for relay in relays), pool.map(one, relays), strict=True))


def told(name: str, result: str | HostError | Refused) -> int:
    """Print how it ended for one relay or customer; give the exit code."""
    if isinstance(result, str):
        screen.say(f"{name}: {result}")
        return report.DONE
    screen.fault(f"{name}: {result}")
    return code_of(result)
