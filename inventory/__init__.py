"""The relays, the customers, their public keys. load() names every fault of every file at once.

A command for one customer is stopped by the faults that touch this customer, and not by another's; one for all goes on
with those whose files are right.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from common import exit_codes
from inventory import key_records, opened_records, validators
from inventory.cross_checks import (
    Records,
    claimed_twice,
    orphaned_records,
    shared_folders,
    shared_keys,
    texts_of,
    unknown_relays,
)
from inventory.errors import Fault, InventoryError, describe_faults, faults_about, follows_from_others
from inventory.files import (
    Tables,
    list_backups,
    read_customer_tables,
    read_relay_tables,
    read_toml,
    require_folder,
    retire,
    retired_file,
)
from inventory.model import Customer, Key, Provider, Relay
from inventory.provider import FILE, read_provider
from inventory.store import Store, files_for, read_store
from inventory.table import Table
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
    "list_backups",
    "load",
    "load_sound",
    "near",
    "relay_names",
    "require_folder",
    "retire",
    "retired_file",
]

T = TypeVar("T", bound=Table)


class Inventory(NamedTuple):
    """All relays and customers, by name and id, in the order of their files."""

    relays: Mapping[str, Relay]
    customers: Mapping[str, Customer]
    faults: tuple[str, ...] = ()  # of files that the command does not need
    store: Store | None = None  # the database of all relays
    unread: frozenset[str] = frozenset()  # customers whose files have such faults that they are not among `customers`
    provider: Provider | None = None  # who the operator is, where that is written down
    provider_faults: tuple[str, ...] = ()  # of provider.toml: without it no kit and no relay may be written
    code: int = exit_codes.DONE  # REFUSED: customers that were asked for were left out, as `faults` says


def inventory_path() -> Path:
    """Return the inventory's directory: $POSTERN_INVENTORY, or the one beside this file, which holds the demo."""
    return Path(os.environ.get("POSTERN_INVENTORY") or Path(__file__).parent)


def load(where: Path, customers: Collection[str] | None = None, relays: Collection[str] = ()) -> Inventory:
    """Read and check the inventory. Raises InventoryError with all that is wrong in it.

    With `customers` only what concerns these, their relays, and `relays` is raised; the rest is in `faults`.
    """
    found, faults, tables = _read(where)
    needed = [*relays, *(name for one in customers or () for name in texts_of(tables.get(one), "relays"))]
    wanted = {*(f"customers/{one}" for one in customers or ()), *(f"relays/{name}" for name in needed)}
    touching = [one.text for one in faults if customers is None or not one.about or one.about & wanted]
    if touching:
        raise InventoryError(dict.fromkeys(touching))
    return found


def load_sound(where: Path) -> Inventory:
    """Read the inventory without the customers whose files have faults: they are `unread`, and `faults` says why.

    Raises InventoryError with all that is wrong where it concerns more than customers, or no customer is left.
    """
    found, faults, tables = _read(where)
    about = frozenset[str]().union(*(one.about for one in faults))
    unread = frozenset(stem for stem in tables if f"customers/{stem}" in about)
    sound = {stem: one for stem, one in found.customers.items() if stem not in unread}
    is_theirs = all(one.about and all(place.startswith("customers/") for place in one.about) for one in faults)
    if faults and not (is_theirs and sound):
        raise InventoryError(found.faults)
    return found._replace(customers=sound, unread=unread, code=exit_codes.REFUSED if faults else exit_codes.DONE)


