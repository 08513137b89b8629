"""The marker by which root holds all domains of a customer open: `opened/ID.json`, on a relay and in the inventory.

Whatever lies under that name is a marker, however damaged: it only ever opens.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from common.paths import Places

_FORMAT = 1
LONGEST = 1 << 16  # bytes of a marker that are read; ours are far shorter


class Opened(NamedTuple):
    """Who had the customer's domains opened, and when."""

    customer: str
    since: int = 0  # epoch seconds; 0: the marker does not say
    by: str = ""

    def text(self) -> str:
        """Return the content of the file, one line of JSON."""
        return json.dumps({"postern": _FORMAT, **self._asdict()}, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, text: bytes, customer: str) -> Opened:
        """Return what text() gave. Raises ValueError where it is no marker of this customer."""
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("postern") != _FORMAT or fields.get("customer") != customer:
            raise ValueError(f"is no marker of {customer} that this release reads")
        since, by = fields.get("since"), fields.get("by")
        if not isinstance(since, int) or not isinstance(by, str):
            raise ValueError("does not say since when and by whom")
        return cls(customer, since, by)


def find_marker(places: Places, customer: str) -> Opened | None:
    """Return a relay's marker; None: there is none. A damaged one says neither when nor who."""
    path = places.opened(customer)
    if not os.path.lexists(path):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            return Opened.read(file.read(LONGEST), customer)
    except (OSError, ValueError, RecursionError):
        return Opened(customer)
