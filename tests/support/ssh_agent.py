"""An ssh-agent of a test's own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.waiting import wait_until


@contextmanager
def ssh_agent(path: Path) -> Iterator[Path]:
    """Run one behind this socket until the end, and yield the socket when it answers."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _is_listening(path))
        yield path
    finally:
        agent.terminate()
        agent.wait()


def _is_listening(path: Path) -> bool:
    """Return whether it takes connections: the socket is there a moment earlier."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
