"""What relays log in to the store with, sent over stdin, and the store's own tables, made on an upload relay.

The passwords come from the environment, or are asked for; nothing here keeps one.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from common.paths import POSTERN
from console import terminal
from console.errors import Refused
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet.relay_cli import MOST
from inventory.model import Relay
from inventory.store import Store
from roles.relay import STORE

OWNER, WRITER, READER = "POSTERN_STORE_OWNER", "POSTERN_STORE_WRITER", "POSTERN_STORE_READER"
_PUT = (
    f"umask 022; mkdir -p {STORE}; umask 077; cat > {STORE}/.password.new && mv {STORE}/.password.new {STORE}/.password"
)


def is_given(relay: Relay) -> bool:
    """Return whether a password for this relay stands in the environment: one it has is replaced by it."""
    return relay.store is not None and bool(os.environ.get(_variable(relay)))


def send_password(host: RelayHost, relay: Relay, plan: Plan) -> None:
    """Send a relay the password it logs in to the store with, where it lacks it or a new one is given.

    Raises Refused where none is given, HostError.
    """
    if relay.store is None or not (is_given(relay) or _lacks_password(plan)):
        return
    done = host.run("/bin/sh", "-c", _PUT, stdin=_read_secret(_variable(relay)).encode())
    if done.code:
        raise HostError(f"the password for the store cannot be written there: {done.err.strip()[-200:]}")


def migrate(store: Store | None, relays: Sequence[tuple[Relay, RelayHost]]) -> Iterator[int]:
    """Make the store's tables and roles from the first upload relay, where the owner's credentials are given."""
    owner, uploads = os.environ.get(OWNER, ""), [host for relay, host in relays if relay.role == "upload"]
    if store is None or not owner or not uploads:
        return
    host = uploads[0]
    try:
        answer = call_store(host, "migrate", stdin=json.dumps(_migration(store, owner)).encode())
        made = ", ".join(map(str, answer.get("made", ()))) or "nothing was missing"
        yield terminal.print_result(host.name, f"the store: {made}")
    except (HostError, Refused) as error:
        yield terminal.print_result(host.name, error)


def follow(host: RelayHost) -> str:
    """Have a relay take its customers' lists from the store now; returns why it could not, empty where it has."""
    done = host.run(POSTERN, "follow", "--json")
    try:
        return str(json.loads(done.out).get("why") or "")
    except (ValueError, AttributeError):
        return done.err.strip()[-200:] or f"postern follow ended with {done.code}"


def call_store(host: RelayHost, verb: str, *words: str, stdin: bytes = b"") -> Mapping[str, Any]:
    """Return the answer of `postern store VERB` on a relay. Raises HostError with its sentence where it says no."""
    answer = ask_store(host, verb, *words, stdin=stdin)
    if answer["code"]:
        raise HostError(f"{host.name}: {answer.get('why')}")
    return answer


def ask_store(host: RelayHost, verb: str, *words: str, stdin: bytes = b"") -> Mapping[str, Any]:
    """Return the answer of `postern store VERB`, whatever its code. Raises HostError where there is none."""
    done = host.run(POSTERN, "store", verb, *words, "--json", stdin=stdin, most=MOST)
    try:
        answer = json.loads(done.out)
        if isinstance(answer["code"], int):
            return dict(answer)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise HostError(f"{host.name}: its release knows no store; `inv provision` brings it up to date")


def _variable(relay: Relay) -> str:
    return WRITER if relay.role == "upload" else READER


def _migration(store: Store, owner: str) -> Mapping[str, object]:
    user, colon, password = owner.partition(":")
    if not colon:
        raise Refused(f"{OWNER} must be USER:PASSWORD of the store's owner")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    url = f"postgresql://{login}@{store.parts.netloc}{store.parts.path}?sslmode=verify-full&sslrootcert={STORE}/ca.pem"
    roles = {"writer": (store.writer, WRITER), "reader": (store.reader, READER)}
    given = {
        role: {"name": name, "password": _read_secret(variable), "limit": store.connections}
        for role, (name, variable) in roles.items()
    }
    return {"url": url, "id": store.id, **given}


def _lacks_password(plan: Plan) -> bool:
    return any(
        change.item.kind == "store" and (change.before or {}).get("password") != "sent" for change in plan.changes
    )


def _read_secret(variable: str) -> str:
    """Return a password from the environment, or ask for it. Raises Refused."""
    secret = os.environ.get(variable) or (getpass.getpass(f"{variable}: ") if terminal.can_ask() else "")
    if not secret or not secret.isprintable():
        raise Refused(f"the relay has no password for the store yet: set {variable} in the environment")
    return secret
