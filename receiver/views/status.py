"""The lines that `status` prints, for the operator and for the customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import count, escape, format_actor, format_time


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return how the list stands, for the operator."""
    frozen = status["pinned"]
    return [
        _summary_line(status),
        *_waiting_lines(status, f" by {escape(frozen['by'])}" if frozen else ""),
        *_runs(status),
    ]


def customer_lines(status: Mapping[str, Any]) -> list[str]:
    """Return how the list stands, for the customer: without the names and addresses of operators."""
    last = status["last"]
    run = [f"  last run {format_time(last['when'])}: {last['line']}"] if last else []
    return [_summary_line(status), *_waiting_lines(status, ""), *run]


def _summary_line(status: Mapping[str, Any]) -> str:
    accepted = status["accepted"]
    good = f"last good upload {format_time(max(accepted.values()))}" if accepted else "no accepted list yet"
    opens = f"; open: {', '.join(status['open'])}" if status["open"] else ""
    word = status.get("unlisted", "refuse")  # of a relay with the first release, which does nothing else
    others = "" if word == "refuse" else f"; unlisted: {word}{', but 450 for now' if status.get('put_off') else ''}"
    return f"{status['customer']}: {count(status['total'], 'recipient')}, {good}{opens}{others}"


def _waiting_lines(status: Mapping[str, Any], by: str) -> list[str]:
    held, frozen, lines = status["held"], status["pinned"], []
    if status["unproven"]:
        lines.append(f"  the list of {format_time(status['unproven'])} has not been seen in the tables yet")
    if held and held["reasons"]:
        lines.append(f"  held since {format_time(held['since'])}: {'; '.join(held['reasons'])}")
    if frozen:
        waits = "a list waits for resume" if held else "none has come since"
        lines.append(f"  frozen since {format_time(frozen['since'])}{by}: uploads do not take effect; {waits}")
    return lines


def _runs(status: Mapping[str, Any]) -> list[str]:
    last, keys, lines = status["last"], sorted(status["keys"].items()), []
    if last:
        by = format_actor(last["key"], last["client"], last["by"])
        lines.append(f"  last run {format_time(last['when'])} by {by}: {last['line']}")
    return lines + [f"  key {escape(key)} last seen {format_time(seen['last'])}" for key, seen in keys]
