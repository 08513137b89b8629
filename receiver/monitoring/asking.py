"""Checks every few minutes whether customers' servers can be asked about unlisted addresses.

While a server refuses the question itself, or everybody who is listed, Postfix would refuse people whom the list lacks;
so unlisted addresses are deferred until the server passes the check again. Any other fault is only an alarm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from common import next_hop_probe
from common.next_hop_probe import Answers, Sender, Server
from common.paths import Places
from common.settings import UNLISTED, Settings
from common.spool_files import ASKING
from receiver.formatting import escape
from receiver.lists.spool import Spool
from receiver.monitoring import next_hop
from receiver.monitoring.alarms import Alarm
from receiver.monitoring.next_hop import PEOPLE, pick_people
from receiver.outcome import Stopped
from receiver.system import atomic_files

REFUSE, DEFER, ASK = UNLISTED
RUNS = 2  # in a row, in which a server must refuse them
UNASKED_RUNS = 6  # in a row in which there was no time for a server, after which an alarm is raised: half an hour
_SECONDS = 60.0  # for all servers of one run
_LEAST = 10.0  # of them, for one; where less is left it is asked in the next run, and then first


class Question(NamedTuple):
    """The addresses about which a server is asked."""

    server: Server
    people: list[str]
    domain: str


class Asking(NamedTuple):
    """The results of the last probes of one customer's server."""

    refused: int = 0  # probes in a row in which it refused the question, or all who are listed
    put_off: bool = False  # unlisted addresses are deferred
    unasked: int = 0  # probes in a row for which there was no time

    @classmethod
    def read(cls, fields: Mapping[str, Any] | None) -> Asking:
        """Return the stored results; a damaged file has none."""
        said = fields or {}
        refused, unasked = (each if isinstance(each, int) else 0 for each in map(said.get, ("refused", "unasked")))
        return cls(refused, said.get("put_off") is True, min(max(unasked, 0), UNASKED_RUNS))

    def after(self, found: Answers) -> Asking:
        """Return the results after one more probe."""
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
    """Probe the servers of customers with unlisted = "ask" and store the results; return alarms.

    The server that was not asked for the longest time comes first, and none gets more than its share of the time that
    is left, or than _LEAST: so slow servers do not keep others from being asked for long.
    """
    asked = [settings for settings in customers if settings.unlisted == ASK]
    asked.sort(key=lambda settings: -_read_unasked(places, settings.customer))
    routes = next_hop.read_routes(places, (settings.customer for settings in asked))
    sender = next_hop_probe.verify_sender(postfix)
    end, found = time.monotonic() + _SECONDS, list[Alarm]()
    for number, settings in enumerate(asked):
        left = end - time.monotonic()
        seconds = max(left / (len(asked) - number), _LEAST) if left >= _LEAST else 0.0
        found += _check(places, settings, routes, sender, min(seconds, next_hop_probe.SECONDS))
    return found


def _read_unasked(places: Places, customer: str) -> int:
    """Return in how many runs in a row there was no time for a customer's server."""
    with suppress(Stopped, OSError), Spool(places, customer) as spool:
        return Asking.read(atomic_files.load_json(spool.folder, ASKING)).unasked
    return 0


def find_put_off(places: Places, customers: Iterable[Settings]) -> list[str]:
    """Return the customers whose unlisted addresses are deferred because their servers refuse to be asked."""
    found = []
    for settings in customers:
        if settings.unlisted == ASK:
            with suppress(Stopped, OSError), Spool(places, settings.customer) as spool:
                if spool.is_put_off():
                    found.append(settings.customer)
    return found


def _check(
    places: Places, settings: Settings, routes: Mapping[str, str], sender: Sender, seconds: float
) -> list[Alarm]:
    """Ask one server, unless `seconds` is 0, and record the result. A failure stops no other server's check."""
    try:
        with Spool(places, settings.customer) as spool:
            question = _find_question(spool, settings, routes)
            before = Asking.read(atomic_files.load_json(spool.folder, ASKING))
            answers = None
            if question and seconds:
                where, people, domain = question
                answers = next_hop_probe.ask(where, sender, people, domain, seconds)
            unasked = min(before.unasked + 1, UNASKED_RUNS) if question else 0
            after = before.after(answers) if answers else before._replace(unasked=unasked)
            if after != before:
                atomic_files.store_json(spool.folder, ASKING, after._asdict())
    except (Stopped, OSError) as error:
        return [Alarm(settings.customer, "asking", f"its server cannot be asked: {escape(str(error))}")]
    if after.unasked >= UNASKED_RUNS:
        text = f"there was no time to ask its server in {UNASKED_RUNS} runs of the timer: other servers are slow"
        return [Alarm(settings.customer, "asking", text)]
    return [*_alarms(settings.customer, answers)] if answers else []


def _find_question(spool: Spool, settings: Settings, routes: Mapping[str, str]) -> Question | None:
    """Return what to ask the server; None where nobody is listed yet, or mail goes by MX records."""
    domain = next((name for name in settings.domains if name in routes and name not in settings.partial), "")
    where = next_hop_probe.server_of(routes.get(domain, ""))
    people = pick_people(spool.read_in_force().recipients - {*settings.include}, domain)
    return Question(where, people, domain) if where and people else None


def _alarms(customer: str, found: Answers) -> Iterator[Alarm]:
    if found.problem:
        yield Alarm(customer, "asking", f"its server cannot be asked about unlisted addresses: {escape(found.problem)}")
    elif found.takes_everybody:
        yield Alarm(customer, "asking", 'its server takes any address, so that unlisted = "ask" refuses nobody')
    elif not is_passing(found):
        said = [*found.replies.values(), *filter(None, [found.random])]
        told = "; ".join(dict.fromkeys(f"{reply.code} {escape(reply.text, 80)}" for reply in said)) or "nothing"
        yield Alarm(
            customer, "asking", f"its server, asked about listed addresses and one that is not, answers: {told}"
        )
