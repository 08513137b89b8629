"""The lines that `refusals` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receiver.formatting import NAMED, count, escape, sort_by_count


def refusal_lines(record: Mapping[str, Any]) -> list[str]:
    """Return who was refused, those ever listed first, and whether there may have been more."""
    seen = record["seen"]
    head = f"{record['customer']}: {_refused(record)} in the last {record['days']} days"
    lines = _list_refused(head, record, lambda name: f"; {_format_when(seen[name])}")
    return lines + ([f"at least: {record['incomplete']}"] if record["incomplete"] else [])


def file_lines(customer: str, record: Mapping[str, Any]) -> list[str]:
    """Return who was refused by what log files say, which know nothing of lists."""
    return _list_refused(f"{customer}: {_refused(record)}", record, lambda _: "")


def _list_refused(head: str, record: Mapping[str, Any], when: Callable[[str], str]) -> list[str]:
    names = list(record["refused"])
    lines = [f"{head}; {len(record['had_mail'])} had mail, mail waits for {len(record['waiting'])}"]
    lines += [f"  {_kinds(name, record['refused'][name])}{when(name)}" for name in names[:NAMED]]
    return lines + ([f"  ... and {len(names) - NAMED} more; --json names them all"] if len(names) > NAMED else [])


def _kinds(name: str, kinds: Mapping[str, int]) -> str:
    return f"{escape(name, 330)}  " + ", ".join(f"{number} {kind}" for kind, number in sort_by_count(kinds))


def _format_when(seen: Mapping[str, Any]) -> str:
    days, networks = count(len(seen["days"]), "day"), count(len(seen["networks"]), "network")
    listed = "  WAS LISTED" if seen["was_listed"] else ""
    return f"on {days}, the last {seen['days'][-1]}; {networks}{listed}"


def _refused(record: Mapping[str, Any]) -> str:
    return f"{count(len(record['refused']), 'address')} {'was' if len(record['refused']) == 1 else 'were'} refused"
