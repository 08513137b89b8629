"""What is held, name by name, and the number by which an operator takes it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from receiver import kept, lock, publishing
from receiver.addresses import domain
from receiver.maillog import DAYS, Lately
from receiver.offer import passed, prove
from receiver.publishing import Decision
from receiver.report import Outcome, Refused, moment, shown
from receiver.settings import Settings, load_settings
from receiver.spool import Held, InForce, Pin, Reviewed, Spool
from receiver.tables import Tables


class Number(NamedTuple):
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
        ours = own(held.recipients, settings)
        coming, going = sorted(ours - in_force.recipients), sorted(in_force.recipients - ours)
        known = {*in_force.accepted.domains, *held.open_domains}
        first = sorted(name for name in ours if domain(name) not in known)
        effect = kept.digest(kept.text({*going, *(f"@{domain(name)}" for name in first)}))
        return cls(held, ours, tuple(coming), tuple(going), tuple(first), effect)

    @property
    def number(self) -> Number:
        """Give the one number that accepts it: of what is most in doubt."""
        if self.coming:
            return Number("adding", len(self.coming))
        return Number("first", len(self.first)) if self.first else Number("removing", len(self.going))

    def as_json(self, customer: str, pin: Pin | None, lately: Lately | None) -> dict[str, Any]:
        """Return it as plain JSON. `pin`: why uploads do not take effect; `lately`: who would go and has had mail."""
        return {
            "customer": customer,
            "list": self.held.list,
            "total": len(self.recipients),
            "reasons": self.held.reasons,
            "since": self.held.since,
            "pinned": bool(pin),
            **self.held.origin._asdict(),
            "first": self.first,
            "coming": self.coming,
            "going": self.going,
            "mail": {name: seen._asdict() for name, seen in lately.delivered.items()} if lately else None,
            "mail_whole": bool(lately and lately.whole),
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


def own(recipients: Iterable[str], settings: Settings) -> frozenset[str]:
    """Give those in domains that are the customer's now: an older list may have others."""
    return frozenset(name for name in recipients if domain(name) in settings.domains)


def review(spool: Spool, settings: Settings) -> Review:
    """Read what waits: held, or because of a pin. Raises Refused when nothing does."""
    held = spool.held()
    if held is None:
        raise Refused("nothing is held")
    return Review.of(held, spool.in_force(), settings)


def accept(spool: Spool, number: Number, expected: str, by: str, tables: Tables) -> Outcome:
    """Make the list in force exactly the held one.

    Raises Refused for a list whose SHA-256 is not `expected`, a wrong number, a list that nobody has reviewed beside
    the list in force, and one that would leave a closed domain without an address.
    """
    with spool.locked(), lock.settings(spool.places):
        settings = load_settings(spool.places, spool.customer)
        publishing.finish(spool)
        pin = spool.pinned()
        if pin:
            raise Refused(f"pinned since {moment(pin.since)}; `resume {spool.customer}` comes first")
        in_force, reviewed = spool.in_force(), review(spool, settings)
        _unchanged(spool.customer, reviewed.held, expected)
        _agreed(spool.customer, reviewed, number)
        _looked_at(spool, reviewed)
        _addressed(reviewed, in_force, settings)
        text, origin = kept.text(reviewed.recipients), reviewed.held.origin
        accepted = passed(settings, reviewed.recipients, in_force.accepted, origin, kept.digest(text))
        accepted = accepted.without(reviewed.held.open_domains)
        decision = Decision(reviewed.recipients, text, accepted, origin, by=by)
        publishing.publish(spool, settings, in_force, decision, int(time.time()))
        outcome = _accepted(spool.customer, reviewed, in_force, by)
        spool.record(outcome)
    return prove(spool, tables, outcome, reviewed.recipients - in_force.recipients)


def _unchanged(customer: str, held: Held, expected: str) -> None:
    if held.list != expected:  # the whole of it: a list that begins with the same letters can be made
        changed = f"the list held now is {held.list[:12]}, not {shown(expected[:12])}"
        raise Refused(f"{changed}: it changed since it was reviewed; see `review {customer}`")


def _agreed(customer: str, reviewed: Review, number: Number) -> None:
    if number != reviewed.number:
        wrong = f"--{number.option} {number.size} is not what is held"
        raise Refused(f"{wrong}; after a look at `review {customer}`: `{reviewed.command(customer)}`")


def _looked_at(spool: Spool, reviewed: Review) -> None:
    """Raise Refused where the held list or the list in force is not as it was in the last review.

    A list that passes ends a review. The same list may be held afterwards, and as many others would go by it.
    """
    if spool.reviewed() != reviewed.record:
        what = "nobody has reviewed this list beside the one that is in force now"
        raise Refused(f"{what}: `review {spool.customer}` comes first, on this relay too")


def _addressed(reviewed: Review, in_force: InForce, settings: Settings) -> None:
    served = set(map(domain, (*reviewed.recipients, *settings.include))) | set(settings.partial)
    empty = [name for name in settings.domains if name in in_force.accepted.domains and name not in served]
    if empty:
        help_ = "name it in `partial`, or let it go by `provision --removing domain:" + empty[0] + "`"
        raise Refused(f"{', '.join(empty)} would be closed with no address: {help_}")


def _accepted(customer: str, reviewed: Review, in_force: InForce, by: str) -> Outcome:
    before, after = in_force.recipients, reviewed.recipients
    outcome = Outcome(customer, "published", *reviewed.held.origin, total=len(after), offered=reviewed.held.list)
    outcome = outcome._replace(by=by, added=len(after - before), removed=len(before - after))
    return outcome._replace(left_out=reviewed.held.left_out)
