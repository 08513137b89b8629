"""provider.toml: who the operator is. A table each: `[provider]`; others read theirs from the same file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inventory.errors import InventoryError, describe_faults
from inventory.model import Provider

FILE = "provider.toml"
TABLES = ("provider", "store")


def read_tables(where: Path) -> Mapping[str, Any]:
    """Return the tables of provider.toml; none where there is no such file. Raises InventoryError."""
    try:
        tables = tomllib.loads((where / FILE).read_text("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InventoryError([f"{FILE}: {error.strerror}"]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InventoryError([f"{FILE}: is not TOML in UTF-8: {error}"]) from None
    unknown = [name for name in tables if name not in TABLES]
    if unknown:
        raise InventoryError([f"{FILE}: {name}: no such table; there are {', '.join(TABLES)}" for name in unknown])
    return tables


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
