"""A customer's refusals as three files of the spool.

refusals.json; had-mail.json, which grows with the list; and refusal-alarms.json, which is short: `inv status` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from common.spool_files import REFUSAL_ALARMS
from receiver.monitoring.postfix_message import KINDS
from receiver.monitoring.refusals import Fault, Mail, RaisedAlarm, RefusalDay, Refusals, RefusedAddress, WaitingMail
from receiver.outcome import Failed
from receiver.system import atomic_files
from receiver.system.checked_json import decode_json

_REFUSED, _MAIL, _ALARMS = "refusals.json", "had-mail.json", REFUSAL_ALARMS
_LIMIT = 64 << 20  # octets: MOST_WITH_MAIL of the longest addresses
_FORMAT = 1
_DAMAGED = (Failed, ValueError, TypeError, KeyError, AttributeError)


class StoredRefusals(NamedTuple):
    """What the files hold."""

    refusals: Refusals
    since: str  # the day since which they count
    domains: tuple[str, ...] = ()  # those for which they count


def load(folder: int) -> StoredRefusals | None:
    """Read them. None: there are none, or one is damaged."""
    try:
        fields, mail = _read(folder, _REFUSED), _read(folder, _MAIL)
        refusals = _refusals(fields, mail)
        with suppress(*_DAMAGED):  # what was raised is raised again
            refusals.raised = read_raised(_read(folder, _ALARMS))
        return StoredRefusals(refusals, str(fields["since"]), tuple(map(str, fields["domains"])))
    except _DAMAGED:
        return None


def load_refused(folder: int) -> dict[str, RefusedAddress]:
    """Read who was refused, without the names that Postern makes up. Nobody: no file is there, or it is damaged.

    Who had mail grows with the list, and is read only where such a name may have had some.
    """
    refusals = Refusals()
    try:
        fields = _read(folder, _REFUSED)
        refusals.refused = _read_refused(fields)
    except _DAMAGED:
        return {}
    if len(refusals.of_strangers) == len(refusals.refused):
        return refusals.refused
    with suppress(*_DAMAGED):
        return _refusals(fields, _read(folder, _MAIL)).of_strangers
    return refusals.refused


def save(folder: int, stored: StoredRefusals) -> None:
    """Write them, where they have changed."""
    refusals = stored.refusals
    fields = {
        "since": stored.since,
        "domains": stored.domains,
        "refused": {name: [dict(each.kinds), each.seen, each.was_listed] for name, each in refusals.refused.items()},
        "totals": refusals.totals,
        "faults": refusals.faults,
        "named": refusals.named,
        "noticed": refusals.noticed,
        "asked": refusals.asked,
    }
    _write(folder, _REFUSED, fields)
    _write(folder, _MAIL, {"had_mail": refusals.had_mail, "waiting": refusals.waiting})
    _write(folder, _ALARMS, {"raised": refusals.raised})


def read_raised(fields: Mapping[str, Any]) -> dict[str, RaisedAlarm]:
    """Return what refusal-alarms.json says. Raises KeyError, TypeError, ValueError, AttributeError."""
    return {str(kind): RaisedAlarm(str(day), str(text)) for kind, (day, text) in fields["raised"].items()}


def _read(folder: int, name: str) -> dict[str, Any]:
    fields = decode_json(atomic_files.read(folder, name, _LIMIT) or b"")
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
    refusals.refused = _read_refused(fields)
    refusals.totals = {kind: int(fields["totals"][kind]) for kind in KINDS}
    for name, (day, text, is_broken) in fields["faults"].items():
        refusals.faults[name] = Fault(str(day), str(text), bool(is_broken))
    refusals.named = {name: str(day) for name, day in fields["named"].items()}
    refusals.noticed = {name: str(day) for name, day in fields.get("noticed", {}).items()}
    refusals.asked = {name: str(day) for name, day in fields["asked"].items()}
    refusals.had_mail = {name: Mail(str(last), int(days)) for name, (last, days) in mail["had_mail"].items()}
    refusals.waiting = {name: WaitingMail(str(day), int(order)) for name, (day, order) in mail["waiting"].items()}
    return refusals


def _read_refused(fields: Mapping[str, Any]) -> dict[str, RefusedAddress]:
    found = {}
    for name, (kinds, seen, was_listed) in fields["refused"].items():
        days = tuple(RefusalDay(str(day), str(network), bool(sender)) for day, network, sender in seen)
        counts = {kind: int(kinds[kind]) for kind in KINDS if kind in kinds}
        found[name] = RefusedAddress(counts, days, bool(was_listed))
    return found
