"""A thread that ends a connection on which nothing moves.

It is the only bound on a COMMIT whose standby is silent, on a stopped backend and on a pooler that does not answer:
no timeout of libpq or of the server ends those.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

SECONDS = 20.0  # without progress


class Watchdog:
    """Watches one connection's socket until it is stopped."""

    def __init__(self, descriptor: int, seconds: float = SECONDS) -> None:
        """Begin to watch. The descriptor is copied, so that it cannot become another file's meanwhile."""
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._seconds, self._until = seconds, time.monotonic() + seconds
        self.silent_for = 0.0  # seconds after which it ended the connection; 0: it has not
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def note_progress(self) -> None:
        """Begin to count anew: something was answered, or is about to be asked."""
        self._until = time.monotonic() + self._seconds

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _watch(self) -> None:
        while not self._stopped.wait(max(0.0, self._until - time.monotonic())):
            if time.monotonic() >= self._until:
                self.silent_for = self._seconds
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                return
