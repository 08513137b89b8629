"""What is wrong between the files of an inventory: names that are nowhere, and what two customers may not share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.opened import Opened
from inventory import domains, key_records, opened_records
from inventory.errors import Fault
from inventory.files import Tables, retired_file
from inventory.model import Customer, Key
from inventory.validators import near


class Records(NamedTuple):
    """The records that commands keep of a customer."""

    keys: tuple[Key, ...]
    opened: Opened | None


def unknown_relays(relays: Tables, customers: Tables) -> Iterator[Fault]:
    """Yield the relays of customers' files that are not in relays.toml."""
    for stem, table in customers.items():
        for name in texts_of(table, "relays"):
            if name not in relays:
                text = f"customers/{stem}.toml: relays: {name!r} is not in relays.toml{near(name, relays)}"
                yield Fault(text, frozenset({f"customers/{stem}"}))


def claimed_twice(customers: Tables) -> Iterator[Fault]:
    """Yield domains that two files claim; files with other faults count as well."""
    owners: dict[str, str] = {}
    for stem, table in customers.items():
        for written in texts_of(table, "domains"):
            try:
                owner = owners.setdefault(domain := domains.ascii_form(written), stem)
            except ValueError:
                continue  # said where the customer was checked
            if owner != stem:
                text = f"customers/{stem}.toml: domains: {domain!r} is claimed by customers/{owner}.toml too"
                yield Fault(text, frozenset({f"customers/{stem}", f"customers/{owner}"}))


def shared_keys(records: Mapping[str, Records]) -> Iterator[Fault]:
    """Yield keys that two customers have: the key alone says who uploads, and sshd takes the first line that has it."""
    owners: dict[str, tuple[str, str]] = {}
    for stem, theirs in records.items():
        for key in theirs.keys:
            file = f"keys/{stem}/{key.name}.pub"
            owner, first = owners.setdefault(key.public, (stem, file))
            if owner != stem:
                text = f"{file}: is the key of {first} too: a key says who uploads, so each customer needs its own"
                yield Fault(text, frozenset({f"customers/{stem}", f"customers/{owner}"}))


def shared_folders(customers: Mapping[str, Customer]) -> Iterator[Fault]:
    """Yield folders that two customers have on one machine: each would get the other's script and keys."""
    owners: dict[tuple[str, int | None, str], str] = {}
    for stem, customer in customers.items():
        exchange, there = customer.exchange, customer.exchange.ssh
        if exchange.reach != "ssh" or there.address is None:
            continue
        folder = exchange.directory if exchange.is_posix else exchange.directory.casefold()
        owner = owners.setdefault((there.address.casefold(), there.port, folder), stem)
        if owner != stem:
            text = f"customers/{stem}.toml: exchange.directory: {exchange.directory!r} of {there.address} is of"
            text = f"{text} customers/{owner}.toml too: each customer needs a folder of its own"
            yield Fault(text, frozenset({f"customers/{stem}", f"customers/{owner}"}))


def orphaned_records(where: Path, customers: Tables) -> Iterator[Fault]:
    """Yield keys and markers of customers that have no file."""
    keys = {f"keys/{customer}": customer for customer in key_records.recorded_customers(where)}
    opened = {f"opened/{customer}.json": customer for customer in opened_records.recorded_customers(where)}
    for record, customer in {**keys, **opened}.items():
        if customer not in customers and not retired_file(where, customer).exists():
            help_ = near(customer, customers) or "; move it to where the customer's file went"
            text = f"{record}: no customer {customer!r} in customers{help_}"
            yield Fault(text, frozenset({f"customers/{customer}"}))


def texts_of(table: Mapping[str, Any] | None, key: str) -> list[str]:
    """Return the texts of a list as they are written, whatever is wrong in the rest of the file."""
    value = (table or {}).get(key)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
