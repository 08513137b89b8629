"""Runs on the relay: kind `list_status`, the state of each customer's lists, read as root from the spools."""

from __future__ import annotations

import hashlib
import os
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
    UNVERIFIED,
)
from remote.account_files import open_directory, open_file, read_json
from remote.main import Kind, Request, State, refuse_making

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
    """Return each customer's files as the receiver wrote them: null for a missing file, a text for an unreadable one.

    `customers`: by customer, how many bytes its list may have; 0: it is not read.
    """
    try:
        folder = open_directory(os.path.join(home, "customers"), None)
    except FileNotFoundError:
        return None
    try:
        return {customer: _spool(folder, customer, bound) for customer, bound in customers.items()}
    finally:
        os.close(folder)


def _spool(folder: int, customer: str, bound: int) -> dict[str, Any] | str | None:
    try:
        spool = open_directory(customer, folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{customer} cannot be read: {error}"
    opened = find_marker(Places(), customer)
    try:
        files = {name: read_json(spool, path) for name, path in FILES.items()}
        return {**files, "list": _list(spool, bound), "opened": opened and opened._asdict()}
    finally:
        os.close(spool)


def _list(spool: int, bound: int) -> State | str | None:
    """Return when the list in force changed and, unless the bound is 0, its SHA-256 and number of recipients."""
    try:
        descriptor = open_file(spool, RECIPIENTS)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return f"{RECIPIENTS} cannot be read: {error}"
    with open(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        told: State = {"bytes": info.st_size, "changed": int(info.st_mtime)}
        if bound and info.st_size > bound:
            return f"{RECIPIENTS} has more than {bound} bytes"
        content = file.read(info.st_size)  # which makes room for as many at once
    return {**told, "digest": hashlib.sha256(content).hexdigest(), "total": content.count(b"\n")} if bound else told


KINDS = {"list_status": Kind(_read, refuse_making)}
