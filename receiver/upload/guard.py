"""The guard: whether a list may take effect as it is, or is held until an operator accepts it by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from common.settings import Settings
from receiver.addresses import domain_of
from receiver.formatting import escape

GROWTH_FLOOR = 100  # a list may grow by this many, however small it was


class Verdict(NamedTuple):
    """What comes into force now, what stays only because the guard keeps it, and why; no reasons: not held."""

    published: frozenset[str]
    kept_back: frozenset[str]
    reasons: tuple[str, ...]


def judge_list(
    in_force: frozenset[str],
    reference: frozenset[str],
    accepted: Mapping[str, object],
    counts: Mapping[str, int],
    offered: frozenset[str],
    open_domains: frozenset[str],
    settings: Settings,
) -> Verdict:
    """Judge a list's losses against `reference`, the largest of late; what it would publish against `counts`.

    `accepted` has a key for each domain with an accepted list; `counts` are those of the list that passed or was
    accepted last: held lists add to what is in force, and what they added is no measure for the next. Addresses in
    domains the customer no longer has are dropped without a word: provision has asked for `--removing domain:D`.
    """
    ours = frozenset(recipient for recipient in in_force if domain_of(recipient) in settings.domains)
    watched = _DomainCounts.of(reference, accepted, offered, settings)
    reasons = (*_losses(watched, settings), *_firsts(accepted, offered, open_domains, settings))
    if not (reasons or offered):
        reasons = ("no recipient in any domain of the customer's",)
    would = ours | offered if reasons else offered
    too_many = () if would <= ours else tuple(_growth(would, accepted, counts, settings))
    if not (reasons or too_many):
        return Verdict(offered, frozenset(), ())
    return Verdict(ours if too_many else would, ours - offered, (*reasons, *too_many))


def counted(recipients: frozenset[str], settings: Settings) -> dict[str, int]:
    """Return how many recipients of a list each domain has, without those that are always there."""
    found = _count(recipients - _always(settings), set(settings.domains))
    return {name: found[name] for name in settings.domains}


class _DomainCounts(NamedTuple):
    """Counts by domain, of domains with an accepted list only: a first list is held for being the first.

    Entries that are always there (postmaster, `include`) are in none of them.
    """

    before: Counter[str]
    gone: Counter[str]
    after: Counter[str]
    canaries: tuple[str, ...]  # that are missing

    @classmethod
    def of(
        cls, reference: frozenset[str], accepted: Mapping[str, object], offered: frozenset[str], settings: Settings
    ) -> _DomainCounts:
        domains = {name for name in settings.domains if name in accepted}
        always = _always(settings)
        missing = tuple(canary for canary in settings.canaries if canary not in offered)
        before, gone = _count(reference - always, domains), _count(reference - offered - always, domains)
        return cls(before, gone, _count(offered - always, domains), missing)


def _always(settings: Settings) -> set[str]:
    return {*settings.include, *(f"postmaster@{name}" for name in settings.domains)}


def _count(recipients: Iterable[str], domains: set[str]) -> Counter[str]:
    every = Counter(map(domain_of, recipients))
    return Counter({name: every[name] for name in sorted(domains) if every[name]})


def _losses(watched: _DomainCounts, settings: Settings) -> Iterator[str]:
    yield from _shrunk("", sum(watched.gone.values()), sum(watched.before.values()), settings)
    for name, before in watched.before.items():
        if not watched.after[name]:
            yield f"{name} would be left with none of its {before}"
        elif len(watched.before) > 1:
            yield from _shrunk(f" of {name}", watched.gone[name], before, settings)
    for canary in watched.canaries:
        yield f"canary {escape(canary)} is missing"


def _shrunk(where: str, gone: int, before: int, settings: Settings) -> Iterator[str]:
    if gone > settings.shrink_floor and gone * 100 > settings.shrink_percent * before:
        yield f"{gone * 100 / before:.1f} %{where} would go ({gone} of {before}), limit {settings.shrink_percent:g} %"


def _firsts(
    accepted: Mapping[str, object], offered: frozenset[str], open_domains: frozenset[str], settings: Settings
) -> Iterator[str]:
    for name, count in _count(offered, set(settings.domains) - set(accepted) - open_domains).items():
        yield f"first list of {name} ({count})"


def _growth(
    would: frozenset[str], accepted: Mapping[str, object], counts: Mapping[str, int], settings: Settings
) -> Iterator[str]:
    """Say by how much too many would be listed, those that are only kept back among them."""
    now = counted(would, settings)
    before, after = (sum(each.get(name, 0) for name in settings.domains if name in accepted) for each in (counts, now))
    if after - before > GROWTH_FLOOR and after > settings.growth_factor * before:
        yield f"grows from {before} to {after}, limit {settings.growth_factor:g} times"
    if len(would) > settings.max_recipients:
        yield f"{len(would)} recipients, limit {settings.max_recipients}"
