"""What is held, name by name, and the number by which an operator takes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from common.settings import Settings
from receiver.addresses import domain_of
from receiver.lists import list_file
from receiver.lists.spool import Held, InForce, Pin, Reviewed, Spool
from receiver.monitoring.refusal_watch import RecentMail
from receiver.monitoring.refusals import DAYS
from receiver.outcome import Refused, records


class AcceptedNumber(NamedTuple):
    """What `accept` must be told: the option, and how many recipients it is about."""

    option: str  # removing, adding, first
    size: int


class Review(NamedTuple):
    """The list that is held, beside the list in force."""

    held: Held
    recipients: frozenset[str]  # of the held list, in domains that are still the customer's
    coming: tuple[str, ...]  # not in force, because the list grows too much
    going: tuple[str, ...]  # in force, and not in the held list
    first: tuple[str, ...]  # in domains without an accepted list
    effect: str  # SHA-256 that names who goes and which domains close, however many others would be as many

    @classmethod
    def of(cls, held: Held, in_force: InForce, settings: Settings) -> Review:
        """Compare, counting against the list in force."""
        ours = keep_own(held.recipients, settings)
        coming, going = sorted(ours - in_force.recipients), sorted(in_force.recipients - ours)
        known = {*in_force.accepted.domains, *held.open_domains}
        first = sorted(name for name in ours if domain_of(name) not in known)
        effect = list_file.digest(list_file.encode_recipients({*going, *(f"@{domain_of(name)}" for name in first)}))
        return cls(held, ours, tuple(coming), tuple(going), tuple(first), effect)

    @property
    def number(self) -> AcceptedNumber:
        """Give the one number that accepts it: of what is most in doubt."""
        if self.coming:
            return AcceptedNumber("adding", len(self.coming))
        return AcceptedNumber("first", len(self.first)) if self.first else AcceptedNumber("removing", len(self.going))

    def as_json(self, customer: str, pin: Pin | None, lately: RecentMail | None) -> dict[str, Any]:
        """Return it as plain JSON. `pin`: why uploads do not take effect; `lately`: who would go and has had mail."""
        return {
            "customer": customer,
            "list": self.held.list,
            "total": len(self.recipients),
            "reasons": self.held.reasons,
            "left_out": self.held.left_out,
            "named": records(self.held.named),
            "since": self.held.since,
            "pinned": bool(pin),
            **self.held.origin._asdict(),
            "first": self.first,
            "coming": self.coming,
            "going": self.going,
            "mail": {name: seen._asdict() for name, seen in lately.mail.items()} if lately else None,
            "mail_whole": bool(lately and lately.is_whole),
            "mail_days": DAYS,
            "number": None if pin else self.number._asdict(),
            "command": f"resume {customer}" if pin else self.command(customer),
        }

    def command(self, customer: str) -> str:
        """Give the exact command, for `inv` and for `postern` alike."""
        return f"accept {customer} --{self.number.option} {self.number.size} --list {self.held.list}"

    @property
    def record(self) -> Reviewed:
        """Return what is noted of it once somebody has looked."""
        return Reviewed(self.held.list, self.effect)


def nothing_held(customer: str) -> dict[str, Any]:
    """Return the record of a customer of whom nothing is held."""
    return {"customer": customer, "list": "", "mail": None, "number": None, "command": ""}


def keep_own(recipients: Iterable[str], settings: Settings) -> frozenset[str]:
    """Give those in domains that are the customer's now: an older list may have others."""
    return frozenset(name for name in recipients if domain_of(name) in settings.domains)


def review_held(spool: Spool, settings: Settings) -> Review:
    """Read what waits: held, or because of a pin. Raises Refused when nothing does."""
    held = spool.held()
    if held is None:
        raise Refused("nothing is held")
    return Review.of(held, spool.in_force(), settings)
