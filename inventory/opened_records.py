"""Customers whose domains a person had opened, `opened/CUSTOMER.json`: what provision brings to relays that lack it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.opened import LONGEST, Opened
from inventory.atomic_text import replace_text, sync_folder


def read(where: Path, customer: str) -> Opened | None:
    """Return the customer's record; None: there is none. A damaged one says neither when nor who."""
    try:
        with _path(where, customer).open("rb") as file:
            return Opened.read(file.read(LONGEST), customer)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Opened(customer)


def record(where: Path, opened: Opened) -> None:
    """Write a record down: from now on provision brings the marker to every relay of the customer."""
    replace_text(_path(where, opened.customer), opened.text())


def forget(where: Path, customer: str) -> bool:
    """Remove a record; tell whether there was one."""
    path = _path(where, customer)
    if not path.exists():
        return False
    path.unlink()
    sync_folder(path.parent)
    return True


def recorded_customers(where: Path) -> Iterator[str]:
    """Yield the customers that have a record, in files of customers/ or not."""
    folder = where / "opened"
    yield from (path.stem for path in sorted(folder.iterdir()) if path.suffix == ".json") if folder.is_dir() else ()


def _path(where: Path, customer: str) -> Path:
    return where / "opened" / f"{customer}.json"
