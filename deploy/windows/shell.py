"""A Windows machine's cmd.exe and its files, over one pinned connection to its own OpenSSH."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import paramiko
from fabric import Connection

from deploy.connection import close, connect
from deploy.plan import Done, HostError
from deploy.remote_command import RemoteCommand

FAULTS = (OSError, EOFError, paramiko.SSHException)

_PLAIN = re.compile(r"[A-Za-z0-9_.:\\/@=+,*-]+")
_QUOTED = re.compile(r'[^"%^!&|<>\r\n]*[^"%^!&|<>\r\n\\]')


class WindowsShell:
    """The shell of a machine that is connected to when it is first used."""

    def __init__(self, address: str, user: str, port: int | None, host_keys: tuple[str, ...]) -> None:
        self._where = (address, user, port, host_keys)
        self._connection: Connection | None = None
        self._sftp: paramiko.SFTPClient | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            close(self._connection)
        self._connection = self._sftp = None

    def command(self, line: str, stdin: bytes = b"", hear: Callable[[bytes], None] | None = None) -> Done:
        """Run a line in cmd.exe to its end; `hear` is called with its output as it comes. Raises HostError."""
        return _run_to_end(line, self._connect(), stdin, hear)

    def files(self) -> paramiko.SFTPClient:
        """Return what reads and writes files there. Raises HostError."""
        if self._sftp is None:
            transport = self._connect().transport
            try:
                self._sftp = paramiko.SFTPClient.from_transport(transport)
            except FAULTS as error:
                raise HostError(
                    f"it takes no files by SFTP: {error}; its sshd_config needs a Subsystem sftp"
                ) from error
        assert self._sftp is not None
        return self._sftp

    def _connect(self) -> Connection:
        if self._connection is None:
            connection = connect(*self._where)
            _check_shell(connection)
            self._connection = connection
        return self._connection


def quote_command(argv: Sequence[str]) -> str:
    """Write a command as cmd.exe reads it. Raises ValueError for a word that it would read as something else."""
    for word in argv:
        if not _PLAIN.fullmatch(word) and not _QUOTED.fullmatch(word):
            raise ValueError(f"{word!r} cannot be handed to cmd.exe as it is")
    return " ".join(word if _PLAIN.fullmatch(word) else f'"{word}"' for word in argv)


def last_output(done: Done) -> str:
    """Return the end of what a program said, on one line."""
    return " ".join(f"{done.out} {done.err}".split())[-500:] or f"exit code {done.code}"


def _run_to_end(words: str, connection: Connection, stdin: bytes, hear: Callable[[bytes], None] | None = None) -> Done:
    program = words.split()[0]
    try:
        out, ended = RemoteCommand.start(connection, words).converse(stdin, hear)
    except OSError as error:
        raise HostError(f"{program} there gives no sign of life any more: {error}") from error
    if ended.code is None:
        raise HostError(f"the connection broke off while {program} ran there; how it ended is not known")
    return Done(ended.code, out.decode("utf-8", "replace"), ended.err)


def _check_shell(connection: Connection) -> None:
    """Raise HostError unless cmd.exe reads commands: another shell reads them differently."""
    done = _run_to_end("echo %OS%", connection, b"")
    if "Windows_NT" not in done.out:
        close(connection)
        raise HostError(
            "its sshd does not hand commands to Windows' cmd.exe. Where another shell is set, it is the value "
            rf"DefaultShell of HKLM\SOFTWARE\OpenSSH in its registry: remove it ({last_output(done)})"
        )