def _read(where: Path) -> tuple[Inventory, list[Fault], Tables]:
    """Return what can be used, each fault once, and the customers' files as they are written."""
    require_folder(where)
    faults: list[Fault] = []
    relay_tables = read_relay_tables(where, faults)
    customer_tables = read_customer_tables(where, faults)
    known, known_faults = key_records.read_known_hosts(where)
    faults += faults_about(known_faults, "known_hosts")
    provider, provider_faults = _provider(where)
    records = _records(where, customer_tables, faults)
    machines = _relays(relay_tables or {}, known, faults)
    read = _customers("customers", customer_tables, records, known, faults)
    store, machines, store_faults = _with_store(machines, where)
    provider_faults = tuple(dict.fromkeys([*provider_faults, *store_faults]))
    faults += faults_about(provider_faults, FILE)
    found = Inventory(machines, _with_followers(read, machines), (), store, frozenset(), provider, provider_faults)
    faults += [*_faults_of_followers(found)]
    if relay_tables is not None:
        faults += unknown_relays(relay_tables, customer_tables)
    faults += [*claimed_twice(customer_tables), *shared_keys(records), *orphaned_records(where, customer_tables)]
    faults += shared_folders(read)
    unread = frozenset(customer_tables.keys() - found.customers.keys())
    texts = tuple(dict.fromkeys(one.text for one in faults))
    return found._replace(faults=texts, unread=unread), faults, customer_tables


def relay_names(where: Path) -> tuple[str, ...]:
    """Return the names of the relays in relays.toml, whatever is wrong in the rest of the inventory.

    None are returned while the file is not there. Raises InventoryError where it is not TOML.
    """
    require_folder(where)
    faults: list[Fault] = []
    tables = read_relay_tables(where, faults)
    if tables is None and (where / "relays.toml").exists():
        raise InventoryError([fault.text for fault in faults])
    return tuple(tables or ())


def is_retired(where: Path, customer_id: str) -> bool:
    """Return whether a customer went, whose file still stands in customers/retired, with faults or without."""
    try:
        validators.name(customer_id)
    except ValueError:
        return False
    return retired_file(where, customer_id).is_file()


def find_retired(where: Path, customer_id: str) -> Customer | None:
    """Return a customer that went, with the keys still on record; None: there is none. Raises InventoryError."""
    if not is_retired(where, customer_id):
        return None
    path = retired_file(where, customer_id)
    faults: list[Fault] = []
    tables = {customer_id: read_toml(path, f"customers/retired/{path.name}", faults)}
    records = _records(where, tables, faults)
    found = _customers("customers/retired", tables, records, key_records.read_known_hosts(where)[0], faults)
    if faults:
        raise InventoryError([fault.text for fault in faults])
    return found[customer_id]


def require_provider(inventory: Inventory) -> None:
    """Raise InventoryError where provider.toml has faults.

    What writes kits and relays wants it right: without it kits would lose who "we" are, and relays their part in the
    store. A command that only asks or decides about lists goes on.
    """
    if inventory.provider_faults:
        raise InventoryError(inventory.provider_faults)


def find(inventory: Inventory, customer_id: str) -> Customer:
    """Return one customer. Raises InventoryError that names a near one, or says that this one is retired."""
    retired_names = {path.stem for path in (inventory_path() / "customers" / "retired").glob("*.toml")}
    if customer_id in retired_names.difference(inventory.customers):
        text = f"customer {customer_id!r} is retired; its file is in customers/retired of the inventory"
        raise InventoryError([text])
    return _find(inventory.customers, customer_id, "customer", "customers/ of the inventory")


def find_relay(inventory: Inventory, name: str) -> Relay:
    """Return one relay. Raises InventoryError that names a near one."""
    return _find(inventory.relays, name, "relay", "relays.toml of the inventory")


def _find(having: Mapping[str, T], word: str, noun: str, place: str) -> T:
    if word not in having:
        help_ = near(word, having)
        if not help_ and not os.environ.get("POSTERN_INVENTORY"):
            help_ = "; POSTERN_INVENTORY is not set, so that is this repository's own"
        raise InventoryError([f"no {noun} {word!r} in {place}{help_}"])
    return having[word]


