"""Which settings a customer's lists are judged by where relays share a store: number, hash, what may not be lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from inventory.model import Customer
from roles.relay.customer import settings
from roles.relay.facts import Facts

_NO_JUDGE = {"days": "", "starts": "", "timezone": "UTC", "drop": False, "closed_by": {}}
"""Fields of the settings by which no list is judged, and what they count as."""


class Revision(NamedTuple):
    """The number and the hash of settings."""

    number: int
    hash: str


def tree_revision(facts: Facts, customer: str) -> Revision:
    """Return what a customer's tree on a relay has; number 0: it has none."""
    return _revision(facts, customer, "tree")


def store_revision(facts: Facts, customer: str) -> Revision:
    """Return what the store's list has that is in force on a relay; number 0: none is."""
    return _revision(facts, customer, "store")


def settings_hash(customer: Customer) -> str:
    """Return the SHA-256, in hexadecimal digits, of all by which the customer's lists are judged; not its keys."""
    judged = {**settings(customer)._asdict(), **_NO_JUDGE}
    return sha256(json.dumps(judged, sort_keys=True, default=list).encode()).hexdigest()


def held_words(customer: Customer) -> list[str]:
    """Return what other settings could lose, in the words of `--removing`."""
    words = [f"domain:{name}" for name in customer.domains]
    words += [f"partial:{name}" for name in customer.partial]
    words += [f"include:{address}" for address in customer.include]
    words += [f"unlisted:{customer.unlisted}"] if customer.unlisted in ("defer", "ask") else []
    return [*words, *(["plus"] if customer.plus_addresses is not False else [])]


def replaced_words(customer: Customer) -> list[str]:
    """Return what the customer's settings lack because they refuse even fewer."""
    return ["unlisted:defer"] if customer.unlisted == "ask" else []


def wanted_revision(customer: Customer, facts: Facts) -> Revision:
    """Return what the tree is to have: the number that was taken for it, else the one it has or the next."""
    there, name = tree_revision(facts, customer.id), settings_hash(customer)
    number = there.number if there.hash == name and there.number else there.number + 1
    return Revision(facts.numbers.get(customer.id, number), name)


def revision_text(customer: Customer, facts: Facts) -> str:
    """Return the tree's store.json."""
    wanted = {"postern": 1, **wanted_revision(customer, facts)._asdict(), "holds": held_words(customer)}
    wanted["uploads"] = list(customer.upload_relays)
    return json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"


def _revision(facts: Facts, customer: str, which: str) -> Revision:
    found: Mapping[str, Any] = facts.revisions.get(customer) or {}
    number, name = (found.get(which) or (0, ""))[:2]
    return Revision(number if isinstance(number, int) else 0, str(name or ""))
