"""SSHHost: a relay over one pinned connection; the agent over one channel of it, other programs over more."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import paramiko
from fabric import Connection

from deploy import pinned
from deploy.items import Item, State
from deploy.pinned import fetch_host_keys, fingerprint
from deploy.plan import Change, Done, HostError
from deploy.session import SUDO, Ended, Lock, Session, command, sudo_fault

__all__ = ["SSHHost", "fetch_host_keys", "fingerprint"]

SILENCE = 3600.0  # seconds without a word; packages take their time, and a dead connection is noticed long before
MOST = 1 << 28  # bytes of a program's output; a relay that sends more is not well


class SSHHost:
    """A relay. It is connected to when it is first asked something; `with` closes it."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        user: str | None = None,
        port: int | None = None,
        host_keys: Sequence[str],
        sudo: bool = False,
        lock: str,
        lock_seconds: float = 60,
        modules: Sequence[Path] = (),
        install_python: bool = False,
    ) -> None:
        """User and port left out: ~/.ssh/config's, then root and 22. `modules` are sent, with kinds of their own."""
        self.name = name
        self.connections = 0
        self.commands = 0
        self._where = (address, user, port, tuple(host_keys))
        self._sudo = sudo
        self._lock = Lock(lock, lock_seconds)
        self._modules = tuple(modules)
        self._install_python = install_python
        self._connection: Connection | None = None
        self._session: Session | None = None

    def __enter__(self) -> SSHHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What the agent has begun it finishes by itself."""
        if self._connection is not None:
            pinned.close(self._connection)
        self._connection = self._session = None

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Read what is there now; see Host."""
        return self._agent().read(items) if items else []

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host."""
        if changes:
            self._agent().make(changes)

    def run(self, *argv: str, stdin: bytes = b"") -> Done:
        """Run a program there, as root; see Machine."""
        line = self._start(shlex.join([*SUDO, *argv] if self._sudo else argv))
        try:
            out, ended = line.converse(stdin)
        except OSError as error:
            raise HostError(f"{argv[0]} there gives no sign of life any more: {error}") from error
        if ended.code is None:
            raise HostError(f"the connection broke off while {argv[0]} ran there; how it ended is not known")
        if self._sudo and ended.code and (fault := sudo_fault(ended.err)):
            raise HostError(fault)
        return Done(ended.code, out.decode("utf-8", "replace"), ended.err)

    def _agent(self) -> Session:
        if self._session is None:
            line = self._start(command(sudo=self._sudo, install_python=self._install_python))
            self._session = Session(line, self._lock, self._modules)
        return self._session

    def _start(self, words: str) -> _Channel:
        if self._connection is None:
            self._connection = pinned.connect(*self._where)
            self.connections += 1
        try:
            channel = self._connection.create_session()
            channel.settimeout(SILENCE)
            channel.exec_command(words)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostError(f"no program can be started there: {error}") from error
        self.commands += 1
        return _Channel(channel)


class _Channel:
    """One remote command: a Line, or the whole of a conversation."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._received = bytearray()

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)

    def receive(self) -> bytes:
        looked = 0
        while (end := self._received.find(b"\n", looked) + 1) == 0:
            looked = len(self._received)
            chunk = self._channel.recv(1 << 16)
            self._received += chunk
            if not chunk or looked > MOST:
                end = len(self._received)
                break
        line = bytes(self._received[:end])
        del self._received[:end]
        return line

    def end(self) -> Ended:
        return self._ended(_end_of(self._channel.recv_stderr))

    def converse(self, stdin: bytes) -> tuple[bytes, Ended]:
        """Send all, and receive all meanwhile: a program that answers before it has read all would stand still."""
        with ThreadPoolExecutor(2) as side:
            side.submit(self._send_all, stdin)
            err = side.submit(_end_of, self._channel.recv_stderr)
            out = self._all()
        return out, self._ended(err.result())

    def _ended(self, err: bytes) -> Ended:
        code = self._channel.exit_status if self._channel.status_event.wait(SILENCE) else -1
        self._channel.close()
        return Ended(code if code >= 0 else None, err.decode("utf-8", "replace"))

    def _send_all(self, stdin: bytes) -> None:
        try:
            self._channel.sendall(stdin)
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # a program may end without reading all; its exit code says what that means

    def _all(self) -> bytes:
        received = bytearray()
        while chunk := self._channel.recv(1 << 16):
            received += chunk
            if len(received) > MOST:
                self._channel.close()
                raise HostError(f"it sends more than {MOST >> 20} MB")
        return bytes(received)


def _end_of(receive: Callable[[int], bytes]) -> bytes:
    """Receive to the end and keep the last of it: what a program complains of at length it says at the end."""
    received = b""
    while chunk := receive(1 << 16):
        received = (received + chunk)[-(1 << 16) :]
    return received
