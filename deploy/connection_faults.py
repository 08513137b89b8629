"""What went wrong with a connection, as a sentence: where, and what would help."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import paramiko
from fabric import Connection
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from deploy.key_formats import fingerprint
from deploy.plan import HostError

TIMEOUT = 15  # seconds; for each of: connecting, its greeting, opening a channel
RELAY = "it"  # in messages; a jump host is called by its name


class HungUpError(Exception):
    """The machine closed the connection before it sent its SSH greeting."""


@contextmanager
def explain_faults(connection: Connection, what: str) -> Iterator[None]:
    """Turn connection errors into a HostError that says what failed, where, and what would help.

    `what`: how the machine is called. Raises HungUpError where it hung up before a word was said.
    """
    try:
        yield
    except FAULTS as error:
        fault = error.__context__ if isinstance(error.__context__, TimeoutError) else error
        hung_up = isinstance(fault, (ConnectionResetError, EOFError)) or "protocol banner" in str(fault)
        if hung_up and not _is_ssh(connection):
            raise HungUpError from error
        say = next(say for kind, say in WORDS if isinstance(fault, kind))
        raise HostError(say(fault, connection, what)) from error


def _is_ssh(connection: Connection) -> bool:
    """Return whether sshd has begun to talk: if it hangs up after that, it is not because there are too many of us."""
    transport = connection.client.get_transport()
    return transport is not None and bool(transport.remote_version)


def _wrong_key(error: paramiko.BadHostKeyException, _connection: Connection, what: str) -> str:
    pinned, offered = (fingerprint(f"{key.get_name()} {key.get_base64()}") for key in (error.expected_key, error.key))
    place, remedy = ("the inventory", "with `inv trust`") if what == RELAY else ("your known_hosts", "there")
    return (
        f"the host key of {what} is not the one in {place}: {pinned} is recorded, {offered} is offered "
        f"({error.key.get_name()}). Somebody may be in between. If the machine was reinstalled, compare with "
        f"`ssh-keygen -lf` on its console, then record the new key {remedy}"
    )


def _no_passphrase(_error: Exception, _connection: Connection, what: str) -> str:
    return f"the private key for {what} has a passphrase: load it into an agent with ssh-add"


def _not_let_in(error: Exception, connection: Connection, what: str) -> str:
    by_hand = f"ssh -v -p {connection.port} {connection.user}@{connection.host}"
    return f"{what} does not let {connection.user} in with any of our keys ({error}); compare `{by_hand}`"


def _nothing_common(error: Exception, _connection: Connection, what: str) -> str:
    return f"{what} has no key of a pinned type or no cipher we know ({error}); `inv trust` shows the keys it has"


def _not_reached(error: paramiko.ChannelException, connection: Connection, _what: str) -> str:
    return f"the jump host cannot reach {connection.host} port {connection.port}: {error.text}"


def _no_such_name(error: socket.gaierror, connection: Connection, _what: str) -> str:
    return f"no machine is known by the name {connection.host}: {error.strerror}"


def _no_answer(_error: Exception, connection: Connection, _what: str) -> str:
    return f"no answer from {connection.host} port {connection.port} within {TIMEOUT} s"


def _else(error: Exception, connection: Connection, what: str) -> str:
    if "not found in known_hosts" in str(error):
        by_hand = f"`ssh {connection.original_host}`"
        return f"{what} is not in your known_hosts: connect to it once by hand, {by_hand}, and compare its fingerprint"
    if "No existing session" in str(error):  # paramiko says so of a dead login, and when its patience ended before that
        transport = connection.client.get_transport()
        if transport is None or not transport.initial_kex_done:
            return _no_answer(error, connection, what)
        why = (
            "more keys were tried than it likes; name the right one in ~/.ssh/config (IdentityFile): it is tried "
            "first, and with IdentitiesOnly no other is"
        )
        return f"{what} hung up while {connection.user} was logging in: {why}"
    if "No authentication methods available" in str(error):
        return f"{what} answers, but there is no SSH key to log in with: ssh-add one, or name it in ~/.ssh/config"
    return f"no connection to {connection.host} port {connection.port}: {_reason(error)}"


def _reason(error: Exception) -> str:
    """Return the operating system's own words, where paramiko wraps what each of a name's addresses answered."""
    if isinstance(error, NoValidConnectionsError):
        error = next(iter(error.errors.values()))
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or "it hung up on us"


WORDS: Sequence[tuple[type[Exception], Callable[[Any, Connection, str], str]]] = (
    (paramiko.BadHostKeyException, _wrong_key),
    (paramiko.PasswordRequiredException, _no_passphrase),
    (paramiko.AuthenticationException, _not_let_in),
    (IncompatiblePeer, _nothing_common),
    (paramiko.ChannelException, _not_reached),
    (socket.gaierror, _no_such_name),
    (TimeoutError, _no_answer),
    (Exception, _else),
)
FAULTS = (paramiko.SSHException, OSError, EOFError, UnicodeError)
