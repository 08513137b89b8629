"""provider.toml: who the operator is, in `[provider]`, and the other tables for the modules that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inventory.errors import Fault, InventoryError, describe_faults
from inventory.files import read_toml
from inventory.model import Provider
from inventory.validators import near

FILE = "provider.toml"
TABLES = ("provider", "store")


def read_tables(where: Path) -> Mapping[str, Any]:
    """Return the tables of provider.toml; none where there is no such file. Raises InventoryError."""
    if not (where / FILE).exists():
        return {}
    unread: list[Fault] = []
    tables = read_toml(where / FILE, FILE, unread) or {}
    if faults := [*(fault.text for fault in unread), *_faults(tables)]:
        raise InventoryError(faults)
    return tables


def _faults(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the file has besides the tables that are known."""
    for name, table in tables.items():
        if not isinstance(table, dict):
            yield f"{FILE}: {name}: stands outside a table; write it below {' or '.join(f'[{one}]' for one in TABLES)}"
        elif name not in TABLES:
            yield f"{FILE}: {name}: no such table{near(name, TABLES)}; there are {', '.join(TABLES)}"


def read_provider(where: Path) -> Provider | None:
    """Return who the operator is; None: provider.toml does not say. Raises InventoryError."""
    table = read_tables(where).get("provider")
    if table is None:
        return None
    try:
        return Provider.model_validate(table)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise InventoryError([f"{FILE}: provider.{describe_faults(Provider, each)}" for each in faults]) from None
