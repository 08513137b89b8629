"""For whom: the relays, the customers, their public keys. load() tells every fault of every file at once."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from inventory import domains, key_records, validators
from inventory.errors import InventoryError, describe_faults, follows
from inventory.model import Customer, Key, Relay, Table
from inventory.validators import near

__all__ = [
    "Customer",
    "Inventory",
    "InventoryError",
    "Key",
    "Relay",
    "find",
    "find_relay",
    "inventory_path",
    "load",
    "near",
    "relay_names",
    "retire",
    "retired",
    "retired_file",
]

T = TypeVar("T", bound=Table)


class Inventory(NamedTuple):
    """All relays and customers, by name and id, in the order of their files."""

    relays: Mapping[str, Relay]
    customers: Mapping[str, Customer]


def inventory_path() -> Path:
    """Return the inventory's directory: $POSTERN_INVENTORY, or the one beside this file, which holds the demo."""
    return Path(os.environ.get("POSTERN_INVENTORY") or Path(__file__).parent)


def load(where: Path) -> Inventory:
    """Read and check the whole inventory. Raises InventoryError with all that is wrong in it."""
    _must_be_there(where)
    faults: list[str] = []
    relay_tables = _relay_tables(where, faults)
    customer_tables = _customer_tables(where, faults)
    known, known_faults = key_records.known(where)
    faults += known_faults
    relays = _relays(relay_tables or {}, known, faults)
    customers = _customers(where, customer_tables, known, faults)
    if relay_tables is not None:
        faults += _unknown_relays(relay_tables, customer_tables)
    faults += _claimed_twice(customer_tables)
    faults += _shared_keys(customers)
    faults += _orphaned_keys(where, customer_tables)
    if faults:
        raise InventoryError(faults)
    return Inventory(relays, customers)


def relay_names(where: Path) -> tuple[str, ...]:
    """Name the relays that are written down, be the rest of the inventory as wrong as it likes."""
    _must_be_there(where)
    return tuple(_relay_tables(where, []) or ())


def retired_file(where: Path, customer_id: str) -> Path:
    """Return where the file of a customer that went is kept."""
    return where / "customers" / "retired" / f"{customer_id}.toml"


def retired(where: Path, customer_id: str) -> Customer | None:
    """Return a customer that went, with the keys still on record; None: there is none. Raises InventoryError."""
    path = retired_file(where, customer_id)
    try:
        validators.name(customer_id)
    except ValueError:
        return None
    if not path.is_file():
        return None
    faults: list[str] = []
    tables = {customer_id: _toml(path, f"customers/{path.name}", faults)}
    found = _customers(where, tables, key_records.known(where)[0], faults)
    if faults:
        raise InventoryError([fault.replace("customers/", "customers/retired/", 1) for fault in faults])
    return found[customer_id]


def retire(where: Path, customer_id: str) -> None:
    """Move a customer's file to those that went, which commits: it is nobody's to provision any more."""
    place = retired_file(where, customer_id)
    place.parent.mkdir(exist_ok=True)
    (where / "customers" / place.name).rename(place)


def find(inventory: Inventory, customer_id: str) -> Customer:
    """Return one customer. Raises InventoryError that names a near one."""
    return _find(inventory.customers, customer_id, "customer", "inventory/customers")


def find_relay(inventory: Inventory, name: str) -> Relay:
    """Return one relay. Raises InventoryError that names a near one."""
    return _find(inventory.relays, name, "relay", "inventory/relays.toml")


def _find(having: Mapping[str, T], word: str, noun: str, place: str) -> T:
    if word not in having:
        help_ = near(word, having)
        if not help_ and not os.environ.get("POSTERN_INVENTORY"):
            help_ = "; POSTERN_INVENTORY is not set, so that is this repository's own"
        raise InventoryError([f"no {noun} {word!r} in {place}{help_}"])
    return having[word]


def _must_be_there(where: Path) -> None:
    if not where.is_dir():
        raise InventoryError([f"{where}: no such directory; POSTERN_INVENTORY names the one that holds relays.toml"])


# ---- files to tables; None is a file that could not be read, which is a fault of its own

Tables = dict[str, dict[str, Any] | None]


def _relay_tables(where: Path, faults: list[str]) -> Tables | None:
    tables = _toml(where / "relays.toml", "relays.toml", faults)
    if tables is None:
        return None
    loose = [name for name, table in tables.items() if not isinstance(table, dict)]
    faults += [f"relays.toml: {name}: stands outside a table; write it below its relay's [NAME]" for name in loose]
    return {name: table for name, table in tables.items() if name not in loose}


