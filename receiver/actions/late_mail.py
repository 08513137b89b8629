"""Mail that came between a review and its accept, for addresses that the list refuses and that nobody was shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from common.next_hop_probe import Answers
from common.settings import Settings
from receiver.actions.review import Review, review_held
from receiver.addresses import domain_of
from receiver.formatting import name_some
from receiver.lists import review_record
from receiver.lists.review_record import MailSeen, ReviewRecord
from receiver.lists.spool import Spool
from receiver.outcome import Refused

Ask = Callable[[Sequence[str], Collection[str]], Mapping[str, Answers]]
"""Asks the server about some names, and about some of those that are listed; returns the answers by domain."""


class LateMail(NamedTuple):
    """The server's answers about recipients that had mail since the review."""

    harmless: frozenset[str] = frozenset()  # the server refuses the address itself, or takes everybody
    note: str = ""  # in words, that it takes everybody, so that an accepted mail proves nothing


def find_late_mail(spool: Spool, settings: Settings, mail: Mapping[str, MailSeen], ask: Ask) -> LateMail:
    """Return what the customer's server answers about recipients that had mail since the review.

    That takes time, so no lock is held.
    """
    record = review_record.load_record(spool.folder)
    if record is None or spool.summarize_held() is None:
        return LateMail()
    found = review_held(spool, settings, int(time.time()))
    names = _late(found, record, mail)
    if not names:
        return LateMail()
    by_domain = ask(names, found.recipients - {*settings.include})
    refused = {name for each in by_domain.values() for name, reply in each.replies.items() if reply.is_refused}
    open_to_all = {domain for domain, each in by_domain.items() if each.takes_everybody}
    unproven = [name for name in names if domain_of(name) in open_to_all]
    reason = f"{name_some(sorted(unproven))} had mail since the review, and the customer's server takes everybody"
    note = f"{reason}: what it took proves nothing" if unproven else ""
    return LateMail(frozenset(refused.union(unproven)), note)


def check_late_mail(spool: Spool, found: Review, mail: Mapping[str, MailSeen], late: LateMail) -> None:
    """Raise Refused where somebody had mail since the review whom the server accepts, or was not asked about."""
    record = review_record.load_record(spool.folder)
    names = [name for name in _late(found, record, mail) if name not in late.harmless] if record else []
    if names:
        what = "had mail since the review, and would be refused"
        raise Refused(f"{name_some(sorted(names))} {what}; look again: `review {spool.customer}`")


def _late(found: Review, record: ReviewRecord, mail: Mapping[str, MailSeen]) -> list[str]:
    return sorted(name for name in found.mail_refused(mail) if name not in record.mail and name not in record.going)
