"""The mail server that Postfix hands a customer's mail to, asked by RCPT whom it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from common import next_hop_probe
from common.next_hop_probe import Answers, Sender, Server
from common.paths import Places
from common.settings import Settings
from receiver.addresses import domain_of
from receiver.monitoring.log_files import OpenedLogs

SECONDS = 20.0  # for all questions of a call that a person waits for
PEOPLE = 3  # of a domain's list who are asked about as well


class NextHop(NamedTuple):
    """Where Postfix routes the first of a customer's domains that it routes: a customer has one next hop."""

    route: str  # TRANSPORT:NEXTHOP; empty: by MX records
    postfix: Mapping[str, str]  # settings of main.cf that say who asks

    @classmethod
    def of(cls, places: Places, settings: Settings, logs: OpenedLogs | None) -> NextHop:
        """Read the route; who asks is known where root has opened the logs."""
        routes = read_routes(places, [settings.customer])
        route = next((routes[name] for name in settings.domains if name in routes), "")
        return cls(route, logs.postfix if logs else {})

    def ask(self, addresses: Sequence[str], listed: Collection[str]) -> dict[str, Answers]:
        """Return by domain the replies about addresses and about an invented name.

        Addresses beyond next_hop_probe.MOST of a domain are not asked.
        """
        where, sender = next_hop_probe.server_of(self.route), next_hop_probe.verify_sender(self.postfix)
        if where is None:
            problem = Answers(problem="mail for it goes by MX records, so no server can be asked")
            return dict.fromkeys(map(domain_of, addresses), problem)
        end = time.monotonic() + SECONDS
        return ask_by_domain(where, sender, addresses, listed, lambda: end - time.monotonic())

    def describe(self, addresses: Sequence[str], listed: Collection[str]) -> str:
        """Return what keeps mail that these had from being a proof, in words; empty: random names are refused."""
        one_each = {domain_of(name): name for name in addresses}
        found = self.ask([*one_each.values()], listed)
        reasons = {domain: _describe_answers(answers) for domain, answers in sorted(found.items())}
        said = {domain: why for domain, why in reasons.items() if why}
        if len(found) > 1:
            return "; ".join(f"{domain}: {why}" for domain, why in said.items())
        return "".join(said.values())


def _describe_answers(answers: Answers) -> str:
    if answers.takes_everybody:
        return "the customer's server takes everybody: that it took mail for an address proves nothing"
    if answers.random is None:
        return f"the customer's server could not be asked: {answers.problem or 'it gave no answer'}"
    if not answers.random.is_refused:
        return f"the customer's server does not say whom it takes now: {answers.random.code} {answers.random.text}"
    return ""


def ask_by_domain(
    where: Server, sender: Sender, names: Sequence[str], listed: Collection[str], seconds: Callable[[], float]
) -> dict[str, Answers]:
    """Return by domain what a server says of some names: it may take everybody in one domain and not in another.

    `listed`: who is on the list, of whom some are asked about as well. Where the server refuses them like everybody
    else, it refuses the question: that is its answer then. `seconds`: how much time is left.
    """
    found: dict[str, Answers] = {}
    for domain in dict.fromkeys(map(domain_of, names)):
        some = [name for name in names if domain_of(name) == domain]
        known = [name for name in pick_people(listed, domain) if name not in some]
        answers = next_hop_probe.ask(where, sender, [*known, *some], domain, seconds())
        found[domain] = _of_names(answers, known)
    return found


def pick_people(listed: Iterable[str], domain: str) -> list[str]:
    """Return some of a domain's list, evenly spread. Its postmaster is none: every server may take that."""
    people = sorted(name for name in listed if domain_of(name) == domain and name != f"postmaster@{domain}")
    return people[:: len(people) // PEOPLE or 1][:PEOPLE]


def _of_names(answers: Answers, known: Sequence[str]) -> Answers:
    """Return the answers without those about the known, where somebody is taken; else that the question is refused."""
    every = [answers.random, *answers.replies.values()]
    asked = [name for name in known if name in answers.replies]
    if asked and all(reply is not None and reply.is_refused for reply in every):
        reply = answers.replies[asked[0]]
        return Answers(problem=f"it answers RCPT TO:<{asked[0]}> with {reply.code} {reply.text}")
    replies = {name: reply for name, reply in answers.replies.items() if name not in known}
    return answers._replace(replies=replies)


def read_routes(places: Places, customers: Iterable[str]) -> dict[str, str]:
    """Return by domain where Postfix routes it, as TRANSPORT:NEXTHOP, for the domains that have a route."""
    routes: dict[str, str] = {}
    for customer in customers:
        with suppress(OSError, ValueError), open(f"{places.tree(customer)}/transport", encoding="utf-8") as lines:
            pairs = (line.partition(" ") for line in lines)
            routes.update((domain, route.strip()) for domain, blank, route in pairs if blank)
    return routes