def _customer_tables(where: Path, faults: list[str]) -> Tables:
    tables: Tables = {}
    folder = where / "customers"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name == "retired" or path.name.startswith("."):
            continue
        if path.suffix == ".toml" and not path.is_dir():
            tables[path.stem] = _toml(path, f"customers/{path.name}", faults)
        else:
            help_ = "those are named ID.toml; old ones are kept in customers/retired"
            faults.append(f"customers/{path.name}: no customer's file: {help_}")
    return tables


def _toml(path: Path, shown: str, faults: list[str]) -> dict[str, Any] | None:
    try:
        text = path.read_bytes()
        return tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        faults.append(f"{shown}: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{shown}: line {text.count(10, 0, error.start) + 1}: is not UTF-8; save it as UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        escaped = any(hint in str(error) for hint in ("'\\'", "hex value", "escape"))
        help_ = "; write Windows paths between single quotes" if escaped else ""
        help_ += "; is a key given twice, or a [table]?" if "overwrite" in str(error) else ""
        faults.append(f"{shown}: is not TOML: {error}{help_}")
    return None


# ---- tables to relays and customers


HostKeys = Mapping[str, tuple[str, ...]]  # by name in known_hosts


def _relays(tables: Tables, known: HostKeys, faults: list[str]) -> dict[str, Relay]:
    relays = {}
    for name, table in tables.items():
        relay = _check_customer(Relay, f"relays.toml: {name}.", table or {}, {"name": name}, faults)
        if relay:
            relays[name] = relay.model_copy(update={"host_keys": known.get(key_records.host_field(relay), ())})
    return relays


def _customers(where: Path, tables: Tables, known: HostKeys, faults: list[str]) -> dict[str, Customer]:
    customers = {}
    for stem, table in tables.items():
        recorded, key_faults = key_records.read(where, stem)
        faults += key_faults
        if table is not None:
            given = {"id": stem, "keys": recorded}
            customer = _check_customer(Customer, f"customers/{stem}.toml: ", table, given, faults)
            if customer:
                of_server = known.get(key_records.host_field(customer.exchange.ssh), ())
                customers[stem] = customer.model_copy(update={"host_keys": of_server})
    return customers


def _check_customer(
    model: type[T], shown: str, table: Mapping[str, Any], given: Mapping[str, Any], faults: list[str]
) -> T | None:
    faults += [f"{shown}{key}: no such key: it is not for the file to say" for key in table if key in model.given]
    try:
        return model.model_validate(_freeze({**table, **given}))
    except ValidationError as error:
        faults += [
            shown + describe_faults(model, detail) for detail in error.errors(include_url=False) if not follows(detail)
        ]
    return None


def _freeze(value: Any) -> Any:
    """Turn TOML's arrays into tuples: the model is strict and a tuple is what it asks for."""
    if isinstance(value, dict):
        return {key: _freeze(inner) for key, inner in value.items()}
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


# ---- what spans files


def _unknown_relays(relays: Tables, customers: Tables) -> Iterator[str]:
    for stem, table in customers.items():
        for name in _texts(table, "relays"):
            if name not in relays:
                yield f"customers/{stem}.toml: relays: {name!r} is not in relays.toml{near(name, relays)}"


def _claimed_twice(customers: Tables) -> Iterator[str]:
    owners: dict[str, str] = {}
    for stem, table in customers.items():
        for written in _texts(table, "domains"):
            try:
                owner = owners.setdefault(domain := domains.ascii_form(written), stem)
            except ValueError:
                continue  # said where the customer was checked
            if owner != stem:
                yield f"customers/{stem}.toml: domains: {domain!r} is claimed by customers/{owner}.toml too"


def _shared_keys(customers: Mapping[str, Customer]) -> Iterator[str]:
    """Refuse a key of two customers: it alone tells who uploads, and sshd takes the first line that has it."""
    owners: dict[str, str] = {}
    for customer in customers.values():
        for key in customer.keys:
            file = f"keys/{customer.id}/{key.name}.pub"
            first = owners.setdefault(key.public, file)
            if not first.startswith(f"keys/{customer.id}/"):
                yield f"{file}: is the key of {first} too: a key says who uploads, so each customer needs its own"


def _orphaned_keys(where: Path, customers: Tables) -> Iterator[str]:
    for customer in key_records.recorded_customers(where):
        if customer not in customers and not retired_file(where, customer).exists():
            help_ = near(customer, customers) or "; move the folder to where the customer's file went"
            yield f"keys/{customer}: no customer {customer!r} in customers{help_}"


def _texts(table: Mapping[str, Any] | None, key: str) -> list[str]:
    """Return the texts of a list as they are written, be the rest of the file as wrong as it likes."""
    value = (table or {}).get(key)
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
