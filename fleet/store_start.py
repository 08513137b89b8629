"""The step from no store to a store: print what the relays' lists come to in it, and merge them there afterwards.

The first list in the store is what any of a customer's relays lists, and a domain stays closed where all of them close
it: so nobody is removed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from common.spool_files import most_bytes
from console import terminal
from console.errors import code_of
from console.grouping import name_some
from deploy.plan import HostError
from fleet import store_access
from fleet.copy_lists import read_lists
from fleet.relay_plan import RelayPlan
from fleet.relays import run_parallel
from inventory.model import Customer, Relay
from receiver.actions.copy_list import ExportedLists
from receiver.formatting import count, escape
from receiver.lists import list_file
from receiver.outcome import Stopped

_NAMED = 20  # addresses in a sentence


class RelayList(NamedTuple):
    """A customer's list on one relay."""

    relay: str
    recipients: frozenset[str]
    closed: frozenset[str]  # domains with an accepted list


def starting_customers(looks: Iterable[RelayPlan], customers: Iterable[Customer]) -> list[Customer]:
    """Return the customers of whom a relay that comes to the store has a list by itself."""
    coming = [look for look in looks if look.relay.store and not look.facts.has_store]
    return [one for one in customers if any(one.id in look.lists for look in coming)]


def print_first_lists(looks: Sequence[RelayPlan], customers: Iterable[Customer]) -> None:
    """Print what relays list differently of customers who come to the store, and what opens by it."""
    for customer in starting_customers(looks, customers):
        having = {look.relay.name: look for look in looks if customer.id in look.lists}
        theirs = [having[name].relay for name in customer.relays if name in having]
        found = run_parallel(theirs, partial(_read_list, having, customer), f"reading {customer.id}'s lists on")
        lists = [one for one in found.values() if isinstance(one, RelayList)]
        for text in describe_union(lists, customer.domains) if lists else ():
            terminal.note(f"{customer.id}: {text}")
        unread = {name: str(one) for name, one in found.items() if not isinstance(one, RelayList)}
        known = {look.relay.name for look in looks}
        unread.update((name, "not reached, or not ready") for name in customer.relays if name not in known)
        for name, why in unread.items():
            terminal.note(f"{customer.id}: the recipients of {name} are added to that, and are not known now: {why}")


def _read_list(having: Mapping[str, RelayPlan], customer: Customer, relay: Relay) -> RelayList:
    """Return what a relay lists. Raises HostError, also for what cannot be used: a relay may send anything."""
    try:
        said, most = read_lists(customer.id, having[relay.name].host), most_bytes(customer.guard.max_recipients)
        given = ExportedLists.read(said, customer.id, int(time.time()), most)
    except Stopped as error:
        raise HostError(str(error)) from error
    return RelayList(relay.name, list_file.decode_recipients(given.text), frozenset(given.accepted.domains))


def describe_union(lists: Sequence[RelayList], domains: Sequence[str]) -> Iterator[str]:
    """Yield what several relays' lists of a customer come to, as far as they differ."""
    every = frozenset[str]().union(*(one.recipients for one in lists))
    common = every.intersection(*(one.recipients for one in lists))
    names = name_some([one.relay for one in lists])
    yield f"its first list in the store has {count(len(every), 'recipient')}, whom any of {names} lists"
    for one in lists:
        if lacking := [escape(name) for name in sorted(every - one.recipients)]:
            own = len(one.recipients - common)
            yield f"{one.relay} lists {own} that not every relay lists, and lacks {name_some(lacking, _NAMED)}"
    for domain in domains:
        is_open = [one.relay for one in lists if domain not in one.closed]
        if is_open and len(is_open) < len(lists):
            yield f"{domain} will be open until its next list is accepted: it is open on {name_some(is_open)}"


def merge_first_lists(looks: Sequence[RelayPlan], customers: Iterable[Customer]) -> list[int]:
    """Merge, on an upload relay, the lists that followers have by themselves: followers write nothing to the store.

    Return the exit codes of what is left to do.
    """
    codes: list[int] = []
    for customer in starting_customers(looks, customers):
        theirs = [look for look in looks if look.relay.name in customer.relays]
        targets = [look.host for look in theirs if look.relay.role == "upload"]
        followers = [look for look in theirs if look.relay.role == "follower" and customer.id in look.lists]
        for look in followers if targets else ():
            try:
                heads = store_access.call_store(look.host, "heads", customer.id)
                store_access.call_store(targets[0], "merge", customer.id, stdin=json.dumps(heads).encode())
                store_access.follow(look.host)
            except HostError as error:
                terminal.error(
                    f"{customer.id}: `inv store {customer.id} --merge {look.relay.name}` is left to do: {error}"
                )
                codes.append(code_of(error))
    return codes
