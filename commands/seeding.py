"""A relay without a list of a customer gets it from a sibling: the list in force, history, what is held, and pin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from commands import fleet, screen
from commands.desk import DESK
from deploy.plan import HostError
from deploy.ssh import SSHHost
from inventory.model import Customer
from receiver import report
from receiver.report import moment


class Reached(NamedTuple):
    """One relay that was reached, and since when it has each customer's list."""

    host: SSHHost
    lists: Mapping[str, int]  # customer: when its last good upload came, 0: none was accepted; left out: no list at all
    is_ready: bool  # to take one over


def seed(customers: Sequence[Customer], relays: Mapping[str, Reached], dry_run: bool) -> Iterator[int]:
    """Fill empty spools; gives an exit code for each. A relay without a list has its customer's domains open."""
    with screen.progress("handing lists over", list(_names(customers, relays))) as ended:
        for customer, name, sibling in _due(customers, relays):
            if dry_run:
                screen.say(f"{name}: {customer.id}'s list would be taken over from {sibling}")
                continue
            try:
                said = _hand_over(customer.id, relays[sibling].host, relays[name].host)
                since = moment(relays[sibling].lists[customer.id])
                screen.say(
                    f"{name}: {customer.id}'s list of {since}, history and pin taken over from {sibling}: {said}"
                )
                yield report.DONE
            except HostError as error:
                yield fleet.told(name, error)
            finally:
                ended(f"{customer.id} to {name}")


def _names(customers: Sequence[Customer], relays: Mapping[str, Reached]) -> Iterable[str]:
    return (f"{customer.id} to {name}" for customer, name, _ in _due(customers, relays))


def _due(customers: Sequence[Customer], relays: Mapping[str, Reached]) -> Iterator[tuple[Customer, str, str]]:
    """Yield who lacks a list where, and the relay that has the newest that was accepted."""
    for customer in customers:
        theirs = {name: relays[name] for name in customer.relays if name in relays and customer.keys}
        accepted = {name: relay.lists[customer.id] for name, relay in theirs.items() if relay.lists.get(customer.id)}
        for name, relay in theirs.items():
            if accepted and relay.is_ready and customer.id not in relay.lists:
                yield customer, name, max(accepted, key=lambda one: accepted[one])


def _hand_over(customer_id: str, sibling: SSHHost, to: SSHHost) -> str:
    """Carry it from one desk to the other; gives what the second says. Raises HostError."""
    given = sibling.run(DESK, "hand-over", customer_id, "--json")
    if given.code:
        raise HostError(
            f"{customer_id}'s list cannot be had from {sibling.name}: {_line(given.out) or given.err.strip()}"
        )
    taken = to.run(DESK, "take-over", customer_id, "--json", stdin=given.out.encode())
    if taken.code not in (report.DONE, report.REFUSED):  # an upload may have come first, and is left as it is
        raise HostError(f"{customer_id}'s list cannot be taken over: {_line(taken.out) or taken.err.strip()}")
    return _line(taken.out).removeprefix(f"{customer_id}: ")


def _line(out: str) -> str:
    try:
        return str(json.loads(out)["line"])
    except (ValueError, LookupError, TypeError):
        return ""
