"""What is read of a relay besides its facts: how lists stand, how much mail waits, what Postfix answers."""

from __future__ import annotations

from collections.abc import Iterable

from common.paths import PLACES
from common.spool_files import most_bytes
from deploy.items import Item
from inventory.model import Customer, Relay
from roles.relay.customer import domain_names
from roles.relay.facts import config_directory


def list_status_item(customers: Iterable[Customer], *, lists: bool = False) -> Item:
    """Return what is read to know how these customers' lists stand on a relay: by customer, what its spool says.

    `lists`: the hash and the length of the lists in force as well, for which they are read whole.
    """
    bounds = {customer.id: most_bytes(customer.guard.max_recipients) if lists else 0 for customer in customers}
    return Item("list_status", PLACES.var, {"customers": bounds})


def queue_item(relay: Relay, domains: Iterable[str]) -> Item:
    """Return what is read to know how much mail for these domains waits: by domain, how many messages."""
    return Item("queue", config_directory(relay), {"domains": sorted(domains)})


def smtp_verify_item(relay: Relay, customers: Iterable[Customer]) -> Item:
    """Return what is read to have the relay asked over SMTP about some addresses of these customers' domains."""
    domains = [name for customer in customers for name in domain_names(customer)]
    return Item("smtp_verify", config_directory(relay), {"domains": domains})


def address_item(relay: Relay, name: str) -> Item:
    """Return what is read to know what the relay's Postfix does with an address."""
    return Item("address", config_directory(relay), {"address": name})
