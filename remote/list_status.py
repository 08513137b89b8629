"""Runs on the relay: kind `spools`, how each customer's lists stand. A spool may be anybody's work.

It is read as root, so by descriptor, through no link, of plain files alone and never more than a bound.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from typing import Any

from common.opened import find_marker
from common.paths import Places
from common.spool_files import (
    ACCEPTED,
    ASKING,
    BEGUN,
    HELD,
    KEYS,
    LAST_RUN,
    PINNED,
    RECIPIENTS,
    REFUSAL_ALARMS,
    SMALL,
    UNVERIFIED,
)
from remote.main import Kind, Request, State, refuse_making

DEPTH = 10  # objects and lists of a JSON file within each other
FILES = {
    "last_run": LAST_RUN,
    "accepted": ACCEPTED,
    "held": HELD,
    "pinned": PINNED,
    "keys": KEYS,
    "asking": ASKING,
    "begun": BEGUN,
    "unproven": UNVERIFIED,
    "refusal_alarms": REFUSAL_ALARMS,
}


def _read(asked: list[Request]) -> list[State | None]:
    return [_spools(one.name, (one.wanted or {})["customers"]) for one in asked]


def _spools(home: str, customers: Mapping[str, int]) -> State | None:
    """Each customer's files as the receiver wrote them: null what is not there, a text what cannot be read.

    By customer, how many bytes its list may have; 0: it is not to be read.
    """
    try:
        folder = _directory(os.path.join(home, "customers"), None)
    except FileNotFoundError:
        return None
    try:
        return {customer: _spool(folder, customer, bound) for customer, bound in customers.items()}
    finally:
        os.close(folder)


def _spool(folder: int, customer: str, bound: int) -> dict[str, Any] | str | None:
    try:
        spool = _directory(customer, folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{customer} cannot be read: {error}"
    opened = find_marker(Places(), customer)
    try:
        files = {name: _content(spool, path) for name, path in FILES.items()}
        return {**files, "list": _list(spool, bound), "opened": opened and opened._asdict()}
    finally:
        os.close(spool)


def _list(spool: int, bound: int) -> State | str | None:
    """Return of the list in force when it changed and, within the bound, its SHA-256 and how many it has."""
    try:
        descriptor = _open_file(spool, RECIPIENTS)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{RECIPIENTS} cannot be read: {error}"
    with open(descriptor, "rb") as file:
        there = os.fstat(descriptor)
        told: State = {"bytes": there.st_size, "changed": int(there.st_mtime)}
        if bound and there.st_size > bound:
            return f"{RECIPIENTS} has more than {bound} bytes"
        content = file.read(there.st_size)  # which makes room for as many at once
    return {**told, "digest": hashlib.sha256(content).hexdigest(), "total": content.count(b"\n")} if bound else told


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
    with open(_open_file(folder, name), "rb") as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise ValueError(f"it has more than {SMALL} bytes")
    fields = json.loads(content, parse_int=lambda digits: int(digits[:20]))
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    if _is_deeper(fields, DEPTH):
        raise ValueError("it is nested too deep")
    return fields


def _is_deeper(value: Any, most: int) -> bool:
    """Return whether it is nested deeper than that: what can be read here need not be where it is sent."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most == 0 or any(_is_deeper(each, most - 1) for each in inner if isinstance(each, (dict, list)))


def _open_file(folder: int, name: str) -> int:
    """Open a plain file, and nothing else: opening does not wait for the other end of a pipe."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is no plain file")
    return descriptor


def _directory(path: str, within: int | None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)


KINDS = {"spools": Kind(_read, refuse_making)}
