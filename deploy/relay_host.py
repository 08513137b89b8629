"""RelayHost: a relay over one pinned connection, with the remote program on one channel of it, others on more."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from fabric import Connection

from deploy.connection import close, connect
from deploy.items import Item, State
from deploy.plan import Change, Done, HostError
from deploy.remote_command import MOST, RemoteCommand
from deploy.remote_session import SUDO, Lock, Session, sudo_fault, write_command

BEGINS = b"\n- the program begins -\n"  # what a login script (.bashrc) prints stands before it
SAY_BEGIN = "printf '\\n- the program begins -\\n'"


class RelayHost:
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

    def __enter__(self) -> RelayHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. What the remote program has begun it finishes by itself."""
        if self._connection is not None:
            close(self._connection)
        self._connection = self._session = None

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; see Host."""
        return self._open_session().read(items) if items else []

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host."""
        if changes:
            self._open_session().make(changes)

    def run(
        self, *argv: str, stdin: bytes = b"", hear: Callable[[bytes], None] | None = None, most: int = MOST
    ) -> Done:
        """Run a program as root; see Machine. `hear` is called with its output as it comes.

        `most`: bytes of its output; with more it is a HostError.
        """
        line = self._start(f"{SAY_BEGIN}; {shlex.join([*SUDO, *argv] if self._sudo else argv)}")
        try:
            out, ended = line.converse(stdin, _behind_greeting(hear) if hear else None, most)
        except OSError as error:
            raise HostError(f"{argv[0]} there gives no sign of life any more: {error}") from error
        if ended.code is None:
            raise HostError(f"the connection broke off while {argv[0]} ran there; how it ended is not known")
        if self._sudo and ended.code and (fault := sudo_fault(ended.err)):
            raise HostError(fault)
        greeting, begins, said = out.partition(BEGINS)
        return Done(ended.code, (said if begins else greeting).decode("utf-8", "replace"), ended.err)

    def _open_session(self) -> Session:
        if self._session is None:
            line = self._start(write_command(sudo=self._sudo, install_python=self._install_python))
            self._session = Session(line, self._lock, self._modules)
        return self._session

    def _start(self, words: str) -> RemoteCommand:
        if self._connection is None:
            self._connection = connect(*self._where)
            self.connections += 1
        line = RemoteCommand.start(self._connection, words)
        self.commands += 1
        return line


def _behind_greeting(hear: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return what hears a program's output piece by piece, without what a login script printed before it."""
    before = bytearray()

    def take(chunk: bytes) -> None:
        if BEGINS in before:
            hear(chunk)
            return
        before.extend(chunk)
        said = bytes(before).partition(BEGINS)[2]
        if said:
            hear(said)

    return take
