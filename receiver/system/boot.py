"""The machine's start: which one it is, how long ago it was, and when it was by the present clock.

The seconds since then go on evenly; the clock may be set, and may be wrong until it has been.
"""

from __future__ import annotations

import time

_ID = "/proc/sys/kernel/random/boot_id"


def read_id() -> str:
    """Return what names this start of the machine. Raises OSError."""
    with open(_ID, encoding="ascii") as file:
        return file.read().strip()


def seconds_since() -> float:
    """Return the seconds since the machine was started, those asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def epoch_seconds(now: float) -> float:
    """Return when the machine was started, by a clock that says `now`: who sets the clock moves it."""
    return now - seconds_since()
