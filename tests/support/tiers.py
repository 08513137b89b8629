"""Cases of one kind, of which `./inv test` runs some and `./inv test --long` the others."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def every_nth(cases: Iterable[str], number: int) -> list[object]:
    """Return the cases; all but the first of each so many run in the long tier alone."""
    return [
        pytest.param(case, marks=[] if at % number == 0 else [pytest.mark.long, pytest.mark.slow])
        for at, case in enumerate(cases)
    ]
