"""The lines that `history` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import escape, format_actor, format_time
from receiver.views.recipients import name_recipients


def history_lines(history: Mapping[str, Any]) -> list[str]:
    """Return a line for each list, the one in force first, for older removals, and whether it is frozen.

    Each names the entry of the log first: `rollback --entry` brings back whom it removed.
    """
    lines = [f"{entry['back']:2}  {_entry(entry)}" for entry in history["history"]]
    kept = {entry["entry"] for entry in history["history"]}
    older = [entry for entry in history["log"] if entry["entry"] not in kept]
    lines += [f"    {_entry({**entry, 'accepted_when': entry['when']})}" for entry in older]
    if frozen := history["pinned"]:
        by = escape(frozen["by"])
        lines.append(f"frozen since {format_time(frozen['since'])} by {by}, to list {frozen['list'][:12]}")
    return lines or ["no list has been in force yet"]


def difference_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return who came and who went with one list."""
    came, went = (name_recipients(sign, what, entry[what]) for sign, what in (("+", "came"), ("-", "went")))
    return [_entry(entry), *came, *went]


def _entry(entry: Mapping[str, Any]) -> str:
    counts = f"{entry['total']} (+{entry['added']} -{entry['removed']})"
    by = format_actor(entry["key"], entry["client"], entry["by"])
    line = f"{entry['entry']}  {entry['list'][:12]}  {format_time(entry['when'])}  {counts}  {by}"
    if not entry["accepted_by"]:
        return line
    return f"{line}; accepted by {escape(entry['accepted_by'])} {format_time(entry['accepted_when'])}"
