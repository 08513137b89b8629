"""The mail server that Postfix hands a customer's mail to, asked by RCPT whom it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from common import next_hop_probe
from common.next_hop_probe import Answers
from common.paths import Places
from common.settings import Settings
from receiver.monitoring.log_files import OpenedLogs

SECONDS = 20.0  # for all questions of a call that a person waits for


class NextHop(NamedTuple):
    """Where Postfix routes the first of a customer's domains that it routes: a customer has one next hop."""

    route: str  # TRANSPORT:NEXTHOP; empty: by MX records
    domain: str
    postfix: Mapping[str, str]  # settings of main.cf that say who asks

    @classmethod
    def of(cls, places: Places, settings: Settings, logs: OpenedLogs | None) -> NextHop:
        """Read the route; who asks is known where root has opened the logs."""
        routes = read_routes(places, [settings.customer])
        domain = next((name for name in settings.domains if name in routes), settings.domains[0])
        return cls(routes.get(domain, ""), domain, logs.postfix if logs else {})

    def ask(self, addresses: Sequence[str]) -> Answers:
        """Return the replies about addresses and about an invented name.

        Addresses beyond next_hop_probe.MOST are not asked.
        """
        where = next_hop_probe.server_of(self.route)
        if where is None:
            return Answers(problem="mail for it goes by MX records, so no server can be asked")
        return next_hop_probe.ask(where, next_hop_probe.verify_sender(self.postfix), addresses, self.domain, SECONDS)

    def describe(self) -> str:
        """Return in words why an accepted mail proves nothing; empty where the server refuses random names."""
        answers = self.ask([])
        if answers.takes_everybody:
            return "the customer's server takes everybody: that it took mail for an address proves nothing"
        if answers.random is None:
            return f"the customer's server could not be asked: {answers.problem or 'it gave no answer'}"
        if not answers.random.is_refused:
            return f"the customer's server does not say whom it takes now: {answers.random.code} {answers.random.text}"
        return ""


def read_routes(places: Places, customers: Iterable[str]) -> dict[str, str]:
    """Return by domain where Postfix routes it, as TRANSPORT:NEXTHOP, for the domains that have a route."""
    routes: dict[str, str] = {}
    for customer in customers:
        with suppress(OSError, ValueError), open(f"{places.tree(customer)}/transport", encoding="utf-8") as lines:
            pairs = (line.partition(" ") for line in lines)
            routes.update((domain, route.strip()) for domain, blank, route in pairs if blank)
    return routes
