"""A list that waits for a person, and the freeze that makes lists wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from receiver.formatting import is_time
from receiver.outcome import LeftOut, Origin, records
from receiver.system.checked_json import check_types, whole_numbers


class Held(NamedTuple):
    """The list that waits: for `accept`, or while the list is frozen, for `resume`."""

    list: str  # its SHA-256
    recipients: frozenset[str]
    origin: Origin
    since: int  # when the first of the lists held in a row came
    reasons: tuple[str, ...]  # empty: it passes, and waits because the list in force is frozen
    left_out: Mapping[str, int]
    total: int = 0  # of its recipients, where they are not read
    open_domains: tuple[str, ...] = ()  # in which everybody gets mail, so that it closes none of them
    named: tuple[LeftOut, ...] = ()  # values that were left out though no option says so

    def fields(self) -> dict[str, Any]:
        """Return the content of why.json: all fields as plain JSON, but the recipients as their number."""
        count = len(self.recipients) or self.total
        fields = {**self._asdict(), "recipients": count, "total": count, "origin": self.origin._asdict()}
        return {**fields, "named": records(self.named)}

    @classmethod
    def read(cls, why: Mapping[str, Any]) -> Held:
        """Return what why.json says, without the recipients. Raises KeyError, TypeError where it is damaged."""
        origin, reasons, total = Origin(**why["origin"]), tuple(why["reasons"]), why["recipients"]
        check_types(str, why["list"], origin.key, origin.client, origin.by, *reasons)
        check_types(int, origin.when, why["since"], total, *whole_numbers(why["left_out"]).values())
        if not (is_time(origin.when) and is_time(why["since"])):
            raise TypeError("an impossible date")
        opened = tuple(why.get("open_domains", ()))
        check_types(str, *opened)
        counts, named = whole_numbers(why["left_out"]), LeftOut.read(why.get("named", ()))
        return cls(why["list"], frozenset(), origin, why["since"], reasons, counts, total, opened, named)


class ListFreeze(NamedTuple):
    """Who froze the list, when, and to which list: uploads do not take effect."""

    since: int
    by: str
    list: str  # SHA-256 of the list that was rolled back to

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> ListFreeze:
        """Return what _asdict() gave; a damaged field is empty, and the list is frozen all the same."""
        since = fields.get("since", 0)
        return cls(since if is_time(since) else 0, str(fields.get("by", "")), str(fields.get("list", "")))
