"""A connection to a machine whose host keys are pinned, and the keys a machine offers to be pinned."""

from __future__ import annotations

import base64
import logging
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import paramiko
from fabric import Config, Connection
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
from paramiko.ssh_exception import IncompatiblePeer

from common.key_line import KEY_TYPES
from deploy.connection_faults import RELAY, TIMEOUT, HungUpError, explain_faults
from deploy.plan import HostError
from deploy.ssh_config import SshSays, ask_ssh
from deploy.ssh_login import KeyLogin

PATIENCE = 10.0  # seconds; how long a machine that hangs up on us (MaxStartups, PerSourcePenalties) is tried again
ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}  # how a key of a type may sign, where not by its own name
DEAD_AFTER = 60  # seconds without an acknowledgement: the machine or the way to it is gone
JUMP = re.compile(r"((?P<user>.+)@)?(\[(?P<inner>[^]]+)\]|(?P<bare>[^][:@]+))(:(?P<port>[0-9]+))?")
QUIET = logging.NullHandler()  # paramiko would print what we are about to say better

Got = TypeVar("Got")


def connect(address: str, user: str | None, port: int | None, host_keys: tuple[str, ...]) -> Connection:
    """Open a connection as ssh would, but to a machine with a pinned key alone. Raises HostError.

    Hanging up on us before a word is said is how sshd refuses a burst; that is tried again for ten seconds.
    """
    return _retry(_connect, address, user, port, host_keys)


def fetch_host_keys(address: str, user: str | None = None, port: int | None = None) -> tuple[str, ...]:
    """Return each host key of a machine, as "TYPE BLOB": to be shown and compared, not yet to be trusted."""
    connection = _configure(address, user, port)
    try:
        _open_jumps(connection)
        found = [_retry(_fetch_offered, connection, kind) for kind in KEY_TYPES]
        return tuple(key for key in found if key)
    finally:
        close(connection)


def close(connection: Connection) -> None:
    """Close it and the jump hosts on the way."""
    for hop in (connection, *reversed(list(_jumps(connection)))):
        hop.client.close()


def _retry(attempt: Callable[..., Got], *args: Any) -> Got:
    logging.getLogger("paramiko").addHandler(QUIET)
    until = time.monotonic() + PATIENCE
    longest = 0.25
    while True:
        pause = random.uniform(longest / 2, longest)  # noqa: S311 so that twelve that came at once do not come again at once
        try:
            return attempt(*args)
        except HungUpError as error:
            if time.monotonic() + pause > until:
                why = "it limits connections, MaxStartups or PerSourcePenalties in its sshd_config, or is not sshd"
                raise HostError(f"it hangs up before its greeting, {PATIENCE:.0f} s long: {why}") from error
        time.sleep(pause)
        longest = min(2 * longest, 2.0)


def _connect(address: str, user: str | None, port: int | None, host_keys: tuple[str, ...]) -> Connection:
    connection = _configure(address, user, port)
    try:
        _pin(connection, host_keys)
        _open_jumps(connection)
        _open(connection, RELAY)
    except BaseException:
        close(connection)
        raise
    return connection


def _configure(address: str, user: str | None, port: int | None) -> Connection:
    """Return a connection prepared as ssh would make it.

    The user is root unless one is named: a relay's files are root's.
    """
    try:
        said = ask_ssh(address, user, port, "root")
        return _prepare(address, user, port, said, said.jumps, (address,))
    except (paramiko.SSHException, ValueError) as error:
        raise HostError(f"~/.ssh/config cannot be understood: {error}") from error


def _prepare(
    address: str, user: str | None, port: int | None, said: SshSays, jumps: tuple[str, ...], above: tuple[str, ...]
) -> Connection:
    """Return a prepared connection with its jump hosts. `above`: machines that are reached through this one."""
    options = said.options.lookup(address)
    gateway = _prepare_jumps(jumps, above) if jumps else None
    name = user or options["user"]
    return Connection(
        address,
        user=name,
        port=port,
        gateway=gateway,
        config=Config(ssh_config=said.options),
        forward_agent=False,  # whatever ~/.ssh/config says: a relay could use the operator's keys
        connect_kwargs={"auth_strategy": KeyLogin(options, name)},
    )


def _prepare_jumps(jumps: tuple[str, ...], above: tuple[str, ...]) -> Connection | None:
    """Return the last jump host, prepared; it is reached through those before it, the first one by its own way."""
    address, user, port = _split_jump(jumps[-1])
    if address in above:  # ProxyJump of `Host *` holds for the jump host itself, which has no way but the direct one
        return None
    said = ask_ssh(address, user, port, None)
    return _prepare(address, user, port, said, jumps[:-1] or said.jumps, (*above, address))


