"""The lines that `report` prints, one for each customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def report_lines(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each customer."""
    return [f"{customer}: {_sums(figures, record['window'])}" for customer, figures in record["customers"].items()]


def _sums(figures: Mapping[str, Any], window: int) -> str:
    if "fault" in figures:
        return str(figures["fault"])
    added, removed, uploads, held = (sum(day[at] for day in figures["days"]) for at in (2, 3, 4, 5))
    return f"uploads {uploads}, held {held}, +{added} -{removed}; days with any {len(figures['days'])} of {window}"
