"""Runs on the relay: kind `spools`, how each customer's lists stand. What lies in a spool may be anybody's work.

It is read as root, so by descriptor, through no link, of plain files alone and never more than a bound.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from typing import Any

from deploy.agent import Asked, Kind, State
from roles.postfix.there.now import nothing_to_make

BOUND = 1 << 20  # bytes of a JSON file of the receiver's
FILES = {
    "last_run": "last-run.json",
    "accepted": "accepted.json",
    "held": "held/why.json",
    "pinned": "pinned.json",
    "keys": "keys.json",
}


def _read(asked: list[Asked]) -> list[State | None]:
    return [_spools(one.name, (one.wanted or {})["customers"]) for one in asked]


def _spools(home: str, customers: Iterable[str]) -> State | None:
    """Each customer's files as the receiver wrote them: null what is not there, a text what cannot be read."""
    try:
        folder = _directory(os.path.join(home, "customers"), None)
    except FileNotFoundError:
        return None
    try:
        return {customer: _spool(folder, customer) for customer in customers}
    finally:
        os.close(folder)


def _spool(folder: int, customer: str) -> dict[str, Any] | str | None:
    try:
        spool = _directory(customer, folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{customer} cannot be read: {error}"
    try:
        return {name: _content(spool, path) for name, path in FILES.items()}
    finally:
        os.close(spool)


def _content(folder: int, path: str) -> Any:
    first, _, rest = path.partition("/")
    try:
        if not rest:
            return _json(folder, first)
        inner = _directory(first, folder)
        try:
            return _json(inner, rest)
        finally:
            os.close(inner)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} cannot be read: {error}"


def _json(folder: int, name: str) -> Any:
    """Read one file: opening does not wait for the other end of a pipe."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no plain file")
        content = file.read(BOUND + 1)
    if len(content) > BOUND:
        raise ValueError(f"it has more than {BOUND} bytes")
    fields = json.loads(content, parse_int=lambda digits: int(digits[:20]))
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    return fields


def _directory(path: str, within: int | None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)


KINDS = {"spools": Kind(_read, nothing_to_make)}
