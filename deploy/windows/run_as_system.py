"""Run a line in a Windows machine's folder now, as the system itself, and follow its output.

A login by key has no credentials there, and so no rights on other machines: a domain controller refuses it what it
gives the scheduled task. So Task Scheduler runs this too, as SYSTEM.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

from deploy.plan import HostError
from deploy.windows.host import Windows

PAUSE = 0.3  # seconds between two looks
LONGEST = 3 * 3600.0  # seconds; a run of our batch gives up before that

_BATCH = (
    "@echo off",
    "cd /d {folder}",
    "cmd /c {line} > {token}.out 2>&1",
    "> {token}.tmp echo %errorlevel%",
    "ren {token}.tmp {token}.code",
)


def run_task(windows: Windows, name: str, line: str, hear: Callable[[bytes], None]) -> int:
    """Run a line in the folder by a task of the system; return its exit code. `hear` is called with its output.

    Raises HostError.
    """
    token = f"now-{os.urandom(4).hex()}"
    task = f"{name} {token}"
    batch = "".join(f"{one}\r\n" for one in _BATCH).format(folder=windows.folder, line=line, token=token)
    windows.put(f"{token}.bat", batch.encode("ascii"))
    once = ("/sc", "once", "/st", "00:00", "/ru", "SYSTEM", "/rl", "HIGHEST")
    try:
        windows.must(
            ("schtasks", "/create", "/f", "/tn", task, "/tr", rf"{windows.folder}\{token}.bat", *once),
            ("schtasks", "/run", "/tn", task),
        )
        return _follow_output(windows, token, hear)
    finally:
        with suppress(HostError):
            windows.run("schtasks", "/delete", "/f", "/tn", task)
            for end in ("bat", "out", "tmp", "code"):
                windows.remove(f"{token}.{end}")


def _follow_output(windows: Windows, token: str, hear: Callable[[bytes], None]) -> int:
    until, heard = time.monotonic() + LONGEST, 0
    while time.monotonic() < until:
        code = windows.get(f"{token}.code")
        said = (windows.get(f"{token}.out") or b"")[heard:]
        heard += len(said)
        if said:
            hear(said)
        if code is not None:
            return int(code) if code.strip().lstrip(b"-").isdigit() else 1
        time.sleep(PAUSE)
    raise HostError(f"it has not ended within {LONGEST / 3600:.0f} hours; {windows.folder} there may tell more")
