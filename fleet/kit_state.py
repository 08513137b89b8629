"""Which kit each customer's server uses, as its uploads say, and what that kit lacks of what it must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fleet.problems import Problem
from inventory import kit_records
from inventory.kit_records import KitContent, KitRecord
from inventory.model import Customer, Relay

KeysSeen = Mapping[str, Mapping[str, int]]
"""By name of a key when it was used, as a relay says: first, last, and the number of the kit where one was named."""


class KitState(NamedTuple):
    """A customer's kit: what is recorded, what it should have now, and which kit is in use."""

    customer: Customer
    records: tuple[KitRecord, ...]  # the newest first; empty: none with a number was written
    wanted: KitContent
    used: Mapping[str, int | None]  # by relay: number of the kit that came last, 0: it had none; None: nobody came

    @property
    def number_used(self) -> int | None:
        """The number of the oldest kit in use on a relay; 0: one without a number; None: nobody has uploaded yet."""
        numbers = [number for number in self.used.values() if number is not None]
        return min(numbers) if numbers else None

    @property
    def content_used(self) -> KitContent | None:
        """The content of the kit in use; None: not known."""
        number = self.number_used
        return next((one.content for one in self.records if one.number == number), None)

    def reasons(self) -> list[str]:
        """Return why a kit is to be carried to the server; empty: it is not."""
        number = self.number_used
        if not self.records:
            return []
        if number is None:
            return ["nobody has uploaded with it yet"]
        lacks = [*kit_records.differences(self.content_used, self.wanted)] if self.content_used else []
        if lacks or number == self.records[0].number:
            return lacks
        if not number:
            return ["the kit in use has no number"]
        return ["its scripts have changed" if self.content_used else f"kit {number} is not on record any more"]

    def needs_writing(self) -> bool:
        """Return whether the kit that was written last lacks something itself, so that provision comes first."""
        return bool(self.records) and any(kit_records.differences(self.records[0].content, self.wanted))

    def is_failing(self) -> bool:
        """Return whether uploads of the kit in use fail at some relay, for want of a host key or an address."""
        used = self.content_used
        return used is not None and any(
            kit_records.fails_at(used, self.wanted, name) or used.uploads.get(name, at) != at
            for name, at in self.wanted.uploads.items()
        )


def read_kit_state(
    where: Path, customer: Customer, relays: Mapping[str, Relay], seen: Mapping[str, KeysSeen]
) -> KitState:
    """Return how a customer's kit stands; `seen`: by relay. Raises InventoryError for a damaged record."""
    wanted = KitContent.of(customer, relays)
    used = {name: _number_seen(keys) for name, keys in seen.items()}
    return KitState(customer, kit_records.read(where, customer.id), wanted, used)


def kit_problems(state: KitState) -> Iterator[Problem]:
    """Yield whether somebody must carry a kit; a notice, unless uploads of the kit in use fail."""
    reasons = state.reasons() if state.number_used is not None else []
    if reasons:
        yield Problem("kit", f"{describe_kit(state)}: {'; '.join(reasons)}", urgent=state.is_failing())


def describe_kit(state: KitState) -> str:
    """Return which kit is to be carried, and what comes before that."""
    number = f"kit {state.records[0].number}"
    if state.needs_writing():
        return f"a new kit is to be written (`inv provision {state.customer.id}`) and carried"
    return f"{number} is to be carried to {state.customer.exchange.directory} on its server"


def _number_seen(keys: KeysSeen) -> int | None:
    if not keys:
        return None
    last = max(keys, key=lambda name: keys[name]["last"])
    return keys[last].get("kit", 0)


def have_kits(customers: Sequence[Customer]) -> list[Customer]:
    """Return those of the customers whose server is reached by a kit."""
    return [one for one in customers if one.exchange.reach == "kit"]
