"""What the mail logs have shown of each customer up to the last reading, and whether some of it may be missing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from common.settings import Settings
from receiver.formatting import DAY
from receiver.lists.review_record import MailSeen
from receiver.monitoring.log_state import LogState
from receiver.monitoring.refusals import DAYS, Refusals

SILENT = 2  # days without a line of smtpd, after which the log is not where it writes


class WatchedCustomer(NamedTuple):
    """One customer's refusals."""

    settings: Settings
    refusals: Refusals
    since: str  # the day since which they count
    domains: tuple[str, ...] = ()  # for which they count; for other domains the days before are read again

    @property
    def counted(self) -> Settings:
        """Return the customer's settings with those domains alone."""
        return self.settings._replace(domains=tuple(name for name in self.settings.domains if name in self.domains))

    @property
    def new_domains(self) -> tuple[str, ...]:
        """Return the domains of which nothing has been counted yet."""
        return tuple(name for name in self.settings.domains if name not in self.domains)


class SeenMail(NamedTuple):
    """Who had mail in the last days, and why there may have been more."""

    mail: Mapping[str, MailSeen] = {}
    unseen: tuple[str, ...] = ()  # in words; empty: all was seen


class Watch(NamedTuple):
    """What is known after a reading."""

    customers: Mapping[str, WatchedCustomer]
    state: LogState
    broken: dict[str, str]  # customers whose files cannot be read or written, each with the reason

    def record(self, customer: str, now: float) -> dict[str, Any]:
        """Return what `refusals` says of a customer, as plain JSON."""
        refusals, oldest = self.customers[customer].refusals, oldest_day(now)
        return {
            "customer": customer,
            **refusals.document,
            "gaps": self.has_gaps(oldest),
            "unread": self.state.unread,
            "seen": {name: each.record for name, each in refusals.of_strangers.items()},
            "mail_days": {name: mail.days for name, mail in refusals.mail.items()},
            "days": DAYS,
            "incomplete": self._incomplete(customer, now),
        }

    def seen_mail(self, customer: str, now: float) -> SeenMail:
        """Return the mail that reached a customer's addresses lately, or waits for them.

        Mail that waits counts: while a server is down it is the only sign.
        """
        why = self._incomplete(customer, now)
        if customer not in self.customers:
            return SeenMail(unseen=(why,))
        return SeenMail(self.customers[customer].refusals.mail, (why,) if why else ())

    def _incomplete(self, customer: str, now: float) -> str:
        """Return why there may have been more; empty where all was seen."""
        oldest = oldest_day(now)
        if not self.state.read:
            return "the mail log has not been read yet; the timer does that as root, every five minutes"
        if self.state.is_behind:
            return "the mail log is longer than what could be read so far"
        if self.has_gaps(oldest):
            return f"the mail log cannot be read, or lines of it are missing or damaged, the last on {self.state.gap}"
        if customer not in self.customers:
            return "the customer's settings or files cannot be read"
        since = self.customers[customer].since
        return f"the mail log is known since {since}" if since > oldest else describe_silence(self.state, now)

    def has_gaps(self, oldest: str) -> bool:
        """Return whether lines since a day are missing, or not read yet."""
        return self.state.gap >= oldest or self.state.is_behind


def describe_silence(state: LogState, now: float) -> str:
    """Return since when smtpd has written nothing; empty where it has, or where the log was not read for so long yet.

    It may write elsewhere, or not reach the logger: in a chroot it needs a socket of its own.
    """
    if not state.heard or state.heard >= local_day(now - SILENT * DAY):
        return ""
    return f"no line of Postfix's smtpd is in the mail log since {state.heard}: it writes elsewhere, or to no logger"


def local_day(now: float) -> str:
    """Return a day as log lines print it, in the relay's own time."""
    return time.strftime("%Y-%m-%d", time.localtime(now))


def oldest_day(now: float) -> str:
    """Return the first day that is remembered."""
    return local_day(now - DAYS * DAY)
