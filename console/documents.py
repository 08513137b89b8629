"""What `--json` prints: times as ISO 8601 with their zone, whatever a relay or a release calls them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

TIMES = ("when", "since", "first", "last", "good", "changed", "heard", "unproven", "last_good", "accepted_when")
"""Keys whose whole numbers are epoch seconds; 0 is never."""
_BY_NAME = ("accepted",)  # keys of mappings whose values are times
_EARLIEST = 1_000_000_000  # epoch seconds, 2001; a smaller number is a count


def with_iso_times(value: Any) -> Any:
    """Return a document with each time as YYYY-MM-DDTHH:MM:SSZ, or null where it stands for never."""
    if isinstance(value, Mapping):
        return {key: _convert(key, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_iso_times(each) for each in value]
    return value


def _convert(key: str, value: Any) -> Any:
    if key in TIMES and _is_time(value):
        return format_iso(value)
    if key in _BY_NAME and isinstance(value, Mapping):
        return {name: format_iso(each) if _is_time(each) else each for name, each in value.items()}
    return with_iso_times(value)


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value == 0 or value >= _EARLIEST)


def format_iso(when: int) -> str | None:
    """Return epoch seconds as ISO 8601 in UTC; 0: None. What is no date of this calendar stays a number in quotes."""
    if not when:
        return None
    try:
        return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(when)
