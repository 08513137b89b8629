"""What the last build did, for builds that waited for it: if it began after they were asked for, it did their work.

It stands in the file that is locked for a build, with the boot it belongs to, as its clock begins with that, and the
release: a build that an upgrade asks for is not done by one that waited with the code of the release before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress

from common.release import RELEASE
from receiver.system import boot

_LIMIT = 64 << 20  # bytes: a line for each of very many customers


def note(lock: int, began: float, lines: Sequence[str]) -> None:
    """Write down, in the locked file, when a build that has succeeded began, and its lines."""
    with suppress(OSError):  # without it the next one only reads all that this one has read
        content = json.dumps({"by": _maker(), "began": began, "lines": [*lines]}).encode()
        os.ftruncate(lock, 0)
        os.pwrite(lock, content, 0)


def lines_since(lock: int, asked: float) -> list[str] | None:
    """Return the lines of the last build, if it began after `asked`; None: it did not, or nothing is known of it."""
    try:
        found = json.loads(os.pread(lock, _LIMIT, 0))
        is_later = found["by"] == _maker() and found["began"] > asked
        return [str(line) for line in found["lines"]] if is_later else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _maker() -> list[str]:
    """Return the boot and the release that this build belongs to. Raises OSError."""
    return [boot.read_id(), RELEASE]
