"""Looks every few minutes whether the servers that have the last word about unlisted addresses can be asked.

A server that refuses the question itself, or everybody who is listed, would have Postfix refuse whoever the list has
forgotten; unlisted addresses are then deferred until it passes. Whatever else it says is an alarm and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from common import next_hop_probe
from common.next_hop_probe import Answers, Sender
from common.paths import Places
from common.settings import UNLISTED, Settings
from common.spool_files import ASKING
from receiver.addresses import domain_of
from receiver.formatting import escape
from receiver.lists.spool import Spool
from receiver.monitoring import refusal_watch
from receiver.monitoring.alarms import Alarm
from receiver.outcome import Stopped
from receiver.system import atomic_files

REFUSE, DEFER, ASK = UNLISTED
PEOPLE = 3  # listed addresses that are asked about
RUNS = 2  # in a row, in which a server must refuse them
_SECONDS = 60.0  # for all servers of one run


class Asking(NamedTuple):
    """What the last looks at one customer's server came to."""

    refused: int = 0  # looks in a row in which it refused the question, or all who are listed
    put_off: bool = False  # unlisted addresses are deferred

    @classmethod
    def read(cls, fields: Mapping[str, Any] | None) -> Asking:
        """Take in what was written; what is damaged says nothing."""
        refused = (fields or {}).get("refused")
        return cls(refused if isinstance(refused, int) else 0, (fields or {}).get("put_off") is True)

    def after(self, found: Answers) -> Asking:
        """Return it as of one more look."""
        if is_refusing(found):
            return Asking(min(self.refused + 1, RUNS), self.put_off or self.refused + 1 >= RUNS)
        return Asking(0, self.put_off and not is_passing(found))


def is_refusing(found: Answers) -> bool:
    """Return whether the server refuses to be asked, or everybody who is listed."""
    everybody = [reply.is_refused for reply in found.replies.values()]
    return found.is_refused or (len(everybody) == PEOPLE and all(everybody))


def is_passing(found: Answers) -> bool:
    """Return whether the server takes somebody who is listed and refuses a name that nobody has."""
    takes = any(reply.is_taken for reply in found.replies.values())
    return takes and found.random is not None and found.random.is_refused


def check_servers(places: Places, customers: Iterable[Settings], postfix: Mapping[str, str]) -> list[Alarm]:
    """Ask the server of each customer who has it asked, and write down what that came to; return what is wrong."""
    asked = [settings for settings in customers if settings.unlisted == ASK]
    routes = refusal_watch.read_routes(places, (settings.customer for settings in asked))
    sender = next_hop_probe.verify_sender(postfix)
    end = time.monotonic() + _SECONDS
    return [alarm for settings in asked for alarm in _check(places, settings, routes, sender, end)]


def find_put_off(places: Places, customers: Iterable[Settings]) -> list[str]:
    """Return the customers whose unlisted addresses are deferred because their servers refuse to be asked."""
    found = []
    for settings in customers:
        if settings.unlisted == ASK:
            with suppress(Stopped, OSError), Spool(places, settings.customer) as spool:
                if spool.is_put_off():
                    found.append(settings.customer)
    return found


def _check(places: Places, settings: Settings, routes: Mapping[str, str], sender: Sender, end: float) -> list[Alarm]:
    """Ask one server and write down what that came to; what fails here keeps no other customer from it."""
    try:
        with Spool(places, settings.customer) as spool:
            answers = _ask(spool, settings, routes, sender, end)
            before = Asking.read(atomic_files.load_json(spool.folder, ASKING))
            after = before.after(answers) if answers else before
            if after != before:
                atomic_files.store_json(spool.folder, ASKING, after._asdict())
    except (Stopped, OSError) as error:
        return [Alarm(settings.customer, "asking", f"its server cannot be asked: {escape(str(error))}")]
    return [*_alarms(settings.customer, answers)] if answers else []


def _ask(spool: Spool, settings: Settings, routes: Mapping[str, str], sender: Sender, end: float) -> Answers | None:
    """Return what the server says; None: it is not asked, as nobody is listed yet or there is no time."""
    domain = next((name for name in settings.domains if name in routes and name not in settings.partial), "")
    where = next_hop_probe.server(routes.get(domain, ""))
    never = {*settings.include, f"postmaster@{domain}"}
    people = sorted(name for name in spool.in_force().recipients if domain_of(name) == domain and name not in never)
    seconds = min(next_hop_probe.SECONDS, end - time.monotonic())
    if where is None or not people or seconds <= 0:
        return None
    return next_hop_probe.ask(where, sender, people[:: len(people) // PEOPLE or 1][:PEOPLE], domain, seconds)


def _alarms(customer: str, found: Answers) -> Iterator[Alarm]:
    if found.problem:
        yield Alarm(customer, "asking", f"its server cannot be asked about unlisted addresses: {escape(found.problem)}")
    elif found.takes_everybody:
        yield Alarm(customer, "asking", 'its server takes any address, so that unlisted = "ask" refuses nobody')
    elif not is_passing(found):
        said = [*found.replies.values(), *filter(None, [found.random])]
        told = "; ".join(dict.fromkeys(f"{reply.code} {escape(reply.text, 80)}" for reply in said)) or "nothing"
        yield Alarm(customer, "asking", f"its server, asked about some who are listed and one who is not, says: {told}")
