"""Releases: cases that differ by Debian's (12 is in every run, the others are long), and Postern's own first one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.operators import REPO

USUAL = "bookworm"
FIRST = "e91c70b1d826e0b301bdeb8804845b89833e5562"
"""The commit of Postern's first release."""


def releases(*cases: str | tuple[object, ...]) -> list[object]:
    """Return the cases of `parametrize`; each is a release, or a tuple whose first value is one."""
    return [_case(case if isinstance(case, tuple) else (case,)) for case in cases]


def _case(values: tuple[object, ...]) -> object:
    return pytest.param(*values, marks=[] if values[0] == USUAL else [pytest.mark.long])


def unpack_first_release(folder: Path) -> Path:
    """Unpack the first release's tree, taken from git, and return its folder; where git has no history, skip."""
    argv = ["git", "-c", "safe.directory=*", "-C", str(REPO), "archive", FIRST]
    try:
        packed = subprocess.run(argv, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", b"").decode(errors="replace").strip() or str(error)
        reason = f"git does not give the first release ({FIRST[:7]}): {why}; of a shallow clone: git fetch --unshallow"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder
