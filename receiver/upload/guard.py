"""The guard: whether a list may take effect as it is, or is held until an operator accepts it by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from common.settings import Settings
from receiver.addresses import count_domains, domain_of, keep_domains
from receiver.formatting import count, escape
from receiver.lists.upload_log import DomainCounts, GuardInputs

GROWTH_FLOOR = 100  # a list may grow by this many, however small it was


class Verdict(NamedTuple):
    """The recipients in force from now on, those that only the guard keeps, and why it holds the list."""

    published: frozenset[str]
    kept_back: frozenset[str]
    reasons: tuple[str, ...]


class ListsBefore(NamedTuple):
    """The lists that an upload is compared with."""

    in_force: frozenset[str]
    gone: frozenset[str]  # addresses that left recently, so that many small removals add up
    accepted: Mapping[str, object]  # has a key for each domain with an accepted list
    counts: Mapping[str, int]  # by domain, of the list that passed or was accepted last
    brought_back: frozenset[str] = frozenset()  # addresses that stay until a person accepts that they go
    base: Mapping[str, int] = {}  # by domain, how many were listed when the counting of removals began


def compute_verdict(
    before: ListsBefore, offered: frozenset[str], open_domains: frozenset[str], settings: Settings
) -> tuple[Verdict, GuardInputs]:
    """Return the guard's verdict on an upload, and the numbers it was judged by.

    A held list adds to the list in force, but growth is not measured against that: it is judged by `counts`. Addresses
    in domains that the customer no longer has are dropped silently: provision has asked for `--removing domain:D`.
    """
    ours = keep_domains(before.in_force, settings.domains)
    inputs = count_inputs(before._replace(in_force=ours), offered, open_domains, settings)
    reasons, too_many = find_reasons(inputs, settings)
    if not (reasons or too_many):
        return Verdict(offered, frozenset(), ()), inputs
    published = ours if too_many else ours | offered
    return Verdict(published, ours - offered, (*reasons, *too_many)), inputs


def find_reasons(inputs: GuardInputs, settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return why an upload is held, and why it is not even allowed to add: the list grows too much. Both in words."""
    reasons = (*_losses(inputs, settings), *_firsts(inputs))
    if not (reasons or inputs.offered):
        reasons = ("no recipient in any domain of the customer's",)
    return reasons, tuple(_growth_reason(inputs, bool(reasons), settings)) if inputs.coming else ()


def count_inputs(
    before: ListsBefore, offered: frozenset[str], open_domains: frozenset[str], settings: Settings
) -> GuardInputs:
    """Return what the guard counts, without the addresses that are always listed (postmaster, `include`).

    In force are addresses of the customer's domains. A list may have a million, most of which are on both: what is on
    one alone is counted, and the rest follows from the list that is offered.
    """
    ours, always = before.in_force, always_listed(settings)
    reference = (ours | before.gone) - always
    passed, listed, gone = Counter(before.counts), count_domains(offered), count_domains(reference - offered)
    people = listed - count_domains(offered & always)
    referred = listed + gone - count_domains(offered - reference)
    together = people + count_domains(ours - offered - always)
    domains = {
        name: DomainCounts(
            *(
                passed[name],
                _reference(referred[name], gone[name], before.base.get(name, 0), settings),
                gone[name],
                people[name],
                listed[name],
                together[name],
            ),
            is_accepted=name in before.accepted,
            is_open=name in open_domains,
        )
        for name in settings.domains
    }
    missing = tuple(canary for canary in settings.canaries if canary not in offered)
    back = sum(domain_of(name) in settings.domains for name in before.brought_back - offered)
    leaving, coming = len(ours - offered - always), len(offered - ours)
    return GuardInputs(domains, missing, back, leaving, coming, len(offered), len(ours) + coming)


def _reference(referred: int, gone: int, base: int, settings: Settings) -> int:
    """Return the number by which a loss is divided: `referred`, which is all who are listed, or were recently.

    If the loss would pass by that number, the smaller of it and `base`, the number that was listed before the last
    additions: a list could grow first, and then lose many unseen.
    """
    return min(referred, base) if base and not _is_too_much(gone, referred, settings) else referred


def count_by_domain(recipients: frozenset[str], settings: Settings) -> dict[str, int]:
    """Return how many recipients of a list each domain has, without those that are always listed."""
    found = count_domains(recipients) - count_domains(recipients & always_listed(settings))
    return {name: found[name] for name in settings.domains}


def always_listed(settings: Settings) -> frozenset[str]:
    """Return the addresses that are listed whatever an export says: `include`, and postmaster@ of each domain."""
    return frozenset((*settings.include, *(f"postmaster@{name}" for name in settings.domains)))


def _losses(inputs: GuardInputs, settings: Settings) -> Iterator[str]:
    """Yield reasons about missing recipients, of domains with an accepted list: a first list is held anyway."""
    watched = {name: each for name, each in sorted(inputs.domains.items()) if each.is_accepted and each.reference}
    if inputs.leaving:
        yield from _shrink_reason("", *_sum_losses(watched.values()), settings)
    for name, each in watched.items():
        if not each.offered:
            yield f"{name} would be left with none of its {each.reference}"
        elif inputs.leaving and len(watched) > 1:
            yield from _shrink_reason(f" of {name}", each.gone, each.reference, settings)
    for canary in inputs.missing:
        yield f"canary {escape(canary)} is missing"
    if inputs.brought_back:
        yield f"{inputs.brought_back} that a rollback brought back would go"


def _shrink_reason(where: str, gone: int, before: int, settings: Settings) -> Iterator[str]:
    if _is_too_much(gone, before, settings):
        share = f"{gone * 100 / before:.1f} %{where} would go ({gone} of {before})"
        late = f"{gone}{where} would go; {before} were listed before the list grew"
        yield f"{share if gone <= before else late}, limit {settings.shrink_percent:g} %"


def _is_too_much(gone: int, before: int, settings: Settings) -> bool:
    return gone > settings.shrink_floor and gone * 100 > settings.shrink_percent * before


def _sum_losses(domains: Iterable[DomainCounts]) -> tuple[int, int]:
    """Return how many addresses of the reference are not in the upload, and how many it has."""
    every = list(domains)
    return sum(each.gone for each in every), sum(each.reference for each in every)


def describe_earlier_losses(inputs: GuardInputs, settings: Settings) -> Iterator[str]:
    """Yield by how much the list shrank recently, where an upload is not held for that because it removes nobody."""
    gone, reference = _sum_losses(each for each in inputs.domains.values() if each.is_accepted)
    if not inputs.leaving and any(_shrink_reason("", gone, reference, settings)):
        yield f"earlier uploads removed {gone} of {reference}; this one removes nobody"


def _firsts(inputs: GuardInputs) -> Iterator[str]:
    for name, each in sorted(inputs.domains.items()):
        if each.listed and not (each.is_accepted or each.is_open):
            yield f"first list of {name} ({each.listed})"


def _growth_reason(inputs: GuardInputs, is_held: bool, settings: Settings) -> Iterator[str]:
    """Yield by how much the list would grow too much, with those whom only the guard keeps."""
    before = sum(each.passed for each in inputs.domains.values() if each.is_accepted)
    after = sum(each.combined if is_held else each.offered for each in inputs.domains.values() if each.is_accepted)
    if after - before > GROWTH_FLOOR and after > settings.growth_factor * before:
        yield f"grows from {before} to {after}, limit {settings.growth_factor:g} times"
    total = inputs.combined if is_held else inputs.offered
    if total > settings.max_recipients:
        yield f"{count(total, 'recipient')}, limit {settings.max_recipients}"
