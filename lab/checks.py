"""The tests, and what they need on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import chromium, roots

REPO = Path(__file__).parent.parent
LOCK = REPO / "requirements-dev.lock"
PACKAGES = ("gcc-mingw-w64-x86-64-win32", "git", "pgbouncer", "postgresql", "python3-psycopg2", "wine64")
"""Debian's packages that the tests want besides: Wine runs a batch file, mingw builds the programs it calls."""
SHELLS = ("fish", "zsh")
"""And the long run: shells whose completion is tried."""

USUAL_RELEASE = "bookworm"
"""The release of which `./inv test` boots hosts; those of the others are in `./inv test --long`."""


def run(fast: bool, long: bool, words: str) -> int:
    """Run a tier of the tests and return pytest's exit code; 2: both tiers were asked for at once."""
    if fast and long:
        _say("--fast and --long are two runs: name one of them")
        return 2
    install_tools()
    at_once = os.cpu_count() or 1
    if fast:
        _prepare(roots.PACKAGES, ())
    else:
        more = (*chromium.PACKAGES, *SHELLS) if long else ()
        _prepare((*roots.PACKAGES, *PACKAGES, *more), roots.RELEASES if long else (USUAL_RELEASE,))
        at_once *= 3  # a test of lab hosts waits for most of its time
    argv = [sys.executable, "-m", "pytest", "-n", str(at_once), "-m", _marks(fast, long), *shlex.split(words)]
    keeps_bytecode = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # else each worker compiles every test, each time
    return subprocess.run(argv, cwd=REPO, env=keeps_bytecode).returncode


def _marks(fast: bool, long: bool) -> str:
    """Return the tests of a tier, as pytest's -m takes them."""
    if fast:
        return "not host and not slow and not long"
    return "long" if long else "not long"


def _prepare(packages: Sequence[str], releases: Sequence[str]) -> None:
    """Install packages and make Debian roots first, where progress is seen: pytest shows none of a test's."""
    if os.geteuid() == 0:
        roots.install_needed(packages, say=_say)
    if roots.missing() is None:
        for release in releases:
            _prepare_root(release)


def _prepare_root(release: str) -> None:
    try:
        roots.root(release, say=_say)
    except roots.ReleaseGoneError as gone:
        _say(f"{gone}; its tests are skipped")


def install_tools() -> None:
    """Install the tests' Python packages in .venv from the lock file; the benchmarks need them too."""
    done = Path(sys.prefix) / LOCK.name
    if sys.prefix == sys.base_prefix or (done.exists() and done.read_bytes() == LOCK.read_bytes()):
        return
    _say(f"installing {LOCK.name} into {sys.prefix}")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--require-hashes", "-r", str(LOCK)], check=True)
    done.write_bytes(LOCK.read_bytes())


def _say(line: str) -> None:
    sys.stderr.write(f"inv: {line}\n")
