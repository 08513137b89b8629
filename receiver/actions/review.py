"""Shows a held list name by name, with who had mail, and records what was shown: `accept` checks that record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from common.settings import UNLISTED, Settings
from receiver.addresses import domain_of, keep_domains
from receiver.lists import review_record
from receiver.lists.accepted import InForce
from receiver.lists.held import Held, ListFreeze
from receiver.lists.review_record import ListEffect, MailSeen, ReviewRecord
from receiver.lists.spool import Spool
from receiver.monitoring.log_findings import SeenMail
from receiver.monitoring.refusals import DAYS
from receiver.outcome import Refused, records
from receiver.upload.guard import always_listed

ALONE = "only this relay was asked, and other relays of the customer may have seen mail"


class Review(NamedTuple):
    """The held list compared with the list in force on this relay."""

    held: Held
    recipients: frozenset[str]  # of the held list, in domains that are still the customer's
    coming: tuple[str, ...]  # not in force, because the list grows too much; without those of `first`
    first: tuple[str, ...]  # in domains without an accepted list
    in_force: int  # recipients in force, against which the others are counted
    effect: ListEffect
    unlisted: str  # what the tree says of addresses that are not listed; a word of UNLISTED

    @classmethod
    def of(cls, held: Held, in_force: InForce, settings: Settings, takes_plus: bool, now: int) -> Review:
        """Return the comparison with the list in force. A domain that opened by its age has no accepted list."""
        ours = keep_domains(held.recipients, settings.domains)
        accepted = in_force.accepted.unexpired(settings, now).domains
        known = {*accepted, *held.open_domains}
        first = frozenset(name for name in ours if domain_of(name) not in known)
        closing = frozenset(map(domain_of, first)).difference(settings.partial)
        going, coming = in_force.recipients - ours, sorted(ours - in_force.recipients - first)
        effect = ListEffect(going, closing, first, always_listed(settings), takes_plus)
        return cls(
            held,
            ours,
            tuple(coming),
            tuple(sorted(first)),
            len(in_force.recipients),
            effect,
            settings.unlisted or UNLISTED[0],
        )

    def mail_refused(self, mail: Mapping[str, MailSeen]) -> dict[str, MailSeen]:
        """Return the addresses with mail that the list refuses."""
        return {name: seen for name, seen in mail.items() if self.effect.refuses(name)}

    def record(self, seen: SeenMail) -> ReviewRecord:
        """Return the record of what a person on this relay has been shown."""
        return ReviewRecord(
            self.held.list,
            len(self.recipients),
            len(self.first),
            len(self.coming),
            self.effect.going,
            self.effect.closing,
            review_record.shown_as_listed([self.effect]),
            self.mail_refused(seen.mail),
            (*seen.unseen, ALONE),
        )

    def as_json(self, customer: str, frozen: ListFreeze | None, record: ReviewRecord) -> dict[str, Any]:
        """Return it as plain JSON. `frozen`: why uploads do not take effect; `record`: what accept checks."""
        return {
            "customer": customer,
            "list": self.held.list,
            "total": len(self.recipients),
            "in_force": self.in_force,
            "reasons": self.held.reasons,
            "left_out": self.held.left_out,
            "named": records(self.held.named),
            "since": self.held.since,
            "pinned": bool(frozen),
            **self.held.origin._asdict(),
            "first": self.first,
            "coming": self.coming,
            "going": sorted(self.effect.going),
            "closing": sorted(self.effect.closing),
            "unlisted": self.unlisted,
            "always": sorted(self.effect.always),
            "takes_plus": self.effect.takes_plus,
            "mail_days": DAYS,
            **describe_record(record),
            "command": f"resume {customer}" if frozen else record.command(customer),
        }


def describe_record(record: ReviewRecord) -> dict[str, Any]:
    """Return as plain JSON the part of a review that is not the list: numbers, who had mail, and what was not seen."""
    return {
        "numbers": record.numbers._asdict(),
        "mail": {name: record.mail[name]._asdict() for name in review_record.sort_by_days(record.mail)},
        "unseen": list(record.unseen),
    }


def make_empty_record(customer: str) -> dict[str, Any]:
    """Return the record of a customer of whom nothing is held."""
    return {"customer": customer, "list": "", "mail": None, "numbers": None, "command": ""}


def review_held(spool: Spool, settings: Settings, now: int) -> Review:
    """Return the review of the list that waits: it is held, or the list in force is frozen. Raises Refused for none."""
    held = spool.read_held()
    if held is None:
        raise Refused("nothing is held")
    takes_plus = settings.plus_addresses
    if takes_plus is None:
        takes_plus = bool(spool.read_last_export().plus_addresses)
    return Review.of(held, spool.read_in_force(), settings, takes_plus, now)


def note_review(spool: Spool, found: Review, seen: SeenMail) -> ReviewRecord:
    """Return the record of a review by a person on this relay, after storing it for accept.

    A record of the same list that covers all this, and was made by asking every relay, is returned and kept instead.
    """
    before = review_record.load_record(spool.folder)
    effect = found.effect
    if before and before.relays and before.list == found.held.list and before.covers(effect.going, effect.closing):
        return before
    record = found.record(seen)
    review_record.store_record(spool.folder, record)
    return record
