"""What `status` prints of the record of a customer's list, to the operator and to the customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.report import hand, moment, shown


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return how the list stands, for the operator."""
    pinned = status["pinned"]
    return [_standing(status), *_waiting(status, f" by {shown(pinned['by'])}" if pinned else ""), *_runs(status)]


def customer_lines(status: Mapping[str, Any]) -> list[str]:
    """Return how the list stands, for the customer, to whom our people and their addresses are nothing."""
    last = status["last"]
    run = [f"  last run {moment(last['when'])}: {last['line']}"] if last else []
    return [_standing(status), *_waiting(status, ""), *run]


def _standing(status: Mapping[str, Any]) -> str:
    accepted = status["accepted"]
    good = f"last good upload {moment(max(accepted.values()))}" if accepted else "no accepted list yet"
    opens = f"; open: {', '.join(status['open'])}" if status["open"] else ""
    return f"{status['customer']}: {status['total']} recipients, {good}{opens}"


def _waiting(status: Mapping[str, Any], by: str) -> list[str]:
    held, pinned, lines = status["held"], status["pinned"], []
    if status["unproven"]:
        lines.append(f"  the list of {moment(status['unproven'])} has not been seen in the tables yet")
    if held and held["reasons"]:
        lines.append(f"  held since {moment(held['since'])}: {'; '.join(held['reasons'])}")
    if pinned:
        waits = "a list waits for resume" if held else "none has come since"
        lines.append(f"  pinned since {moment(pinned['since'])}{by}: uploads do not take effect; {waits}")
    return lines


def _runs(status: Mapping[str, Any]) -> list[str]:
    last, keys, lines = status["last"], sorted(status["keys"].items()), []
    if last:
        by = hand(last["key"], last["client"], last["by"])
        lines.append(f"  last run {moment(last['when'])} by {by}: {last['line']}")
    return lines + [f"  key {shown(key)} last seen {moment(seen['last'])}" for key, seen in keys]
