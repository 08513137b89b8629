"""Logs and refusals that were never anybody's, always the same ones: what a relay knows of a customer's last months."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from receiver.lists.upload_log import GuardInputs, LogEntry
from receiver.monitoring.daily_figures import figures_record, sum_days
from receiver.monitoring.refusals import RefusalDay, Refusals, RefusedAddress

DAYS = 120
_DAY = 86_400
_SATURDAY = 5


def made_log(seed: int, now: int) -> list[LogEntry]:
    """Return a log, the oldest entry first: a list that changes on most working days and is held now and then."""
    dice, entries = random.Random(seed), list[LogEntry]()
    total = dice.randrange(20, 900)
    for back in range(DAYS, -1, -1):
        when = now - back * _DAY - now % _DAY + 8 * 3600
        if datetime.fromtimestamp(when, UTC).weekday() < _SATURDAY and when <= now:
            day = _made_day(dice, when, min(now, when + 10 * 3600), total)
            total = day[-1].total
            entries += day
    return entries


def _made_day(dice: random.Random, when: int, last: int, total: int) -> list[LogEntry]:
    """Return a day's entries: the first upload, those after it that say the same, and a person who accepts."""
    added, removed = dice.choice((0, 0, 1, 2, 3)), dice.choice((0, 0, 0, 1, 2))
    did = "held" if dice.random() < 0.04 else "published" if added or removed else "unchanged"
    removed *= did == "published"
    total += added - removed
    entries = [_made_entry(dice, when, did, total)._replace(added=added, removed=removed)]
    if last > when + 3600:
        same = _made_entry(dice, when + 3600, "unchanged", total)
        entries.append(same._replace(times=dice.choice((11, 11, 10, 4)), last=last))
    if did == "held" and dice.random() < 0.5:
        entries.append(_made_entry(dice, last, "accepted", total)._replace(key="", by="anna", inputs=None))
    return entries


def _made_entry(dice: random.Random, when: int, did: str, total: int) -> LogEntry:
    entry = LogEntry(f"{dice.getrandbits(48):012x}", when, did, f"{dice.getrandbits(256):064x}", "", total)
    return entry._replace(key="k1", client="198.51.100.7", inputs=GuardInputs(offered=total, combined=total))


def made_refusals(seed: int, now: int) -> Refusals:
    """Return strangers' guesses of the last days, a few each day."""
    dice, found = random.Random(seed), Refusals()
    for number in range(dice.randrange(5, 60)):
        days = {
            f"{datetime.fromtimestamp(now - dice.randrange(14) * _DAY, UTC):%Y-%m-%d}"
            for _ in range(dice.randrange(1, 3))
        }
        seen = tuple(RefusalDay(day, "192.0.2.0/24", True) for day in sorted(days))
        found.refused[f"guess{number}@c{seed}.example"] = RefusedAddress({"unlisted": len(days)}, seen)
    return found


def made_record(seed: int, now: int) -> dict[str, Any]:
    """Return what a relay's `postern report` says of such a customer."""
    days = sum_days(reversed(made_log(seed, now)), now)
    return {**figures_record(days, made_refusals(seed, now).refused), "keys": {"k1": now - 3600}}
