"""Values of the last export that were left out though their domain is the customer's: left-out.json, for `explain`."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.outcome import Failed, LeftOut
from receiver.system import atomic_files
from receiver.system.checked_json import decode_json

_NAME = "left-out.json"
_LIMIT = 16 << 20  # bytes: 10,000 values of 200 characters, escaped
_FORMAT = 1


def write_left_out(folder: int, values: Sequence[LeftOut]) -> None:
    """Replace the values of the export before."""
    if tuple(values) != read_left_out(folder):
        fields = {"postern": _FORMAT, "values": [list(each) for each in values]}
        atomic_files.replace(folder, _NAME, atomic_files.encode_json(fields))


def read_left_out(folder: int) -> tuple[LeftOut, ...]:
    """Return the values in the order of the export; none where the file is damaged or not written yet."""
    try:
        fields = decode_json(atomic_files.read(folder, _NAME, _LIMIT) or b"{}")
        return tuple(LeftOut(str(value), str(reason)) for value, reason in fields["values"])
    except (Failed, ValueError, TypeError, KeyError):
        return ()
