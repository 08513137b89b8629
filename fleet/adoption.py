"""Domains that a relay closed by a list of somebody else before they were ours: who closes each, and until when.

From the first write of a customer's tree until our list has been proved to be in force there, the tree names who else
closes a domain, and that one goes on answering.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.adopted_domains import PROVING, write_closer
from deploy.items import Item, State
from deploy.plan import Change
from deploy.relay_host import RelayHost
from fleet.spool_data import accepted_of
from inventory.model import Customer, Relay
from receiver.formatting import escape
from roles.relay import Facts
from roles.relay.facts import config_directory

CLOSED, OPEN, PUT_OFF = "closed", "open", "put off"  # as remote.postfix.closing says how a domain stands

NOT_YET = ("main.cf", "routes")
"""Kinds of items that would change what a relay answers."""

Standing = Mapping[str, Mapping[str, Any]]
"""By domain, what remote.postfix.closing found of it."""


def ask_standing(host: RelayHost, relay: Relay, customers: Iterable[Customer], facts: Facts) -> Standing:
    """Return how those of the customers' domains stand that no customer has on the relay yet."""
    domains = [name for one in customers for name in one.domains if name in facts.unserved]
    if not (facts.has_postfix and domains):
        return {}
    (found,) = host.read([Item("closing", config_directory(relay), {"domains": domains})])
    standing: Standing = (found or {}).get("domains", {})
    return standing


def with_closers(facts: Facts, customers: Iterable[Customer], standing: Standing) -> Facts:
    """Return what is known of a relay with who closes each domain that no customer has there yet."""
    found = {one.id: {**facts.closed_by.get(one.id, {}), **_new_closers(one, facts, standing)} for one in customers}
    return facts._replace(closed_by={**facts.closed_by, **{id_: closers for id_, closers in found.items() if closers}})


def _new_closers(customer: Customer, facts: Facts, standing: Standing) -> dict[str, str]:
    return {
        name: write_closer(one["by"], one["tables"])
        for name in customer.domains
        if name in facts.unserved
        and name not in customer.partial
        and (one := standing.get(name, {})).get("state") == CLOSED
    }


def put_off(standing: Standing) -> Iterator[str]:
    """Yield why nothing can be said of a domain: a table of the relay cannot be read, and all its mail waits."""
    for domain, one in standing.items():
        if one["state"] == PUT_OFF:
            tables = escape("; ".join(one["tables"]) or "its mail log names the table", 500)
            yield f"{domain} is neither open nor closed: a stranger is told {escape(one['reply'])!r}; {tables}"


def after_release(facts: Facts, spools: State | None) -> Facts:
    """Return what is known of a relay without who else closes the domains whose lists are accepted there by now."""
    found = {
        customer: {
            name: closer for name, closer in closers.items() if name not in accepted_of(spools, customer).domains
        }
        for customer, closers in facts.closed_by.items()
    }
    return facts._replace(closed_by={customer: closers for customer, closers in found.items() if closers})


def while_proving(facts: Facts, after: Facts) -> Facts:
    """Return what is known of a relay while our list is to be proved in the domains that are released."""
    found = {
        customer: {
            name: closer if name in after.closed_by.get(customer, {}) else PROVING for name, closer in closers.items()
        }
        for customer, closers in facts.closed_by.items()
    }
    return facts._replace(closed_by=found)


def released_domains(facts: Facts, after: Facts) -> list[str]:
    """Return the domains that are closed by another list before and no longer afterwards."""
    return [
        name
        for customer, closers in facts.closed_by.items()
        for name in closers
        if name not in after.closed_by.get(customer, {})
    ]


def proof(relay: Relay, domains: Sequence[str]) -> Change:
    """Return the step that proves that our list is in force in these domains; it fails with what is not so."""
    return Change(Item("listed", config_directory(relay), {"domains": list(domains)}), None)
