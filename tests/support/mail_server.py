"""A customer's mail server that says the same to every RCPT, for the tests of who asks it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.listener import Listener


@contextmanager
def mail_server(reply: bytes) -> Iterator[str]:
    """Yield the route to a server on this machine that answers every RCPT so; nothing: it hangs up at once."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 mx\r\n" if reply else b"")
            for line in lines if reply else ():
                connection.sendall(reply if line.startswith(b"RCPT") else b"250 ok\r\n")

    with Listener(serve) as listener:
        yield f"relay:[127.0.0.1]:{listener.port}"
