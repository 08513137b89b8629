"""A customer's mail server, as the next hop of a relay: what it says can be changed while it runs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.support.listener import Listener

ADDRESS = "127.77.252.1"  # of this machine, as all of 127.0.0.0/8, and no lab host's


class MailServer:
    """Takes mail for some addresses and refuses the others, unless it is told to do something else."""

    def __init__(self, *taken: str) -> None:
        self.taken = frozenset(taken)
        self.takes_everybody = self.refuses_senders = self.is_busy = self.is_silent = False
        self.open_domain = ""  # in which it takes everybody
        self.seconds = 0.0  # it takes for each reply to RCPT
        self._listener = Listener(self._serve, ADDRESS)
        self.port = self._listener.port

    @property
    def route(self) -> str:
        """As next_hop of a customer."""
        return f"relay:[{ADDRESS}]:{self.port}"

    def stop(self) -> None:
        """Be down."""
        self._listener.close()

    def start_again(self) -> None:
        """Be up, where it was."""
        self._listener = Listener(self._serve, ADDRESS, self.port)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            if self.is_silent:
                lines.readline()  # until whoever called gives up
                return
            connection.sendall(b"220 inner.acme.example\r\n")
            for line in lines:
                time.sleep(self.seconds if line[:4].upper() == b"RCPT" else 0)
                connection.sendall(self._reply(line.decode(errors="replace").strip()) + b"\r\n")
                if line[:4].upper() == b"QUIT":
                    return

    def _reply(self, line: str) -> bytes:
        word = line[:4].upper()
        if self.is_busy and word in ("MAIL", "RCPT"):
            return b"451 4.7.500 inner.acme.example is busy"
        if word == "MAIL" and self.refuses_senders:
            return b"550 5.7.68 inner.acme.example does not know you"
        name = line.partition("<")[2].partition(">")[0]
        is_open = self.takes_everybody or name.partition("@")[2] == self.open_domain
        if word == "RCPT" and not is_open and name not in self.taken:
            return b"550 5.1.10 inner.acme.example knows nobody of that name"
        return b"221 bye" if word == "QUIT" else b"250 ok"


@contextmanager
def mail_server(taken: Iterable[str]) -> Iterator[MailServer]:
    """A server that runs."""
    server = MailServer(*taken)
    try:
        yield server
    finally:
        server.stop()
