"""Customers whose files do not say where their mail goes on: Postfix is asked where it takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from deploy.items import Item, State
from inventory.model import Customer, Relay
from inventory.validators import BY_MX
from roles.relay.customer import domain_names
from roles.relay.facts import Facts, config_directory


def unsaid_routes(relay: Relay, customers: Sequence[Customer]) -> tuple[Item, ...]:
    """List what is read to know where Postfix takes mail for customers whose files name no next hop."""
    names = {name: "" for customer in customers if customer.next_hop is None for name in domain_names(customer)}
    return (Item("routes", config_directory(relay), names),) if names else ()


def unsaid_route_warnings(customers: Sequence[Customer], facts: Facts, found: State | None) -> Iterator[str]:
    """Yield a sentence for each customer of the relay whose mail goes where DNS says though its file does not say so.

    The first release took such a file. `found`: what was read of unsaid_routes().
    """
    for customer in customers:
        by_mx = [domain for domain in customer.domains if is_by_mx(domain, found or {})]
        if by_mx and customer.id in facts.customers:
            yield (
                f"{customer.id}: mail for {', '.join(by_mx)} goes where its MX records say, and in a circle if they "
                f'name this relay; name next_hop in the customer\'s file, or say next_hop = "{BY_MX}" if that is meant'
            )


def is_by_mx(domain: str, found: Mapping[str, str]) -> bool:
    """Return whether only DNS says where its mail goes: the next hop Postfix names is the domain itself."""
    return found.get(domain, "").partition(":")[2].lower() == domain