def _provider(where: Path) -> tuple[Provider | None, Sequence[str]]:
    """Return who the operator is, or what is wrong there."""
    try:
        return read_provider(where), ()
    except InventoryError as error:
        return None, error.faults


# ---- tables to relays and customers


HostKeys = Mapping[str, tuple[str, ...]]  # by name in known_hosts


def _records(where: Path, customers: Iterable[str], faults: list[Fault]) -> dict[str, Records]:
    found = {}
    for stem in customers:
        keys, texts = key_records.read(where, stem)
        faults += faults_about(texts, f"customers/{stem}")
        found[stem] = Records(keys, opened_records.read(where, stem))
    return found


def _relays(tables: Tables, known: HostKeys, faults: list[Fault]) -> dict[str, Relay]:
    relays = {}
    for name, table in tables.items():
        texts: list[str] = []
        relay = _check_table(Relay, f"relays.toml: {name}.", table or {}, {"name": name}, texts)
        faults += faults_about(texts, f"relays/{name}")
        if relay:
            relays[name] = relay.model_copy(update={"host_keys": known.get(key_records.host_field(relay), ())})
    return relays


def _customers(
    folder: str, tables: Tables, records: Mapping[str, Records], known: HostKeys, faults: list[Fault]
) -> dict[str, Customer]:
    customers = {}
    for stem, table in tables.items():
        if table is None:
            continue
        texts: list[str] = []
        given = {"id": stem, **records[stem]._asdict()}
        customer = _check_table(Customer, f"{folder}/{stem}.toml: ", table, given, texts)
        faults += faults_about(texts, f"customers/{stem}")
        if customer:
            of_server = known.get(key_records.host_field(customer.exchange.ssh), ())
            customers[stem] = customer.model_copy(update={"host_keys": of_server})
    return customers


def _check_table(
    model: type[T], shown: str, table: Mapping[str, Any], given: Mapping[str, Any], faults: list[str]
) -> T | None:
    faults += [f"{shown}{key}: no such key: the file cannot set it" for key in table if key in model.given]
    try:
        return model.model_validate(_freeze({**table, **given}))
    except ValidationError as error:
        faults += [
            shown + describe_faults(model, detail)
            for detail in error.errors(include_url=False)
            if not follows_from_others(detail)
        ]
    return None


def _freeze(value: Any) -> Any:
    """Return TOML's arrays as tuples, which the strict model requires."""
    if isinstance(value, dict):
        return {key: _freeze(inner) for key, inner in value.items()}
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


# ---- the store


def _with_store(relays: dict[str, Relay], where: Path) -> tuple[Store | None, dict[str, Relay], Sequence[str]]:
    """Return the store, and the relays with what each is to know of it; or what is wrong with it."""
    try:
        store = read_store(where)
        files = {name: files_for(store, where, relay) if store else None for name, relay in relays.items()}
    except InventoryError as error:
        return None, relays, error.faults
    return store, {name: relay.model_copy(update={"store": files[name]}) for name, relay in relays.items()}, ()


def _with_followers(customers: Mapping[str, Customer], relays: Mapping[str, Relay]) -> dict[str, Customer]:
    followers = frozenset(name for name, relay in relays.items() if relay.role == "follower")
    return {
        stem: one.model_copy(update={"followers": followers.intersection(one.relays)})
        for stem, one in customers.items()
    }


def _faults_of_followers(found: Inventory) -> Iterator[Fault]:
    for name, relay in found.relays.items():
        if relay.role == "follower" and found.store is None and not found.provider_faults:
            text = f"relays.toml: {name}.role: 'follower' takes its lists from a store: provider.toml lacks [store]"
            yield Fault(f'{text}; without one this relay needs role = "upload"', frozenset({f"relays/{name}"}))
    for stem, customer in found.customers.items():
        if not customer.upload_relays:
            text = f"customers/{stem}.toml: relays: names followers alone: one at least must take the uploads"
            yield Fault(text, frozenset({f"customers/{stem}"}))
