"""Judges the logged uploads again under other limits, each by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from common.settings import Settings
from receiver.formatting import escape
from receiver.lists.upload_log import LogEntry
from receiver.outcome import Refused
from receiver.upload.guard import find_reasons

LIMITS = ("shrink_percent", "shrink_floor", "growth_factor", "max_recipients")


def rehearse(entries: Iterable[LogEntry], settings: Settings, limits: Mapping[str, str]) -> dict[str, Any]:
    """Return as plain JSON which of the logged uploads the guard would hold. Raises Refused for a wrong limit.

    Each is judged against what was in force when it came, whatever these limits would have made of those before it.
    """
    settings = _with_limits(settings, limits)
    judged, would_hold, held = 0, [], 0
    for entry in entries:
        if entry.inputs:
            judged += entry.times
            reasons = [reason for some in find_reasons(entry.inputs, settings) for reason in some]
            held += entry.times if reasons else 0
            would_hold += [_record(entry, reasons)] if reasons else []
    return {"judged": judged, "holds": held, "limits": dict(limits), "would_hold": would_hold}


def _with_limits(settings: Settings, limits: Mapping[str, str]) -> Settings:
    unknown = next((name for name in limits if name not in LIMITS), None)
    if unknown is not None:
        raise Refused(f"--guard {escape(unknown)}: no limit that can be rehearsed; {', '.join(LIMITS)} can")
    number = {name: _read_number(name, value) for name, value in limits.items()}
    return settings._replace(
        shrink_percent=number.get("shrink_percent", settings.shrink_percent),
        shrink_floor=int(number.get("shrink_floor", settings.shrink_floor)),
        growth_factor=number.get("growth_factor", settings.growth_factor),
        max_recipients=int(number.get("max_recipients", settings.max_recipients)),
    )


def _read_number(name: str, value: str) -> float:
    whole = name in ("shrink_floor", "max_recipients")
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        number = -1
    if not (math.isfinite(number) and number >= 0):
        wanted = "a whole number" if whole else "a number"
        raise Refused(f"--guard {name}={escape(value)}: {wanted} is wanted, from 0 on")
    return number


def _record(entry: LogEntry, reasons: list[str]) -> dict[str, Any]:
    return {"entry": entry.entry, "when": entry.when, "did": entry.did, "times": entry.times, "reasons": reasons}
