"""The numbers of customers' settings in the store: reserved before a tree changes, the same on all relays.

A relay adds and removes nobody while its tree has other settings than those by which the store's list was judged. A
change of something else, as a key or another relay, needs no number and no store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.plan import HostError, Plan
from fleet.relay_plan import RelayPlan, as_recorded
from fleet.store_access import ask_store
from inventory.model import Customer
from roles import relay as relay_role
from roles.relay import Revision


class TakenNumbers(NamedTuple):
    """The store's answers about customers whose settings change."""

    numbers: Mapping[str, int]  # by customer
    refused: Mapping[str, Refused]  # by customer: why nothing may be changed for it


def agree_on_numbers(
    found: Mapping[str, RelayPlan | HostError | Refused], customers: Sequence[Customer]
) -> dict[str, RelayPlan | HostError | Refused]:
    """Return the relays' plans, made again where the relays' numbers for a customer differ."""
    looks = [look for look in found.values() if isinstance(look, RelayPlan) and look.relay.store]
    agreed = {one.id: _agreed_number(one, _looks_of(looks, one)) for one in _with_givers(looks, customers)}
    return {name: _plan_again(look, agreed) if isinstance(look, RelayPlan) else look for name, look in found.items()}


def take_numbers(looks: Sequence[RelayPlan], customers: Iterable[Customer], removing: Sequence[str]) -> TakenNumbers:
    """Reserve, in the store, a number for each customer's settings that change, before any tree is written.

    The relays are set up already as far as this needs it.
    """
    numbers, refused = dict[str, int](), dict[str, Refused]()
    for customer in (one for one in _with_givers(looks, customers) if _is_new(one, _looks_of(looks, one))):
        try:
            numbers[customer.id] = _ask(looks, customer, removing)
        except Refused as error:
            refused[customer.id] = error
    return TakenNumbers(numbers, refused)


def with_numbers(look: RelayPlan, numbers: Mapping[str, int]) -> RelayPlan:
    """Return the plan of a relay with these numbers to be written."""
    return look._replace(after=look.after._replace(numbers={**look.after.numbers, **numbers}))


def _ask(looks: Sequence[RelayPlan], customer: Customer, removing: Sequence[str]) -> int:
    """Return the number that the store gives; the upload relays are asked one after the other. Raises Refused."""
    serving, why = _looks_of(looks, customer), "none of its upload relays can be asked"
    given = {
        "number": max((relay_role.wanted_revision(customer, look.after).number for look in serving), default=1),
        "hash": relay_role.settings_hash(customer),
        "holds": relay_role.held_words(customer),
        "domains": list(customer.domains),
        "removing": [*map(as_recorded, removing), *relay_role.replaced_words(customer)],
        "anew": not any(customer.id in look.facts.customers for look in serving),
    }
    for look in _uploads(serving, customer):
        try:
            answer = _ask_relay(look, customer, given)
        except HostError as error:
            why = str(error)
            continue
        if answer["code"] == exit_codes.DONE:
            return int(answer["number"])
        why = f"{look.relay.name}: {answer.get('why')}"
        if answer["code"] == exit_codes.REFUSED:
            break
    raise Refused(f"{customer.id}: the store gives its changed settings no number: {why}")


def _ask_relay(look: RelayPlan, customer: Customer, given: Mapping[str, object]) -> Mapping[str, Any]:
    """Return the answer of one upload relay, after asking the operator where that is needed. Raises HostError."""

    def ask(words: Mapping[str, object]) -> Mapping[str, Any]:
        return ask_store(look.host, "settings", customer.id, stdin=json.dumps(words).encode())

    answer = ask(given)
    if "listed" not in answer:
        return answer
    text = f"{customer.id}: {answer.get('why')}; it begins anew, with nobody on its list and every domain open"
    if terminal.can_ask() and not terminal.ask_yes(f"{text}. Is that meant?"):
        return answer
    terminal.note(text)
    return ask({**given, "confirmed": True})


def _with_givers(looks: Iterable[RelayPlan], customers: Iterable[Customer]) -> list[Customer]:
    """Return the customers, and those whose settings change because they give a domain to one of them."""
    givers = {giver.id: giver for look in looks for giver in look.givers}
    return list({**{one.id: one for one in customers}, **givers}.values())


def _looks_of(looks: Iterable[RelayPlan], customer: Customer) -> list[RelayPlan]:
    return [look for look in looks if look.relay.store and look.relay.name in customer.relays]


def _uploads(serving: Iterable[RelayPlan], customer: Customer) -> list[RelayPlan]:
    """Return the upload relays among these, those that have the customer's tree first."""
    every = [look for look in serving if look.relay.role == "upload"]
    return sorted(every, key=lambda look: customer.id not in look.facts.customers)


def _trees(customer: Customer, looks: Iterable[RelayPlan]) -> list[Revision]:
    return [relay_role.tree_revision(look.after, customer.id) for look in looks]


def _lists(customer: Customer, looks: Iterable[RelayPlan]) -> list[Revision]:
    """Return by which settings each relay's list from the store was judged; relays without one are left out."""
    every = (relay_role.store_revision(look.after, customer.id) for look in looks)
    return [revision for revision in every if revision.number]


def _is_new(customer: Customer, looks: Sequence[RelayPlan]) -> bool:
    """Return whether the store may not know of these settings, or another checkout made them.

    A list from the store says what the store knows. A tree does not: a run may have ended before its number was taken.
    """
    known = _lists(customer, looks) or _trees(customer, looks)
    return any(relay_role.wanted_revision(customer, look.after) not in known for look in looks)


def _agreed_number(customer: Customer, looks: Sequence[RelayPlan]) -> int:
    """Return the number for all: the highest known, where it stands for these settings; else the next."""
    number, name = max([*_trees(customer, looks), *_lists(customer, looks)], default=Revision(0, ""))
    return number if number and name == relay_role.settings_hash(customer) else number + 1


def _plan_again(look: RelayPlan, agreed: Mapping[str, int]) -> RelayPlan | HostError:
    """Return a look whose plan writes the numbers that all relays are to have."""
    differing = {
        one.id: agreed[one.id]
        for one in look.with_trees
        if look.relay.store and relay_role.wanted_revision(one, look.after).number != agreed[one.id]
    }
    if not differing:
        return look
    look = with_numbers(look, differing)
    try:
        items = relay_role.items(look.relay, look.with_trees, look.after)
        return look._replace(plan=Plan.of(look.host, items))
    except HostError as error:
        return error
