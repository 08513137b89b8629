"""How a customer's list stands, for the customer's own `status` and for the operator's."""

from __future__ import annotations

from typing import Any, NamedTuple

from receiver import RELEASE, publishing
from receiver.report import Answer, Outcome, hand, moment, shown
from receiver.settings import Settings
from receiver.spool import Held, Pin, Spool, Summary


class Status(NamedTuple):
    """All that is known of a customer's list on this relay."""

    customer: str
    domains: tuple[str, ...]
    in_force: Summary
    opens: tuple[str, ...]  # those in which nothing is rejected
    unproven: int  # when the list came that the tables have not been seen to hold; 0: they hold it
    held: Held | None
    pin: Pin | None
    keys: dict[str, dict[str, int]]
    last: Outcome | None

    @classmethod
    def of(cls, spool: Spool, settings: Settings, now: int) -> Status:
        """Read it, without a lock: a run that is going on may be half seen. No list is read into memory."""
        in_force, begun = spool.summary(), publishing.unfinished(spool)
        opens = in_force.accepted.opens(settings, now)
        state = (spool.waits(), spool.pinned(), spool.keys(), spool.last_run())
        return cls(spool.customer, settings.domains, in_force, opens, begun.when if begun else 0, *state)

    @property
    def heard(self) -> int:
        """Give when the last usable export came, be its list in force, held, or kept back by a pin; 0: none has."""
        accepted = self.in_force.accepted.domains
        good = min((accepted[name] for name in self.domains if name in accepted), default=0)
        return max(good, self.held.origin.when if self.held else 0)

    def answer(self) -> Answer:
        """Tell it."""
        return Answer.done(
            [self._standing(), *self._waiting(self._by()), *self._runs()],
            customer=self.customer,
            release=RELEASE,
            total=self.in_force.total,
            list=self.in_force.list,
            accepted=dict(self.in_force.accepted.domains),
            open=list(self.opens),
            unproven=self.unproven,
            held=self._held(),
            pinned=self.pin and self.pin._asdict(),
            keys=self.keys,
            last=self.last and self.last.record(),
        )

    def brief(self) -> list[str]:
        """Tell it to the customer, to whom our people and their addresses are nothing."""
        last = [f"  last run {moment(self.last.when)}: {self.last.line}"] if self.last else []
        return [self._standing(), *self._waiting(""), *last]

    def _standing(self) -> str:
        total, accepted = self.in_force.total, self.in_force.accepted.domains
        good = f"last good upload {moment(max(accepted.values()))}" if accepted else "no accepted list yet"
        opens = f"; open: {', '.join(self.opens)}" if self.opens else ""
        return f"{self.customer}: {total} recipients, {good}{opens}"

    def _waiting(self, by: str) -> list[str]:
        lines = []
        if self.unproven:
            lines.append(f"  the list of {moment(self.unproven)} has not been seen in the tables yet")
        if self.held and self.held.reasons:
            lines.append(f"  held since {moment(self.held.since)}: {'; '.join(self.held.reasons)}")
        if self.pin:
            waits = "a list waits for resume" if self.held else "none has come since"
            lines.append(f"  pinned since {moment(self.pin.since)}{by}: uploads do not take effect; {waits}")
        return lines

    def _by(self) -> str:
        return f" by {shown(self.pin.by)}" if self.pin else ""

    def _runs(self) -> list[str]:
        last, keys = self.last, sorted(self.keys.items())
        runs = (
            [f"  last run {moment(last.when)} by {hand(last.key, last.client, last.by)}: {last.line}"] if last else []
        )
        return runs + [f"  key {shown(key)} last seen {moment(seen['last'])}" for key, seen in keys]

    def _held(self) -> dict[str, Any] | None:
        if self.held is None:
            return None
        fields = {**self.held._asdict(), **self.held.origin._asdict()}
        return {name: value for name, value in fields.items() if name not in ("recipients", "origin")}
