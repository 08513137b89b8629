"""The tests, and what they need on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from lab import roots

REPO = Path(__file__).parent.parent
LOCK = REPO / "requirements-dev.lock"
WINDOWS = ("wine64", "gcc-mingw-w64-x86-64-win32")
"""Debian's packages that run a customer's batch file and build the programs it calls."""


def run(fast: bool, words: str) -> int:
    """Run the tests, `fast` without those that need lab hosts; gives pytest's exit code."""
    install_tools()
    at_once = os.cpu_count() or 1
    if fast:
        chosen = ["-m", "not host and not slow"]
    else:
        _prepare()
        chosen, at_once = [], 3 * at_once  # a test of lab hosts waits for most of its time
    argv = [sys.executable, "-m", "pytest", "-n", str(at_once), *chosen, *shlex.split(words)]
    return subprocess.run(argv, cwd=REPO).returncode


def _prepare() -> None:
    """Make what takes long beforehand, where it can be told: a test that makes a Debian root says nothing meanwhile."""
    if os.geteuid() == 0:
        roots.install_needed((*roots.PACKAGES, *WINDOWS), say=_say)
    if roots.missing() is None:
        for release in roots.RELEASES:
            roots.root(release, say=_say)


def install_tools() -> None:
    """Bring the tests' own Python packages into .venv, as their lock file has them; the benchmarks want them too."""
    done = Path(sys.prefix) / LOCK.name
    if sys.prefix == sys.base_prefix or (done.exists() and done.read_bytes() == LOCK.read_bytes()):
        return
    _say(f"installing {LOCK.name} into {sys.prefix}")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--require-hashes", "-r", str(LOCK)], check=True)
    done.write_bytes(LOCK.read_bytes())


def _say(line: str) -> None:
    sys.stderr.write(f"inv: {line}\n")
