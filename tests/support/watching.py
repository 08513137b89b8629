"""Somebody who asks a relay all the while, and a customer's server that uploads to it all the while."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lab import smtp
from lab.host import LabHost
from lab.operators import MARK, PLINK, Operator, Ran
from lab.waiting import HANGS

PAUSE = 0.02  # seconds from one question to the next


class Server:
    """A customer's server, to which a kit was carried: what happens to the kit later is nothing to it."""

    def __init__(self, operator: Operator, customer: str) -> None:
        self.folder = operator.home / "servers" / customer
        self._operator = operator
        shutil.copytree(operator.kits / customer, self.folder)

    def upload(self, export: bytes, relay: int = 0) -> Ran:
        """Send an export to a relay, by the batch's own line."""
        lines = PLINK.findall((self.folder / "runexport.bat").read_text("ascii"))
        return self._operator.call(["plink", *lines[relay].split()], stdin=export + MARK, cwd=self.folder)


@contextmanager
def asked(host: LabHost, recipients: Sequence[str], from_address: str) -> Iterator[dict[str, set[str]]]:
    """Ask about each again and again; gives what was answered, which grows: the first digits, or what went wrong."""
    seen: dict[str, set[str]] = {recipient: set() for recipient in recipients}

    def once() -> None:
        for recipient in recipients:
            seen[recipient].add(_asked(host, recipient, from_address))

    with _again(once, PAUSE):
        yield seen


@contextmanager
def again(upload: Callable[[], int], pause: float = 0.2) -> Iterator[list[int]]:
    """Upload again and again; gives the exit codes, which become more."""
    codes: list[int] = []
    with _again(lambda: codes.append(upload()), pause):
        yield codes


@contextmanager
def _again(once: Callable[[], None], pause: float) -> Iterator[None]:
    over = threading.Event()

    def loop() -> None:
        while not over.wait(pause):
            once()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _asked(host: LabHost, recipient: str, from_address: str) -> str:
    end = time.monotonic() + HANGS
    while True:  # while Postfix reloads, nobody listens for a moment; a sender comes back then
        try:
            return smtp.ask(host.address, recipient, from_address=from_address)[:3]
        except ConnectionRefusedError:
            if time.monotonic() > end:
                return "refused"
            time.sleep(PAUSE)
