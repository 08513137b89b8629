"""For whom: the relays, the customers, their public keys. load() tells every fault of every file at once."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inventory import keys, words
from inventory.model import Customer, Key, Relay, Table
from inventory.words import near

__all__ = ["Customer", "Inventory", "InventoryError", "Key", "Relay", "find", "find_relay", "load", "near", "where"]

T = TypeVar("T", bound=Table)


class InventoryError(Exception):
    """The inventory cannot be used as it stands, or has not what was asked for. One text per fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        """Keep the faults for who shows them one by one."""
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class Inventory(NamedTuple):
    """All relays and customers, by name and id, in the order of their files."""

    relays: Mapping[str, Relay]
    customers: Mapping[str, Customer]


def where() -> Path:
    """Return the inventory's directory: $POSTERN_INVENTORY, or the one beside this file, which holds the demo."""
    return Path(os.environ.get("POSTERN_INVENTORY") or Path(__file__).parent)


def load(where: Path) -> Inventory:
    """Read and check the whole inventory. Raises InventoryError with all that is wrong in it."""
    if not where.is_dir():
        raise InventoryError([f"{where}: no such directory; POSTERN_INVENTORY names the one that holds relays.toml"])
    faults: list[str] = []
    relay_tables, customer_tables = _relay_tables(where, faults), _customer_tables(where, faults)
    relays = _relays(where, relay_tables, faults)
    customers = _customers(where, customer_tables, faults)
    faults += _unknown_relays(relay_tables, customer_tables)
    faults += _claimed_twice(customer_tables)
    faults += _orphaned_keys(where, customer_tables)
    if faults:
        raise InventoryError(faults)
    return Inventory(relays, customers)


def find(inventory: Inventory, customer_id: str) -> Customer:
    """Return one customer. Raises InventoryError that names a near one."""
    return _find(inventory.customers, customer_id, "customer", "inventory/customers")


def find_relay(inventory: Inventory, name: str) -> Relay:
    """Return one relay. Raises InventoryError that names a near one."""
    return _find(inventory.relays, name, "relay", "inventory/relays.toml")


def _find(having: Mapping[str, T], word: str, noun: str, place: str) -> T:
    if word not in having:
        raise InventoryError([f"no {noun} {word!r} in {place}{near(word, having)}"])
    return having[word]


# ---- files to tables

Tables = dict[str, dict[str, Any]]


def _relay_tables(where: Path, faults: list[str]) -> Tables:
    tables = _toml(where / "relays.toml", "relays.toml", faults)
    loose = [name for name, table in tables.items() if not isinstance(table, dict)]
    faults += [f"relays.toml: {name}: stands outside a table; write it below its relay's [NAME]" for name in loose]
    return {name: table for name, table in tables.items() if name not in loose}


def _customer_tables(where: Path, faults: list[str]) -> Tables:
    tables = {}
    folder = where / "customers"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name == "retired" or path.name.startswith("."):
            continue
        if path.suffix != ".toml" or path.is_dir():
            faults.append(
                f"customers/{path.name}: no customer's file: those are ID.toml; old ones go to customers/retired"
            )
            continue
        tables[path.stem] = _toml(path, f"customers/{path.name}", faults)
    return tables


