"""A real PowerShell 7, where there is one: it runs our scripts against stand-ins for Microsoft's commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent
STANDINS = Path(__file__).parent.parent / "standins"


def _found() -> str | None:
    """Return the first of $PWSH, `shared/pwsh/pwsh` beside the repository, and pwsh on PATH; each only if it runs."""
    beside = (folder / "shared" / "pwsh" / "pwsh" for folder in _ROOT.parents)
    places = [os.environ.get("PWSH"), *map(str, beside), shutil.which("pwsh")]
    return next((place for place in places if place and os.access(place, os.X_OK)), None)


PWSH = _found()
needs_pwsh = pytest.mark.skipif(
    PWSH is None, reason="no PowerShell 7: set PWSH, or put pwsh on PATH, and our scripts are run by it"
)


def run_script(script: Path, modules: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script by -File as a kit does, with a folder of STANDINS for modules, and what steers them."""
    assert PWSH is not None
    known: Mapping[str, str] = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(script.parent),
        "TMPDIR": str(script.parent),
        "PSModulePath": str(STANDINS / modules),
        "TERM": "dumb",
    }
    argv = [PWSH, "-NoProfile", "-NonInteractive", "-File", str(script)]
    return subprocess.run(
        argv, env={**known, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def on_windows(script: str, modules: Path, store: str) -> list[str]:
    """Return the words that run a script as Windows would as far as it sees; `store`: a folder with its certificate."""
    assert PWSH is not None
    known = {"PATH": "/usr/bin:/bin", "PSModulePath": modules, "STANDIN_WINDOWS": store, "TERM": "dumb"}
    environment = [f"{name}={value}" for name, value in {**known, "HOME": store, "TMPDIR": store}.items()]
    switches = ("-NoProfile", "-NonInteractive", "-File")
    return ["env", "-i", *environment, PWSH, *switches, str(STANDINS / "windows.ps1"), script]
