"""A customer's refusals as two files of the spool: refusals.json, and had-mail.json, which grows with the list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from receiver.monitoring.postfix_message import KINDS
from receiver.monitoring.refusals import Fault, Mail, Raised, Refusals, RefusedAddress, Seen, Waiting
from receiver.outcome import Failed
from receiver.system import atomic_files

_REFUSED, _MAIL = "refusals.json", "had-mail.json"
_LIMIT = 64 << 20  # octets: MOST_WITH_MAIL of the longest addresses
_FORMAT = 1


def load(folder: int) -> tuple[Refusals, str] | None:
    """Read them, and the day since which they count. None: there are none, or one is damaged."""
    try:
        fields, mail = _read(folder, _REFUSED), _read(folder, _MAIL)
        return _refusals(fields, mail), str(fields["since"])
    except (Failed, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def save(folder: int, refusals: Refusals, since: str) -> None:
    """Write them, where they have changed."""
    fields = {
        "since": since,
        "refused": {name: [dict(each.kinds), each.seen, each.was_listed] for name, each in refusals.refused.items()},
        "totals": refusals.totals,
        "faults": refusals.faults,
        "named": refusals.named,
        "asked": refusals.asked,
        "raised": refusals.raised,
    }
    _write(folder, _REFUSED, fields)
    _write(folder, _MAIL, {"had_mail": refusals.had_mail, "waiting": refusals.waiting})


def _read(folder: int, name: str) -> dict[str, Any]:
    fields = json.loads(atomic_files.read(folder, name, _LIMIT) or b"")
    if fields["postern"] != _FORMAT:
        raise ValueError(f"{name}: of a format this release does not read")
    return dict(fields)


def _write(folder: int, name: str, fields: Mapping[str, Any]) -> None:
    text = atomic_files.encode_json({"postern": _FORMAT, **fields})
    try:
        if atomic_files.read(folder, name, _LIMIT) == text:
            return
    except Failed:
        pass  # it is no file of ours, and is replaced
    atomic_files.replace(folder, name, text)


def _refusals(fields: Mapping[str, Any], mail: Mapping[str, Any]) -> Refusals:
    """Return what they say, each value of the kind it must be. Raises ValueError, TypeError, KeyError."""
    refusals = Refusals()
    for name, (kinds, seen, was_listed) in fields["refused"].items():
        days = tuple(Seen(str(day), str(network), bool(sender)) for day, network, sender in seen)
        counts = {kind: int(kinds[kind]) for kind in KINDS if kind in kinds}
        refusals.refused[name] = RefusedAddress(counts, days, bool(was_listed))
    refusals.totals = {kind: int(fields["totals"][kind]) for kind in KINDS}
    for name, (day, text, is_broken) in fields["faults"].items():
        refusals.faults[name] = Fault(str(day), str(text), bool(is_broken))
    refusals.named = {name: str(day) for name, day in fields["named"].items()}
    refusals.asked = {name: str(day) for name, day in fields["asked"].items()}
    refusals.raised = {name: Raised(str(day), str(text)) for name, (day, text) in fields["raised"].items()}
    refusals.had_mail = {name: Mail(str(last), int(days)) for name, (last, days) in mail["had_mail"].items()}
    refusals.waiting = {name: Waiting(str(day), int(order)) for name, (day, order) in mail["waiting"].items()}
    return refusals
