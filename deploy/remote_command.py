"""One remote command of an open connection: its input, output and end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import paramiko
from fabric import Connection

from deploy.plan import HostError
from deploy.remote_session import CommandEnd

SILENCE = 3600.0  # seconds without a word; packages take their time, and a dead connection is noticed long before
MOST = 1 << 28  # bytes of a program's output; a machine that sends more is not well
LINE = 1 << 24  # bytes of an answer of the remote program: a thousand customers' spools take some three million


class RemoteCommand:
    """One remote command, as a RemoteLine or as a whole conversation."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._received = bytearray()

    @classmethod
    def start(cls, connection: Connection, words: str) -> RemoteCommand:
        """Start a command, as the account's shell there reads it. Raises HostError."""
        try:
            channel = connection.create_session()
            channel.settimeout(SILENCE)
            channel.exec_command(words)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise HostError(f"no program can be started there: {error}") from error
        return cls(channel)

    def send(self, data: bytes) -> None:
        """See RemoteLine."""
        self._channel.sendall(data)

    def receive(self, seconds: float = SILENCE) -> bytes:
        """See RemoteLine."""
        looked, until = 0, time.monotonic() + seconds
        while (end := self._received.find(b"\n", looked) + 1) == 0:
            looked = len(self._received)
            self._channel.settimeout(max(0.0, until - time.monotonic()))
            chunk = self._channel.recv(1 << 16)
            self._received += chunk
            if not chunk or looked > LINE:
                end = len(self._received)
                break
        line = bytes(self._received[:end])
        del self._received[:end]
        return line

    def end(self) -> CommandEnd:
        """See RemoteLine."""
        return self._command_end(_end_of(self._channel.recv_stderr))

    def converse(
        self, stdin: bytes, hear: Callable[[bytes], None] | None = None, most: int = MOST
    ) -> tuple[bytes, CommandEnd]:
        """Send all, and receive all meanwhile: a program that answers before it has read all would stand still.

        `hear` is given the output piece by piece as it comes; `most`: bytes of it. Raises HostError for more.
        """
        with ThreadPoolExecutor(2) as side:
            side.submit(self._send_all, stdin)
            err = side.submit(_end_of, self._channel.recv_stderr)
            out = self._receive_all(hear or _ignore, most)
        return out, self._command_end(err.result())

    def _command_end(self, err: bytes) -> CommandEnd:
        code = self._channel.exit_status if self._channel.status_event.wait(SILENCE) else -1
        self._channel.close()
        return CommandEnd(code if code >= 0 else None, err.decode("utf-8", "replace"))

    def _send_all(self, stdin: bytes) -> None:
        try:
            self._channel.sendall(stdin)
            self._channel.shutdown_write()
        except (OSError, EOFError):
            return  # a program may end without reading all; its exit code says what that means

    def _receive_all(self, hear: Callable[[bytes], None], most: int) -> bytes:
        received = bytearray()
        while chunk := self._channel.recv(1 << 16):
            received += chunk
            hear(chunk)
            if len(received) > most:
                self._channel.close()
                raise HostError(f"it sends more than {most >> 20} MB")
        return bytes(received)


def _end_of(receive: Callable[[int], bytes]) -> bytes:
    """Receive to the end and return the last bytes: a program's reason for failing comes last."""
    received = b""
    while chunk := receive(1 << 16):
        received = (received + chunk)[-(1 << 16) :]
    return received


def _ignore(_chunk: bytes) -> None:
    return None
