"""What a relay's `postern report` says of a customer's last days, checked, as a relay may send anything. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from common.spool_files import LATEST
from receiver.monitoring.daily_figures import DAYS

_LARGEST = 10**9  # of any number here; a larger one is nonsense, and no chart has room for it


class Day(NamedTuple):
    """The sums of one day's uploads and decisions; receiver.monitoring.daily_figures describes each number."""

    total: int
    added: int
    removed: int
    uploads: int
    held: int
    decisions: int


class Figures(NamedTuple):
    """One customer's last days on one relay. Days are proleptic ordinals, as date.toordinal() gives them."""

    days: Mapping[int, Day]
    refused: Mapping[int, int]  # day: how many addresses were refused
    keys: Mapping[str, int]  # name: when it was used last, epoch seconds

    @property
    def uploads(self) -> int:
        """Return how many uploads were judged."""
        return sum(day.uploads for day in self.days.values())


def read_figures(record: Mapping[str, Any], today: date) -> Figures:
    """Return them. Raises ValueError, TypeError, KeyError, AttributeError where they have another shape."""
    last = today.toordinal() + 1  # a relay's clock may be a little ahead
    window = range(last - DAYS - 1, last + 1)
    days = {_ordinal(day): _day(numbers) for day, *numbers in record["days"]}
    refused = {_ordinal(day): _count(number) for day, number in record["refused"].items()}
    return Figures(
        {day: found for day, found in sorted(days.items()) if day in window},
        {day: number for day, number in sorted(refused.items()) if day in window},
        {str(name): max(0, min(int(when), LATEST)) for name, when in record["keys"].items()},
    )


def read_all_figures(records: Mapping[str, Any], today: date) -> dict[str, Figures | str]:
    """Return the figures of every customer, or in a few words why there are none."""
    found: dict[str, Figures | str] = {}
    for customer, record in records.items():
        try:
            found[customer] = str(record["fault"]) if "fault" in record else read_figures(record, today)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            found[customer] = f"what its relay says of it cannot be understood ({type(error).__name__})"
    return found


@lru_cache(maxsize=4 * DAYS)  # the same days come with every customer
def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _day(numbers: list[int]) -> Day:
    if not all(_is_count(number) for number in numbers):
        raise ValueError("no count")
    return Day(*numbers)


def _count(number: int) -> int:
    if not _is_count(number):
        raise ValueError("no count")
    return number


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number <= _LARGEST
