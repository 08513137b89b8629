"""A real Chromium, told over a pipe what to do: pages, screens, pictures, PDF, and every request that is made.

Debian's package; nothing of it is downloaded by itself. It speaks the DevTools protocol, JSON with a NUL after each.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lab.waiting import HANGS, wait_until

PACKAGES = ("chromium", "fonts-dejavu-core", "poppler-utils")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # it shows our own page, as root, in a lab
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


class Screen(NamedTuple):
    """The size and colour scheme of the screen for a page."""

    width: int = 1280
    height: int = 900
    scheme: str = "light"  # or dark
    media: str = "screen"  # or print


class Page:
    """One open page."""

    def __init__(self, to: int, answers: int) -> None:
        """Open an empty one over Chromium's pipes."""
        self._to, self._answers, self._rest, self._number = to, answers, b"", 0
        self._session = ""
        self.requests: list[str] = []
        self.complaints: list[str] = []  # of the page's script or policy
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of Chromium; return its answer. Raises RuntimeError where it refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (said := self._next()).get("id") != self._number:
            self._note(said)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        return dict(said["result"])

    def show(self, screen: Screen) -> None:
        """Set the screen that the page is shown on."""
        size = {"width": screen.width, "height": screen.height}
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=screen.width < 600)
        feature = {"name": "prefers-color-scheme", "value": screen.scheme}
        self.call("Emulation.setEmulatedMedia", media=screen.media, features=[feature])

    def open(self, path: Path) -> float:
        """Open a file, and return how many seconds its page took until it was loaded and two frames were drawn."""
        began = time.monotonic()
        self.load(path)
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.monotonic() - began

    def load(self, path: Path) -> None:
        """Open a file, until its page is loaded."""
        self.call("Page.navigate", url=path.as_uri())
        while (said := self._next()).get("method") != "Page.loadEventFired":
            self._note(said)

    def evaluate(self, script: str) -> Any:
        """Return what a script of ours gives in the page. Raises RuntimeError."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self, whole: bool = False) -> bytes:
        """Return a PNG of what the screen shows, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69}
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, **size)["data"])

    def _note(self, said: Mapping[str, Any]) -> None:
        details = said.get("params", {})
        if said.get("method") == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(details))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], HANGS)[0]:
                raise TimeoutError("chromium does not answer")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise RuntimeError("chromium has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))


def find() -> str | None:
    """Return the program, where one is installed."""
    return shutil.which("chromium")


@contextmanager
def opened() -> Iterator[Page]:
    """Start a Chromium with a profile of its own and yield an empty page; stop it afterwards."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()
    with tempfile.TemporaryDirectory(prefix="postern-chromium-") as profile:
        argv = [find() or "chromium", *_FLAGS, f"--user-data-dir={profile}"]
        process = _start(argv, theirs_in, theirs_out, {**os.environ, "HOME": profile})
        try:
            yield Page(ours_out, ours_in)
        finally:
            process.terminate()
            process.wait(HANGS)
            _end_helpers(process.pid)
            for descriptor in (ours_in, ours_out):
                os.close(descriptor)


def _start(argv: list[str], reads: int, writes: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it with the pipes as its descriptors 3 and 4, which it wants."""
    shell = f'exec 3<&{reads} 4>&{writes}; exec "$@"'
    try:
        return subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", *argv],
            pass_fds=(reads, writes),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    finally:
        os.close(reads)
        os.close(writes)


def _end_helpers(group: int) -> None:
    """End the browser's other processes, which outlive it for a moment and go on writing into its profile."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    wait_until(lambda: not any(_is_alive_in(group, path) for path in Path("/proc").glob("[0-9]*/stat")))


def _is_alive_in(group: int, stat: Path) -> bool:
    """Return whether a process, given as its /proc/PID/stat, is of a process group, and no zombie."""
    with suppress(OSError):
        state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
        return int(its_group) == group and state not in "ZX"
    return False
