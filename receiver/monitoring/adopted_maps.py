"""Watches the other tables that close an adopted domain: asks about some people whom they accepted.

A table that cannot be listed goes on closing a domain until a first list is accepted. If it is emptied or breaks before
that, nothing else of Postern notices; so each run of the timer asks about people whom it accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from common.adopted_domains import closing_tables, is_closed_by_maps
from common.next_hop_probe import Answers, Reply
from common.settings import Settings
from receiver.addresses import domain_of
from receiver.formatting import escape
from receiver.lists.spool import Spool
from receiver.monitoring.alarms import Alarm
from receiver.system import atomic_files

MOST = 20  # people of a customer
RUNS = 2  # in a row after which an alarm is raised
_KEPT = "adopted-sample.json"

Ask = Callable[[list[str]], Answers]


class Sample(NamedTuple):
    """People that a relay accepted, and the results of the last runs."""

    addresses: tuple[str, ...] = ()
    failed_runs: int = 0  # in a row, in which most of them were no longer accepted
    unasked_runs: int = 0  # in a row, in which nobody could be asked about


def find_watched_domains(settings: Settings, accepted: Iterable[str]) -> dict[str, list[str]]:
    """Return the domains that other tables alone close, each with those tables."""
    return {
        name: closing_tables(closer)
        for name, closer in settings.closed_by.items()
        if is_closed_by_maps(closer) and name not in {*accepted}
    }


def check_sample(spool: Spool, settings: Settings, had_mail: Sequence[str], ask: Ask) -> list[Alarm]:
    """Probe the customer's sample and fill it; return an alarm where most of it is no longer accepted.

    Also one where the relay answers no question. `had_mail`: people who had mail, with whom the sample is filled first,
    before those of the held list.
    """
    domains = find_watched_domains(settings, spool.read_accepted().domains)
    if not domains:
        return []
    before = read_sample(spool)
    known = [name for name in before.addresses if domain_of(name) in domains]
    held = spool.read_held()
    people = dict.fromkeys([*had_mail, *sorted(held.recipients if held else ())])
    new = (name for name in people if domain_of(name) in domains and name not in known)
    asked = [*known, *islice(new, MOST if len(known) < MOST else 0)]
    answers = ask(asked)
    replies = answers.replies
    after = update_sample(before._replace(addresses=tuple(known)), replies)
    after = after._replace(unasked_runs=min(before.unasked_runs + 1, RUNS) if asked and not replies else 0)
    if after != before:
        atomic_files.store_json(spool.folder, _KEPT, after._asdict())
    if after.unasked_runs == RUNS:
        why = escape(answers.problem or "it gives no answer", 300)
        return [
            Alarm(settings.customer, "adopted unasked", f"whether {_tables(domains)} still works is not known: {why}")
        ]
    lost = _find_lost([name for name in known if name in replies], replies)
    if after.failed_runs < RUNS or not lost:
        return []
    return [_alarm(settings.customer, domains, lost, replies[lost[0]])]


def update_sample(sample: Sample, replies: Mapping[str, Reply]) -> Sample:
    """Return the sample after a run: with new people who were accepted, or with one more failed run."""
    asked = [name for name in sample.addresses if name in replies]
    if 2 * len(_find_lost(asked, replies)) > len(asked):
        return sample._replace(failed_runs=min(sample.failed_runs + 1, RUNS))
    taken = [name for name, reply in replies.items() if reply.is_taken and name not in sample.addresses]
    return Sample((*sample.addresses, *taken)[:MOST], 0 if asked else sample.failed_runs)


def read_sample(spool: Spool) -> Sample:
    """Read the sample of the last run; an empty one where the file is damaged."""
    fields = atomic_files.load_json(spool.folder, _KEPT) or {}
    addresses, runs = fields.get("addresses"), (fields.get("failed_runs"), fields.get("unasked_runs", 0))
    if not isinstance(addresses, list) or not all(isinstance(number, int) for number in runs):
        return Sample()
    return Sample(tuple(str(name) for name in addresses[:MOST]), *map(int, runs))


def _find_lost(names: Iterable[str], replies: Mapping[str, Reply]) -> list[str]:
    """Return who is refused, or put off because a table cannot be read (451); greylisting (450) does not count."""
    return [name for name in names if replies[name].is_refused or replies[name].code == 451]


def _alarm(customer: str, domains: Mapping[str, Sequence[str]], lost: Sequence[str], reply: Reply) -> Alarm:
    who = f"{lost[0]} and {len(lost) - 1} more"
    text = f"{_tables(domains)} accepted {who} before; for these strangers now get {reply.code}"
    why = f"it closes {', '.join(domains)} until a first list is accepted: mend it ({reply.text})"
    return Alarm(customer, "adopted maps", escape(f"{text}; {why}", 600))


def _tables(domains: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(dict.fromkeys(table for each in domains.values() for table in each))
