"""Copy a customer's list to a relay that lacks it, from its siblings: the list, its history, what is held or frozen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from common import exit_codes
from common.paths import POSTERN
from console import terminal
from deploy.plan import HostError
from deploy.relay_host import RelayHost
from fleet.relay_cli import person_options
from inventory.model import Customer
from receiver.formatting import format_time
from receiver.outcome import AHEAD

_TAKEN = (exit_codes.DONE, exit_codes.HELD)
_HAS_ONE = "there is a list here already"  # as a relay refuses one that an upload came before, and which stays


class ConnectedRelay(NamedTuple):
    """A relay with an open connection, and the lists that it has."""

    host: RelayHost
    lists: Mapping[str, int]  # customer: when its last good upload came, 0: none was accepted; left out: no list at all
    is_ready: bool  # to take one over


def copy_lists(customers: Sequence[Customer], relays: Mapping[str, ConnectedRelay], dry_run: bool) -> Iterator[int]:
    """Copy lists to relays that have none; yield an exit code for each.

    Without a list the customer's domains are open.
    """
    with terminal.progress("handing lists over", list(_names(customers, relays))) as advance:
        for customer, name, siblings in find_lacking(customers, relays, int(time.time())):
            newest, *others = siblings
            beside = f", beside {', '.join(others)}" if others else ""
            if dry_run:
                terminal.say(f"{name}: {customer.id}'s list would be taken over from {newest}{beside}")
                yield exit_codes.PENDING
                continue
            try:
                code, said = _hand_over(customer.id, [relays[one].host for one in siblings], relays[name].host)
                since = format_time(relays[newest].lists[customer.id])
                what = f"{customer.id}'s list of {since}, with its history"
                terminal.say(f"{name}: {what}, taken over from {newest}{beside}: {said}")
                yield code
            except HostError as error:
                yield terminal.print_result(name, error)
            finally:
                advance(f"{customer.id} to {name}")


def _names(customers: Sequence[Customer], relays: Mapping[str, ConnectedRelay]) -> Iterable[str]:
    return (f"{customer.id} to {name}" for customer, name, _ in find_lacking(customers, relays, int(time.time())))


def find_lacking(
    customers: Sequence[Customer], relays: Mapping[str, ConnectedRelay], now: int
) -> Iterator[tuple[Customer, str, list[str]]]:
    """Yield each customer and relay that lacks its list, and the relays that have it, the newest accepted list first.

    A date in the future is ignored: whoever can write there can write any date.
    """
    for customer in customers:
        theirs = {name: relays[name] for name in customer.relays if name in relays and customer.keys}
        lists = {name: relay.lists[customer.id] for name, relay in theirs.items() if customer.id in relay.lists}
        dates = {name: when if when <= now + AHEAD else 0 for name, when in lists.items()}
        for name, relay in theirs.items():
            if any(dates.values()) and relay.is_ready and customer.id not in relay.lists:
                yield customer, name, sorted(dates, key=lambda one: -dates[one])


def _hand_over(customer_id: str, siblings: Sequence[RelayHost], to: RelayHost) -> tuple[int, str]:
    """Copy the lists of the siblings to the other relay; return its exit code and its answer. Raises HostError."""
    given = b"".join(read_lists(customer_id, sibling) for sibling in siblings)
    taken = to.run(POSTERN, "take-over", customer_id, *person_options(to, "take-over"), "--json", stdin=given)
    if taken.code not in _TAKEN and _HAS_ONE not in _line(taken.out):
        raise HostError(f"{customer_id}'s list cannot be taken over: {_line(taken.out) or taken.err.strip()}")
    code = exit_codes.HELD if taken.code == exit_codes.HELD else exit_codes.DONE
    return code, _line(taken.out).removeprefix(f"{customer_id}: ")


def read_lists(customer_id: str, sibling: RelayHost) -> bytes:
    """Return a sibling's list and what goes with it, as one line of JSON. Raises HostError."""
    given = sibling.run(POSTERN, "hand-over", customer_id, "--json")
    if given.code:
        said = _line(given.out) or given.err.strip()
        raise HostError(f"{customer_id}'s list cannot be read from {sibling.name}: {said}")
    return given.out.strip().partition("\n")[0].encode() + b"\n"


def _line(out: str) -> str:
    try:
        return str(json.loads(out)["line"])
    except (ValueError, LookupError, TypeError):
        return ""
