"""What the last build did, for builds that waited for it: if it began after they were asked for, it did their work.

It stands in the file that is locked for a build, with the boot it belongs to, as its clock begins with that.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress

_BOOT = "/proc/sys/kernel/random/boot_id"
_LIMIT = 64 << 20  # bytes: a line for each of very many customers


def now() -> float:
    """Return the seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def note(lock: int, began: float, lines: Sequence[str]) -> None:
    """Write down, in the locked file, when a build that has succeeded began, and its lines."""
    content = json.dumps({"boot": _boot(), "began": began, "lines": [*lines]}).encode()
    with suppress(OSError):  # without it the next one only reads all that this one has read
        os.ftruncate(lock, 0)
        os.pwrite(lock, content, 0)


def lines_since(lock: int, asked: float) -> list[str] | None:
    """Return the lines of the last build, if it began after `asked`; None: it did not, or nothing is known of it."""
    try:
        found = json.loads(os.pread(lock, _LIMIT, 0))
        is_later = found["boot"] == _boot() != "" and found["began"] > asked
        return [str(line) for line in found["lines"]] if is_later else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _boot() -> str:
    with suppress(OSError), open(_BOOT, encoding="ascii") as file:
        return file.read().strip()
    return ""
