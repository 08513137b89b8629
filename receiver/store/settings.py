"""What provision writes on a relay that uses a store."""

from __future__ import annotations

import configparser
import json
import os
import re
from typing import Any, NamedTuple

from common.paths import Places
from common.settings import BadSettings
from receiver.store.head import Revision

SERVICE = "postern"  # the one section of the service file
_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_FORMAT = 1


class StoreSettings(NamedTuple):
    """`/etc/postern/store/store.json`."""

    id: str  # of the store that this relay's operator made
    is_upload_relay: bool  # it judges and writes; else it follows
    has_pooler: bool = False  # a pooler stands in front of the database
    name: str = ""  # of this relay in the inventory; empty: an older release of provision wrote none


def uses_store(places: Places) -> bool:
    """Return whether provision has made this relay one of those that share a store; its files may be damaged."""
    return os.path.exists(os.path.join(places.store, "store.json"))


def load_store(places: Places) -> StoreSettings | None:
    """Read store.json; None: this relay uses no store. Raises BadSettings."""
    if not uses_store(places):
        return None
    path = os.path.join(places.store, "store.json")
    fields = _fields(path)
    name, role = fields.get("id"), fields.get("role")
    if not (isinstance(name, str) and _ID.fullmatch(name)) or role not in ("upload", "follower"):
        raise BadSettings(f"{path}: it needs an id and the role upload or follower; provision this relay again")
    return StoreSettings(name, role == "upload", fields.get("pooler") is True, str(fields.get("name", "")))


def load_revision(places: Places, customer: str) -> Revision:
    """Return which settings a customer's tree has; number 0 where provision wrote none. Raises BadSettings."""
    path = os.path.join(places.tree(customer), "store.json")
    if not os.path.exists(path):
        return Revision()
    fields = _fields(path)
    number, name, holds = fields.get("number"), fields.get("hash"), fields.get("holds", [])
    if not (isinstance(number, int) and isinstance(name, str) and isinstance(holds, list)):
        raise BadSettings(f"{path}: it needs a number, a hash and what it holds; provision this relay again")
    return Revision(number, name, tuple(map(str, holds)))


def load_upload_relays(places: Places, customer: str) -> tuple[str, ...]:
    """Return the names of the customer's upload relays, in the inventory's order. Raises BadSettings."""
    path = os.path.join(places.tree(customer), "store.json")
    names = _fields(path).get("uploads", []) if os.path.exists(path) else []
    return tuple(map(str, names)) if isinstance(names, list) else ()


def read_service(places: Places) -> dict[str, str]:
    """Return the section of the service file. Raises BadSettings where the server's certificate would not be checked.

    `prefer` and `require` check nothing without the authority's file, and `verify-ca` takes any host's certificate.
    """
    path = os.path.join(places.store, "service.conf")
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
        found = dict(parser[SERVICE])
    except (OSError, ValueError, KeyError, configparser.Error) as error:
        raise BadSettings(f"{path}: {type(error).__name__}: {error}; provision this relay again") from error
    if found.get("sslmode") != "verify-full" or not os.path.isabs(found.get("sslrootcert", "")):
        raise BadSettings(f"{path}: it needs sslmode=verify-full and the path of a file in sslrootcert")
    if not found.get("host"):
        raise BadSettings(f"{path}: it names no host")
    return found


def _fields(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            fields = json.load(file)
        if fields.pop("postern") != _FORMAT:
            raise BadSettings(f"{path}: not of a format this release of Postern reads; provision this relay again")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise BadSettings(f"{path}: {type(error).__name__}: {error}") from error
    return dict(fields)
