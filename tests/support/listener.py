"""A server of a test: a socket that listens, and a thread for each connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Listener:
    """Hands each connection to `serve`, in a thread of its own.

    Closing it waits until nothing accepts any more. A thread that is left behind would accept by the number of a
    descriptor that is the next test's listener by then, and answer in its place.
    """

    def __init__(self, serve: Callable[[socket.socket], object], address: str = "127.0.0.1", port: int = 0) -> None:
        self._serve = serve
        self._socket = socket.create_server((address, port))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # it was shut down
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError):  # whoever called has hung up
            self._serve(connection)
