"""The state of a customer's list, for the customer's own `status` and for the operator's."""

from __future__ import annotations

from typing import Any, NamedTuple

from common.opened import Opened, find_marker
from common.release import RELEASE
from common.settings import UNLISTED, Settings
from receiver.lists import publishing, upload_log
from receiver.lists.accepted import Summary
from receiver.lists.held import Held, ListFreeze
from receiver.lists.spool import Spool
from receiver.outcome import Outcome

ASK = UNLISTED[-1]


class Status(NamedTuple):
    """All that is known of a customer's list on this relay."""

    customer: str
    domains: tuple[str, ...]
    in_force: Summary
    opens: tuple[str, ...]  # those in which nothing is rejected
    unproven: int  # when the list came that the tables have not been seen to hold; 0: they hold it
    held: Held | None
    frozen: ListFreeze | None
    keys: dict[str, dict[str, int]]
    last: Outcome | None
    unlisted: str = "refuse"  # what an address gets that is not listed
    is_put_off: bool = False  # its server refuses to be asked about them, so they are deferred
    last_addition: int = 0  # when the list last gained somebody, where that is watched; 0: not known
    opened: Opened | None = None  # a person had all of its domains opened

    @classmethod
    def of(cls, spool: Spool, settings: Settings, now: int) -> Status:
        """Read it without a lock, so that a run at work may be half visible, and without loading a list."""
        in_force, begun = spool.summarize_in_force(), publishing.read_unfinished(spool)
        opened = find_marker(spool.places, spool.customer)
        opens = settings.domains if opened else in_force.accepted.opens(settings, now)
        state = (spool.summarize_held(), spool.read_freeze(), spool.read_keys(), spool.read_last_run())
        gained = upload_log.find_last_addition(spool.folder) if settings.no_additions_days else 0
        return cls(
            spool.customer,
            settings.domains,
            in_force,
            opens,
            begun.when if begun else 0,
            *state,
            settings.unlisted or UNLISTED[0],
            settings.unlisted == ASK and spool.is_put_off(),
            gained,
            opened,
        )

    @property
    def heard(self) -> int:
        """Return when the last usable export came, whether its list is in force, held, or waits; 0: none has."""
        accepted = self.in_force.accepted.domains
        good = min((accepted[name] for name in self.domains if name in accepted), default=0)
        return max(good, self.held.origin.when if self.held else 0)

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "customer": self.customer,
            "release": RELEASE,
            "total": self.in_force.total,
            "list": self.in_force.list,
            "accepted": dict(self.in_force.accepted.domains),
            "open": list(self.opens),
            "unlisted": self.unlisted,
            "put_off": self.is_put_off,
            "unproven": self.unproven,
            "held": self._held(),
            "pinned": self.frozen and self.frozen._asdict(),
            "keys": self.keys,
            "last": self.last and self.last.record(),
            "opened": self.opened and self.opened._asdict(),
        }

    def _held(self) -> dict[str, Any] | None:
        if self.held is None:
            return None
        fields = {**self.held._asdict(), **self.held.origin._asdict()}
        return {name: value for name, value in fields.items() if name not in ("recipients", "origin")}
