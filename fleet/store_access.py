"""What relays log in to the store with, sent over stdin, and the store's own tables, made on an upload relay.

Passwords come from the environment, or are asked for; a certificate with its key, from a file that the environment
names. Nothing here keeps one.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from common.paths import PLACES, POSTERN
from console import terminal
from console.errors import Refused
from console.options import read_file
from deploy.items import State
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet.relay_cli import MOST
from inventory.model import Relay
from inventory.store import Store

CERTIFICATE = "_CERTIFICATE"  # behind WRITER or READER: the file of a certificate and its key, instead of a password
OWNER, WRITER, READER = "POSTERN_STORE_OWNER", "POSTERN_STORE_WRITER", "POSTERN_STORE_READER"
_SENT = f"{PLACES.store}/.credential"
_PUT = f"umask 022; mkdir -p {PLACES.store}; umask 077; cat > {_SENT}.new && mv {_SENT}.new {_SENT}"


def is_given(relay: Relay) -> bool:
    """Return whether the environment has a credential for this relay: one that the relay has is replaced by it."""
    variable = _variable(relay)
    return relay.store is not None and any(os.environ.get(name) for name in (variable, variable + CERTIFICATE))


def send_credential(host: RelayHost, relay: Relay, plan: Plan) -> None:
    """Send a relay what it logs in to the store with, where it lacks it or a new one is given.

    Raises Refused where none is given, HostError.
    """
    if relay.store is None or not (is_given(relay) or _lacks_credential(plan)):
        return
    done = host.run("/bin/sh", "-c", _PUT, stdin=_read_credential(_variable(relay)).encode())
    if done.code:
        raise HostError(f"the credential for the store cannot be written there: {done.err.strip()[-200:]}")


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


def follow(host: RelayHost, customer: str = "") -> str:
    """Run `postern follow` on a relay; return why it could not take its lists from the store, empty where it could.

    `customer`: whose list is meant; else what keeps all of them.
    """
    done = host.run(POSTERN, "follow", "--json")
    try:
        said = json.loads(done.out)
        return str(said.get("why") or (said.get("wrong") or {}).get(customer) or "")
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
    url = f"postgresql://{login}@{store.parts.netloc}{store.parts.path}?sslmode=verify-full&sslrootcert={PLACES.store}/ca.pem"
    roles = {"writer": (store.writer, WRITER), "reader": (store.reader, READER)}
    given = {
        role: {"name": name, "password": _role_password(variable), "limit": store.connections}
        for role, (name, variable) in roles.items()
    }
    return {"url": url, "id": store.id, **given}


def _role_password(variable: str) -> str:
    """Return the password that a role is to have; empty: it logs in by a certificate. Raises Refused."""
    return "" if os.environ.get(variable + CERTIFICATE) else _read_secret(variable)


def _lacks_credential(plan: Plan) -> bool:
    """Return whether a relay has no credential yet, or has that of another role."""
    return any(
        change.item.kind == "store" and change.item.wanted and not _has_credential(change.before, change.item.wanted)
        for change in plan.changes
    )


def _has_credential(before: State | None, wanted: State) -> bool:
    return before is not None and before["credential"] == "sent" and _user_line(before) == _user_line(wanted)


def _user_line(state: State) -> list[str]:
    return [line for line in str(state["service"]).splitlines() if line.startswith("user=")]


def _read_credential(variable: str) -> str:
    """Return a password, or the text of a certificate and its key. Raises Refused."""
    file = os.environ.get(variable + CERTIFICATE)
    if not file:
        return _read_secret(variable)
    text = read_file(file).decode("ascii", "replace")
    if "-----BEGIN CERTIFICATE-----" not in text or " PRIVATE KEY-----" not in text or "ENCRYPTED" in text:
        raise Refused(
            f"{variable}{CERTIFICATE}: {file} must hold a certificate and its key, not encrypted, both in PEM"
        )
    return text


def _read_secret(variable: str) -> str:
    """Return a password from the environment, or ask for it. Raises Refused."""
    secret = os.environ.get(variable) or (getpass.getpass(f"{variable}: ") if terminal.can_ask() else "")
    if not secret or not secret.isprintable():
        raise Refused(f"the relay has no password for the store yet: set {variable} in the environment")
    return secret
