"""Cases that differ by Debian release: Debian 12 is in every run, the others are long."""

from __future__ import annotations

import pytest

USUAL = "bookworm"


def releases(*cases: str | tuple[object, ...]) -> list[object]:
    """Return the cases of `parametrize`; each is a release, or a tuple whose first value is one."""
    return [_case(case if isinstance(case, tuple) else (case,)) for case in cases]


def _case(values: tuple[object, ...]) -> object:
    return pytest.param(*values, marks=[] if values[0] == USUAL else [pytest.mark.long])
