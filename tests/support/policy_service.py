"""A policy service of the relay's owner, as a greylisting is one. Protocol: SMTPD_POLICY_README."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.next_hop_server import ADDRESS


class PolicyService(socketserver.ThreadingTCPServer):
    """Puts one address off, and has no opinion of the others."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, put_off: str) -> None:
        super().__init__((ADDRESS, 0), _Request)
        self.put_off = f"recipient={put_off}\n".encode()

    @property
    def restriction(self) -> str:
        """As a word of main.cf."""
        return f"check_policy_service inet:{ADDRESS}:{self.server_address[1]}"


class _Request(socketserver.StreamRequestHandler):
    """One smtpd."""

    def handle(self) -> None:
        """Answer each request."""
        is_put_off = False
        for line in self.rfile:
            is_put_off = is_put_off or line == self.server.put_off  # type: ignore[attr-defined]
            if line == b"\n":
                self.wfile.write(b"action=%s\n\n" % (b"DEFER_IF_PERMIT later" if is_put_off else b"DUNNO"))
                is_put_off = False


@contextmanager
def policy_service(put_off: str) -> Iterator[PolicyService]:
    """A service that runs."""
    with PolicyService(put_off) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield service
        service.shutdown()
