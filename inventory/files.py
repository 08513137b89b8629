"""The inventory's files as tables, before anything in them is checked, and where retired customers' files are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from inventory.errors import Fault, InventoryError, faults_about

Tables = dict[str, dict[str, Any] | None]
"""By name, tables as they are written; None is a file that could not be read, which is a fault of its own."""

BACKUPS = ("~", ".bak", ".orig", ".swp", ".swo")
"""How the names of files end that editors leave beside the one that was edited."""


def require_folder(where: Path) -> None:
    """Raise InventoryError where there is no such directory."""
    if not where.is_dir():
        raise InventoryError([f"{where}: no such directory; POSTERN_INVENTORY names the one that holds relays.toml"])


def read_relay_tables(where: Path, faults: list[Fault]) -> Tables | None:
    """Return the tables of relays.toml by the relay's name; None: the file cannot be read."""
    path = where / "relays.toml"
    if not path.exists():
        faults += faults_about([f"{path}: is not there; it has a table for each relay: [mx1], and address below it"])
        return None
    tables = read_toml(path, "relays.toml", faults)
    if tables is None:
        return None
    loose = [name for name, table in tables.items() if not isinstance(table, dict)]
    for name in loose:
        text = f"relays.toml: {name}: stands outside a table; write it below its relay's [NAME]"
        faults += faults_about([text], f"relays/{name}")
    return {name: table for name, table in tables.items() if name not in loose}


def read_customer_tables(where: Path, faults: list[Fault]) -> Tables:
    """Return the files of customers/ by the customer's id."""
    tables: Tables = {}
    folder = where / "customers"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name == "retired" or path.name.startswith(".") or _is_backup(path):
            continue
        if path.suffix == ".toml" and not path.is_dir():
            tables[path.stem] = read_toml(path, f"customers/{path.name}", faults, f"customers/{path.stem}")
        else:
            help_ = "those are named ID.toml; old ones are kept in customers/retired"
            faults += faults_about([f"customers/{path.name}: no customer's file: {help_}"], f"customers/{path.name}")
    return tables


def _is_backup(path: Path) -> bool:
    """Return whether an editor left this beside a file, or a person before editing one."""
    return not path.is_dir() and (path.name.endswith(BACKUPS) or path.name.startswith("#"))


def read_toml(path: Path, shown: str, faults: list[Fault], *about: str) -> dict[str, Any] | None:
    """Return a file's table. `shown`: its name in messages; `about`: whom a fault of it concerns."""
    try:
        text = path.read_bytes()
        return tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        fault = f"{shown}: {error.strerror}"
    except UnicodeDecodeError as error:
        fault = f"{shown}: line {text.count(10, 0, error.start) + 1}: is not UTF-8; save it as UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        escaped = any(hint in str(error) for hint in ("'\\'", "hex value", "escape"))
        help_ = "; write Windows paths between single quotes" if escaped else ""
        help_ += "; is a key given twice, or a [table]?" if "overwrite" in str(error) else ""
        fault = f"{shown}: is not TOML: {error}{help_}"
    faults += faults_about([fault], *about)
    return None


def list_backups(where: Path) -> list[str]:
    """Return the names of editors' backups among the customers' files, which are no customers."""
    folder = where / "customers"
    found = [path for path in folder.iterdir() if _is_backup(path)] if folder.is_dir() else []
    return sorted(path.name for path in found if not path.name.startswith("."))


def retired_file(where: Path, customer_id: str) -> Path:
    """Return where the file of a customer that went is kept."""
    return where / "customers" / "retired" / f"{customer_id}.toml"


def retire(where: Path, customer_id: str) -> None:
    """Move a customer's file to customers/retired, which commits the retirement: no command provisions it any more."""
    place = retired_file(where, customer_id)
    place.parent.mkdir(exist_ok=True)
    (where / "customers" / place.name).rename(place)
