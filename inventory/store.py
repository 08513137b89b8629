"""`[store]` of provider.toml: the one database of all relays, and how it is verified."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from inventory.errors import UNSHOWN, InventoryError, describe_faults
from inventory.model import Relay, StoreFiles
from inventory.provider import FILE, read_tables
from inventory.table import Table

_PARAMETERS = ("sslmode", "sslrootcert")
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


def _checked_url(text: str) -> str:
    """Return the address of the store. Raises PydanticCustomError, which no message shows the address with."""
    try:
        return _url(text)
    except ValueError as error:
        raise PydanticCustomError(UNSHOWN, "{why}", {"why": str(error)}) from None


def _url(text: str) -> str:
    """Return the address, if it is one by which the database is verified. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or len(parts.path) < 2:
        raise ValueError("must be postgresql://HOST[:PORT][,HOST...]/DATABASE?sslmode=verify-full&sslrootcert=FILE")
    if "@" in parts.netloc:
        raise ValueError("must name no user and no password: this file is in git; writer and reader name the roles")
    for host in parts.netloc.split(","):
        if not _HOST.fullmatch(host):
            why = "an address of IPv6 stands in brackets; a socket's directory cannot be verified"
            raise ValueError(f"has {host!r}, which is no HOST or HOST:PORT: {why}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(given.keys() - set(_PARAMETERS)):
        raise ValueError(f"has {unknown[0]!r}, which is not for it to say; known are {', '.join(_PARAMETERS)}")
    if given.get("sslmode") != "verify-full":
        raise ValueError("must have sslmode=verify-full: less verifies nothing where the authority's file lacks")
    if given.get("sslrootcert") in (None, "", "system"):
        raise ValueError("must have sslrootcert=FILE, the authority's certificate; `system` fails on Debian 12")
    return text


Url: TypeAlias = Annotated[str, AfterValidator(_checked_url)]
RoleName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


class Store(Table):
    """The one database of all relays: `[store]`."""

    url: Url = Field(
        description="postgresql://HOST[:PORT][,HOST...]/DATABASE?sslmode=verify-full&sslrootcert=FILE, without user "
        "and password. FILE is the authority's certificate, beside provider.toml or by its full path."
    )
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{8,64}$")] = Field(
        description="Its id, chosen once, 8 to 64 letters, digits and `-`; a database with another one is not touched."
    )
    writer: RoleName = Field("postern_writer", description="The role that upload relays log in as.")
    reader: RoleName = Field("postern_reader", description="The role that followers log in as.")
    connections: int = Field(50, ge=1, le=10_000, description="How many connections each of the two roles may have.")
    pooler: bool = Field(False, description="true: a pooler stands in front of the database.")

    @property
    def parts(self) -> SplitResult:
        """The parts of the url."""
        return urlsplit(self.url)

    @property
    def authority_file(self) -> str:
        """The file of the authority's certificate, as the url names it."""
        return dict(parse_qsl(self.parts.query))["sslrootcert"]


def files_for(store: Store, where: Path, relay: Relay) -> StoreFiles:
    """Return what a relay is to know of the store. Raises InventoryError where the authority's file cannot be read."""
    try:
        authority = (where / store.authority_file).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no PEM file"
        raise InventoryError([f"{FILE}: store.url: sslrootcert={store.authority_file}: {why}"]) from None
    if "-----BEGIN CERTIFICATE-----" not in authority:
        raise InventoryError([f"{FILE}: store.url: sslrootcert={store.authority_file}: holds no certificate in PEM"])
    config = {"postern": 1, "id": store.id, "name": relay.name, "role": relay.role, "pooler": store.pooler}
    return StoreFiles(json.dumps(config) + "\n", _service(store, relay), authority)


def _service(store: Store, relay: Relay) -> str:
    hosts = [found for found in map(_HOST.fullmatch, store.parts.netloc.split(",")) if found]
    fields = {
        "host": ",".join(found["address"] or found["name"] for found in hosts),
        "port": ",".join(found["port"] or "5432" for found in hosts),
        "dbname": unquote(store.parts.path[1:]),
        "user": store.writer if relay.role == "upload" else store.reader,
        "sslmode": "verify-full",
        "sslrootcert": "/etc/postern/store/ca.pem",
    }
    return "".join(["[postern]\n", *(f"{name}={value}\n" for name, value in fields.items())])


def read_store(where: Path) -> Store | None:
    """Return the store; None: provider.toml names none. Raises InventoryError."""
    table = read_tables(where).get("store")
    if table is None:
        return None
    try:
        return Store.model_validate(table)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise InventoryError([f"{FILE}: store.{describe_faults(Store, each)}" for each in faults]) from None
