"""The other tools, and what draws the plots: a venv of their own, which the product knows nothing of."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from lab.roots import Say

REPO = Path(__file__).resolve().parent.parent
VENV = REPO / ".venv-bench"
LOCK = Path(__file__).with_name("requirements.lock")


def program(name: str) -> Path:
    """Name one of its programs."""
    return VENV / "bin" / name


def install(say: Say) -> None:
    """Make it as the lock file has it, if it is not there."""
    done = VENV / LOCK.name
    with LOCK.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first calls at once: the second waits, and then finds it made
        if done.exists() and done.read_bytes() == LOCK.read_bytes():
            return
        say(f"making {VENV.name} from {LOCK.relative_to(REPO)} (only once)")
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pip = [str(program("python")), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)], check=True)
        shutil.copy(LOCK, done)


def versions() -> dict[str, str]:
    """Return which releases are compared."""
    folder = next(VENV.glob("lib/python*/site-packages"))
    found = {each.name: each.version for each in metadata.distributions(path=[str(folder)])}
    theirs = {name: found[package] for name, package in (("Ansible", "ansible-core"), ("pyinfra", "pyinfra"))}
    return {**theirs, "Fabric": metadata.version("fabric"), "Invoke": metadata.version("invoke")}
