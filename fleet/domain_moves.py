"""A domain that goes from one customer to another on a relay: both trees are one plan, so that it is never nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import inventory
from deploy.plan import Plan
from inventory import Inventory
from inventory.model import Customer, Relay
from roles import relay as relay_role
from roles.relay import Facts


def find_givers(everything: Inventory, customers: Sequence[Customer], facts: Facts) -> tuple[Customer, ...]:
    """Return the customers whose trees there still have a domain that is one of these customers' now."""
    ids = sorted({*facts.others.values()} - {one.id for one in customers})
    return tuple(everything.customers[one] for one in ids if one in everything.customers)


def owners_by_domain(customers: Sequence[Customer]) -> Mapping[str, str]:
    """Return by domain, in each of its forms, whose of these it is."""
    return {name: one.id for one in customers for name in relay_role.domain_names(one)}


def find_blockers(
    everything: Inventory, relay: Relay, customers: Sequence[Customer], facts: Facts, plan: Plan
) -> Iterator[str]:
    """Yield what would leave a domain with nobody for a moment, or take it from somebody unknown."""
    theirs = owners_by_domain(customers)
    for name, other in facts.others.items():
        if other in everything.unread:
            yield f"{name} is still {other}'s there, whose file has faults: mend it first, `inv check` names them"
        elif other not in everything.customers:
            has_file = inventory.is_retired(inventory.inventory_path(), other)
            help_ = "finish" if has_file else "use the checkout that knows them, or"
            yield f"{name} is still {other}'s there, of whom this inventory has no file: {help_} `inv retire {other}`"
    for both in sorted({*facts.others.values()} & {theirs[name] for name in facts.others if name in theirs}):
        yield f"{both} gains one domain and loses another in one change: provision in two steps"
    elsewhere = owners_by_domain([one for one in everything.customers.values() if relay.name in one.relays])
    for owner, name in _lost_domains(plan):
        if name not in theirs and name in elsewhere:
            taker = elsewhere[name]
            yield f"{name} is {taker}'s now: `inv provision {taker}` takes it from {owner}, in one step"


def _lost_domains(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield whose domains would go, and which."""
    for change in plan.changes:
        for loss in change.removals():
            noun, _, name = loss.partition(":")
            if noun == "domain":
                yield change.item.about, name
