"""The lines that `rehearse` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import escape, format_time

_SHOWN = 20  # uploads that are named


def rehearse_lines(found: Mapping[str, Any]) -> list[str]:
    """Return how many would have been held, and the newest of them with the reasons."""
    said = f"would have held {found['holds']} of {found['judged']}; each was judged alone, against the list of its time"
    shown = [
        f"{each['entry']}  {format_time(each['when'])}  {each['did']}  {escape('; '.join(each['reasons']), 300)}"
        for each in found["would_hold"][:_SHOWN]
    ]
    more = len(found["would_hold"]) - len(shown)
    return [said, *shown, *([f"and {more} older ones, which --json names"] if more else [])]
