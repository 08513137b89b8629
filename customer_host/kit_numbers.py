"""Which number a kit has: a new one whenever its scripts change, recorded once they are in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from inventory import kit_records
from inventory.kit_records import KitContent, KitRecord
from inventory.model import Customer, Relay
from roles import customer_host as customer_role


class KitNumber(NamedTuple):
    """The number a customer's kit is to have, and what is recorded of it."""

    kit: KitRecord  # as it is to be recorded; number 0: it is not, since a relay may not know the word yet
    before: tuple[KitRecord, ...]  # those on record, the newest first

    @property
    def is_new(self) -> bool:
        """Return whether it has to be recorded."""
        return bool(self.kit.number) and (not self.before or self.before[0] != self.kit)

    def record(self, where: Path, customer: str) -> None:
        """Write it down."""
        if self.is_new:
            kit_records.record(where, customer, self.kit, self.before)


def number_kit(where: Path, customer: Customer, relays: Sequence[Relay], are_ready: bool, today: date) -> KitNumber:
    """Return the number for a kit with these relays. Raises InventoryError for a damaged record.

    `are_ready`: all relays are as wanted, and so of a release that knows a kit's number.
    """
    before = kit_records.read(where, customer.id)
    digest = _digest(customer, relays)
    content = KitContent.of(customer, {relay.name: relay for relay in relays})
    if before and before[0].digest == digest:
        return KitNumber(before[0], before)
    number = (before[0].number if before else 0) + 1
    return KitNumber(KitRecord(number if are_ready else 0, today, digest, content), before)


def _digest(customer: Customer, relays: Sequence[Relay]) -> str:
    texts = customer_role.scripts(customer, relays)  # for the sake of another page no kit is carried again
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()