def _split_jump(jump: str) -> tuple[str, str | None, int | None]:
    """Split [user@]host[:port] as ssh -G prints it: an address stands in brackets, also one of IPv4."""
    parts = JUMP.fullmatch(jump.removeprefix("ssh://"))
    if parts is None:
        raise ValueError(f"ProxyJump {jump!r} is no [user@]host[:port]")
    return parts["bare"] or parts["inner"], parts["user"], int(parts["port"]) if parts["port"] else None


def _jumps(connection: Connection) -> Iterator[Connection]:
    """Yield the jump hosts, the nearest to us last."""
    gateway = connection.gateway
    while isinstance(gateway, Connection):
        yield gateway
        gateway = gateway.gateway


def _open_jumps(connection: Connection) -> None:
    """Open the way there, each jump host held to the user's own known_hosts: Fabric would take any key from them."""
    for jump in reversed(list(_jumps(connection))):
        jump.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        known = jump.client.get_host_keys()
        for name, key in _known_keys(jump):
            known.add(name, key.get_name(), key)
        alias = known.lookup(str(jump.ssh_config.get("hostkeyalias", ""))) or {}
        for kind in alias:
            known.add(jump.host if jump.port == 22 else f"[{jump.host}]:{jump.port}", kind, alias[kind])
        _open(jump, f"jump host {jump.original_host}")


def _known_keys(jump: Connection) -> Iterator[tuple[str, paramiko.PKey]]:
    """Read known_hosts as far as paramiko can: a line about an authority or an unknown type of key grants nothing."""
    own = str(jump.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    of_all = str(jump.ssh_config.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts"))
    paths = [Path(file).expanduser() for file in (*own.split(), *of_all.split())]
    lines = [line for path in paths if path.is_file() for line in path.read_text("utf-8", "replace").splitlines()]
    revoked = {word for line in lines if line.startswith("@revoked") for word in line.split()[3:4]}
    for line in lines:
        if not line.startswith(("@", "#")) and not revoked.intersection(line.split()):
            yield from _entry(line)


def _entry(line: str) -> Iterator[tuple[str, paramiko.PKey]]:
    try:
        entry = HostKeyEntry.from_line(line)
    except (InvalidHostKey, paramiko.SSHException, ValueError):
        return
    if entry and entry.key:
        yield from ((name, entry.key) for name in entry.hostnames or ())


def _pin(connection: Connection, host_keys: tuple[str, ...]) -> None:
    name = connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    for key in host_keys:
        kind, blob = key.split()
        if kind in KEY_TYPES:
            connection.client.get_host_keys().add(name, kind, _key(kind, blob))
    kinds = [key.split()[0] for key in host_keys if key.split()[0] in KEY_TYPES]
    if not kinds:
        raise HostError("no host key of it is pinned: see and record its keys with `inv trust`")
    connection.connect_kwargs["transport_factory"] = lambda sock, **options: _transport(sock, kinds, options)


def _key(kind: str, blob: str) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
    except (paramiko.SSHException, ValueError) as error:
        raise HostError(f"its pinned {kind} key is damaged: record its keys anew with `inv trust`") from error


def _transport(sock: Any, kinds: list[str], options: dict[str, Any]) -> paramiko.Transport:
    """Return a transport that asks for the pinned key types alone.

    A key of another type would look like a wrong key.
    """
    if isinstance(sock, socket.socket):
        # Questions and answers in turns: without this each waits 40 ms for an acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, **options)
    algorithms = [name for kind in kinds for name in ALGORITHMS.get(kind, (kind,))]
    transport.get_security_options().key_types = algorithms
    return transport


def _open(connection: Connection, what: str) -> None:
    limits = {"banner_timeout": TIMEOUT, "auth_timeout": TIMEOUT, "channel_timeout": TIMEOUT}
    connection.connect_kwargs = {**connection.connect_kwargs, **limits}
    connection.connect_timeout = connection.connect_timeout or TIMEOUT
    with explain_faults(connection, what):
        connection.open()
    connection.transport.set_keepalive(DEAD_AFTER // 4)
    if isinstance(connection.transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER * 1000)


def _fetch_offered(connection: Connection, kind: str) -> str | None:
    with explain_faults(connection, RELAY):
        if connection.gateway:
            sock = connection.open_gateway()
        else:
            sock = socket.create_connection((connection.host, connection.port), TIMEOUT)
        transport = _transport(sock, [kind], {})
        try:
            transport.start_client(timeout=TIMEOUT)
            key = transport.get_remote_server_key()
        except IncompatiblePeer:
            return None
        finally:
            transport.close()
    return f"{key.get_name()} {key.get_base64()}"
