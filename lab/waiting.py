"""Waiting in tests: for what comes in its own time, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

HANGS = 600
"""Seconds after which something that has not ended counts as hanging; no test measures a speed by it."""


def wait_until(is_true: Callable[[], bool]) -> None:
    """Return as soon as it is true. Raises AssertionError if it never becomes true."""
    end = time.monotonic() + HANGS
    while not is_true():
        assert time.monotonic() < end, f"not true within {HANGS} s"
        time.sleep(0.01)
