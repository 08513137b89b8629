"""A customer's Exchange server as far as keys go: what was carried there, and the client that uses it. No Windows.

The batch itself runs on cmd.exe in test_batch.py; here its own upload lines are run by the real plink and ssh.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from deploy.key_formats import Secret
from deploy.kit import Kit
from deploy.plan import Done
from lab.operators import MARK, Operator, Ran, export
from lab.waiting import HANGS

Event: TypeAlias = Callable[[Path], None]
UPLOAD = re.compile(
    r"^(?P<line>(plink|ssh) .*-i (?P<key>\S+) .*postern@(?P<host>\S+)) (?P<verb>receive(?: kit=[0-9]+)?) < upload.txt",
    re.MULTILINE,
)


def nothing(_: Path) -> None:
    """Happens."""


class Server:
    """A folder on a server that nobody reaches over SSH."""

    def __init__(self, operator: Operator, customer: str = "acme") -> None:
        self.kit = operator.kits / customer
        self.folder = operator.home.parent / f"server-{customer}"
        self.export = export("bob", domain=f"{customer}.example") + MARK
        self.carry()

    def carry(self) -> None:
        """Copy the kit there, as its README says: over what is there, the old key stays."""
        self.folder.mkdir(exist_ok=True)
        for path in sorted(self.kit.iterdir(), key=lambda path: "exchupdate" not in path.name):
            shutil.copy2(path, self.folder / ".copy")
            (self.folder / ".copy").replace(self.folder / path.name)

    def line(self, host: str = "", key: str = "") -> list[str]:
        """The batch's line for a relay, the first if none is named, by the first key that is there; or by another."""
        found = list(UPLOAD.finditer((self.folder / "runexport.bat").read_text("ascii")))
        theirs = [one for one in found if one["host"] == (host or found[0]["host"])]
        chosen = next(one for one in theirs if (self.folder / one["key"]).exists())
        other = chosen["key"].replace(re.findall("k[0-9]+", chosen["key"])[0], key) if key else chosen["key"]
        return [word if word != chosen["key"] else other for word in chosen["line"].split()]

    @property
    def verb(self) -> str:
        """What the batch says to a relay, with its kit's number where it has one."""
        return next(UPLOAD.finditer((self.folder / "runexport.bat").read_text("ascii")))["verb"]

    def upload(self, host: str = "", key: str = "") -> Ran:
        """Send a list, having the batch's lock while it looks for its key and as long as it sends."""
        lock = self.folder / "runexport.lck"
        lock.mkdir()
        try:
            return self.call([*self.line(host, key), self.verb], self.export)
        finally:
            lock.rmdir()

    def knock(self, key: str = "", host: str = "") -> str:
        """Send EHLO to a relay; return what it answers, or nothing."""
        return self.call(self.line(host, key)).out

    def call(self, argv: list[str], stdin: bytes = b"") -> Ran:
        """Run a client to its end."""
        done = subprocess.run(argv, input=stdin, capture_output=True, cwd=self.folder, timeout=HANGS)
        return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Uploads:
    """Servers that upload every 200 ms, counted from the end of the upload before, as long as this is open."""

    def __init__(self, *servers: Server) -> None:
        self.ended: Counter[tuple[int, str]] = Counter()  # exit code and what was said: how often
        self._over = threading.Event()
        self._counts = [0] * len(servers)
        self._threads = [threading.Thread(target=self._upload, args=one) for one in enumerate(servers)]

    def __enter__(self) -> Uploads:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def each(self) -> None:
        """Wait until each server has had an upload that began after this call: the second that ends from now on."""
        before = list(self._counts)
        while any(now < was + 2 for now, was in zip(self._counts, before, strict=True)):
            assert all(thread.is_alive() for thread in self._threads)
            time.sleep(0.02)

    def _upload(self, number: int, server: Server) -> None:
        while not self._over.wait(0.2):
            ran = server.upload()
            self.ended[ran.code, ran.text.strip()] += 1
            self._counts[number] += 1


class FarEnd(Kit):
    """A server that can be told to run a program, in the place of a Windows that cannot be had: plink and ssh are real.

    What the product sends it are words for Windows; here its folder lies elsewhere and programs are found by PATH.
    `placed` and `called` happen when a key has been placed, and before a program runs.
    """

    def __init__(self, folder: Path, directory: str, placed: Event = nothing, called: Event = nothing) -> None:
        super().__init__(folder)
        self.name = "NTSERVER"
        self.ran: list[tuple[str, ...]] = []
        self._folder, self._directory = folder, directory
        self._placed, self._called = placed, called

    def write_key(self, name: str, private: Secret) -> None:
        """Take a key."""
        super().write_key(name, private)
        self._placed(self._folder / name)

    def run(self, *argv: str, stdin: bytes = b"") -> Done:
        """Run the client."""
        self._called(self._folder)
        self.ran.append(argv)
        here = [word.replace(f"{self._directory}\\", "") for word in argv]
        here = [word.replace(self._directory.replace("\\", "/"), str(self._folder)) for word in here]
        here[0] = here[0].removesuffix(".exe")
        done = subprocess.run(here, input=stdin, capture_output=True, cwd=self._folder, timeout=HANGS)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())
