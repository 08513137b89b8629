"""Runs on the machine itself: finds programs in system directories and runs them to their end, in bounded time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

from remote.main import Failed

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}


class CommandResult(NamedTuple):
    """How a program ended. Ended by a signal, its code is negative."""

    code: int
    out: str
    err: str


def find_tool(*names: str) -> str | None:
    """Find the first of these programs that is here, in system directories only; its absolute path."""
    for name in names:
        for folder in ENVIRONMENT["PATH"].split(":"):
            if os.access(os.path.join(folder, name), os.X_OK):
                return os.path.join(folder, name)
    return None


def run_command(*argv: str, stdin: bytes = b"", seconds: float = 300) -> CommandResult:
    """Run a program, named by its absolute path, in a clean environment. Raises Failed if it does not start or end.

    Output goes to memory files, not pipes: a daemon it leaves behind would hold a pipe open and keep us waiting.
    """
    given, out, err = (os.fdopen(os.memfd_create(name), "w+b", 0) for name in ("in", "out", "err"))
    with given, out, err:
        given.write(stdin)
        given.seek(0)
        code = _wait(argv[0], _start(argv, [file.fileno() for file in (given, out, err)]), seconds)
        out.seek(0)
        err.seek(0)
        return CommandResult(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def _start(argv: Sequence[str], streams: Sequence[int]) -> int:
    """Start a program in a session of its own. Not by subprocess, which takes 5 ms to load on every relay."""
    redirected = [(os.POSIX_SPAWN_DUP2, stream, number) for number, stream in enumerate(streams)]
    heard = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP]  # this program ignores them, the started one must not
    try:
        return os.posix_spawn(argv[0], list(argv), ENVIRONMENT, file_actions=redirected, setsid=True, setsigdef=heard)
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error.strerror}") from error


def _wait(name: str, process: int, seconds: float) -> int:
    """Wait for a program's end and return its exit code. One that takes too long is killed, and Failed raised."""
    until = time.monotonic() + seconds
    pause = 0.0005
    while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise Failed(f"{name} did not end within {seconds:.0f} s and was killed")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)
    status = ended[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
