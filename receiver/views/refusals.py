"""The lines that `refusals` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import NAMED, escape, sort_by_count


def refusal_lines(record: Mapping[str, Any]) -> list[str]:
    """Return who was refused, those ever listed first, and whether there may have been more."""
    seen, names = record["seen"], list(record["refused"])
    counts = f"{len(record['had_mail'])} had mail, mail waits for {len(record['waiting'])}"
    lines = [f"{record['customer']}: {len(names)} addresses were refused in the last {record['days']} days; {counts}"]
    lines += [f"  {_kinds(name, record['refused'][name])}; {_format_when(seen[name])}" for name in names[:NAMED]]
    if len(names) > NAMED:
        lines.append(f"  ... and {len(names) - NAMED} more; --json names them all")
    return lines + ([f"at least: {record['incomplete']}"] if record["incomplete"] else [])


def file_lines(customer: str, record: Mapping[str, Any]) -> list[str]:
    """Return who was refused by what log files say, which know nothing of lists."""
    counts = f"{len(record['had_mail'])} had mail, mail waits for {len(record['waiting'])}"
    names = list(record["refused"])
    lines = [f"{customer}: {len(names)} addresses were refused; {counts}"]
    lines += [f"  {_kinds(name, record['refused'][name])}" for name in names[:NAMED]]
    if len(names) > NAMED:
        lines.append(f"  ... and {len(names) - NAMED} more; --json names them all")
    return lines


def _kinds(name: str, kinds: Mapping[str, int]) -> str:
    return f"{escape(name, 330)}  " + ", ".join(f"{count} {kind}" for kind, count in sort_by_count(kinds))


def _format_when(seen: Mapping[str, Any]) -> str:
    listed = "  WAS LISTED" if seen["was_listed"] else ""
    return f"on {len(seen['days'])} days, the last {seen['days'][-1]}; {len(seen['networks'])} networks{listed}"
