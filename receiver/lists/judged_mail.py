"""Addresses with mail that an accepted list refuses: a person confirmed their number, so they raise no alarm.

`judged-mail.json` has each with the time of the accept, for as long as mail is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

from receiver.formatting import DAY, is_time
from receiver.outcome import Failed
from receiver.system import atomic_files
from receiver.system.checked_json import decode_json

_FILE = "judged-mail.json"
_LIMIT = 64 << 20  # bytes
_KEPT = 14 * DAY  # seconds


def add_judged(folder: int, names: Iterable[str], now: int) -> None:
    """Record that a list which refuses these was accepted at `now`, epoch seconds."""
    judged = {**read_judged(folder, now - _KEPT), **dict.fromkeys(names, now)}
    atomic_files.replace(folder, _FILE, atomic_files.encode_json({"postern": 1, "judged": judged}))


def read_judged(folder: int, since: int) -> dict[str, int]:
    """Return those accepted at or after `since`, with the time; nothing where the file is damaged."""
    try:
        judged = decode_json(atomic_files.read(folder, _FILE, _LIMIT) or b"{}").get("judged", {})
        dated = {name: when for name, when in judged.items() if is_time(when)}
        return {name: when for name, when in dated.items() if when >= since}
    except (Failed, ValueError, AttributeError):
        return {}