def _toml(path: Path, shown: str, faults: list[str]) -> dict[str, Any]:
    """Return the file's table; an empty one, and a fault, when it cannot be read."""
    try:
        text = path.read_bytes()
        return tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        faults.append(f"{shown}: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.append(f"{shown}: line {text.count(10, 0, error.start) + 1}: is not UTF-8; save it as UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        help_ = "; write Windows paths between single quotes" if "'\\'" in str(error) or "\\\\" in str(error) else ""
        faults.append(f"{shown}: not TOML: {error}{help_}")
    return {}


# ---- tables to relays and customers


def _relays(where: Path, tables: Tables, faults: list[str]) -> dict[str, Relay]:
    known, known_faults = keys.known(where)
    faults += known_faults
    relays = {}
    for name, table in tables.items():
        relay = _checked(Relay, table, {"name": name}, f"relays.toml: {name}", ".", faults)
        if relay:
            relays[name] = relay.model_copy(update={"host_keys": known.get(keys.host_field(relay), ())})
    return relays


def _customers(where: Path, tables: Tables, faults: list[str]) -> dict[str, Customer]:
    customers = {}
    for stem, table in tables.items():
        recorded, key_faults = keys.read(where, stem)
        faults += key_faults
        if not table and any(fault.startswith(f"customers/{stem}.toml: ") for fault in faults):
            continue  # unreadable, which has been said; that it lacks every key needs no saying
        customer = _checked(Customer, table, {"id": stem, "keys": recorded}, f"customers/{stem}.toml", ": ", faults)
        if customer:
            customers[stem] = customer
    return customers


def _checked(
    model: type[T], table: dict[str, Any], given: dict[str, Any], shown: str, joint: str, faults: list[str]
) -> T | None:
    known = _keys_of(model)
    faults += [f"{shown}{joint}{key}: no such key{near(key, known)}" for key in table if key in model.given]
    try:
        return model.model_validate(_frozen({**table, **given}))
    except ValidationError as error:
        faults += [f"{shown}{joint}{_fault(model, detail)}" for detail in error.errors(include_url=False)]
    return None


def _frozen(value: Any) -> Any:
    """Turn TOML's arrays into tuples: the model is strict and a tuple is what it asks for."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# ---- faults in words

_MEANS = {
    "string_type": 'must be text between quotes, as "..."',
    "bool_type": "must be true or false, without quotes",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "tuple_type": "must be a list, as [...]",
    "model_type": "must be a table",
    "too_short": "must not be empty",
}


def _fault(model: type[Table], detail: ErrorDetails) -> str:
    path = [part for part in detail["loc"] if isinstance(part, str)]
    table = _table_at(model, path[:-1])
    key = ".".join(path)
    if detail["type"] == "extra_forbidden":
        return f"{key}: no such key{near(path[-1], _keys_of(table))}"
    if detail["type"] == "missing":
        return f"{key}: must be given. {_keys_of(table)[path[-1]]}"
    return f"{key}: {_why(detail)}"


def _why(detail: ErrorDetails) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    shown = f"{value!r} " if isinstance(value, str) else ""
    if detail["type"] == "value_error":
        return f"{shown[:100]}{context['error']}"
    if detail["type"] == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{shown[:100]}must be one of {', '.join(choices)}{near(str(value), choices)}"
    means = _MEANS.get(detail["type"]) or detail["msg"].replace("Input should be", "must be")
    return f"{value!r:.100} {means}"


def _table_at(model: type[Table], path: Iterable[str]) -> type[Table]:
    for part in path:
        inner = model.model_fields[part].annotation
        if isinstance(inner, type) and issubclass(inner, Table):
            model = inner
    return model


def _keys_of(model: type[Table]) -> dict[str, str]:
    """Return the keys a file may have, with their sentences."""
    fields = model.model_fields.items()
    return {field.alias or name: field.description or "" for name, field in fields if name not in model.given}


# ---- what spans files


def _unknown_relays(relays: Tables, customers: Tables) -> Iterator[str]:
    for stem, table in customers.items():
        for name in _texts(table.get("relays")):
            if name not in relays:
                yield f"customers/{stem}.toml: relays: {name!r} is not in relays.toml{near(name, relays)}"


def _claimed_twice(customers: Tables) -> Iterator[str]:
    owners: dict[str, str] = {}
    for stem, table in customers.items():
        for written in _texts(table.get("domains")):
            try:
                owner = owners.setdefault(domain := words.domain(written), stem)
            except ValueError:
                continue  # said where the customer was checked
            if owner != stem:
                yield f"customers/{stem}.toml: domains: {domain!r} is claimed by customers/{owner}.toml too"


def _orphaned_keys(where: Path, customers: Tables) -> Iterator[str]:
    for customer in keys.recorded_customers(where):
        if customer not in customers:
            help_ = near(customer, customers) or "; move the folder to where the customer's file went"
            yield f"keys/{customer}: no customer {customer!r} in customers{help_}"


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
