"""A thread that ends a connection on which an answer does not come.

It is the only bound on a COMMIT whose standby is silent, on a stopped backend and on a pooler that does not answer:
no timeout of libpq or of the server ends those.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SECONDS = 20.0  # without an answer


class Watchdog:
    """Watches one connection's socket until it is stopped, whenever an answer is waited for."""

    def __init__(self, descriptor: int, seconds: float = SECONDS) -> None:
        """Begin to watch. The descriptor is copied, so that it cannot become another file's meanwhile."""
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._seconds = seconds
        self._since: float | None = None  # when the question was sent whose answer is waited for; None: there is none
        self.silent_for = 0.0  # seconds after which it ended the connection; 0: it has not
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @contextmanager
    def time_answer(self) -> Iterator[None]:
        """Measure the time of one answer; this relay's own work between two questions does not count."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _watch(self) -> None:
        while not self._stopped.wait(self._seconds / 10):
            since = self._since
            if since is not None and time.monotonic() - since >= self._seconds:
                self.silent_for = self._seconds
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return
