"""Merges heads. Pure.

A head replaces the heads that lie behind it. Where two heads do not know each other, both are in force: their lists are
united, and a domain is closed only where both close it. No number, clock or log decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from receiver.formatting import escape
from receiver.lists import list_file
from receiver.lists.accepted import Accepted
from receiver.lists.spool import LastExport
from receiver.store.head import Behind, Freeze, Head, Revision, Tip, name_given

NOTHING = Tip(Head("", 0, list_file.digest(b""), Accepted()), b"")


def reconcile(own: Sequence[Tip], found: Tip | None) -> tuple[Tip, ...]:
    """Return a relay's heads once the store's is known; None: the store has none that can be read."""
    if found is None:
        return tuple(own)
    for tip in own:
        if tip.head.point == found.head.point:
            found = _with_later_dates(found, tip)
        elif tip.head.knows(found.head.point):
            return tuple(own)  # the store was restored to an earlier state
    staying = (tip for tip in own if tip.head.point != found.head.point and not found.head.follows(tip.head))
    return (*staying, found)


def take_given(given: Tip, mine: Revision, now: int) -> Tip:
    """Return what counts of a state that another relay handed over: whom it lists, keeps and opens, and its freeze.

    Its past, its held list, what passed a guard there and dates in the future are only claims of that relay, and are
    dropped. Its settings count where they are this relay's own.
    """
    head = given.head
    domains = {name: min(when, now) for name, when in head.accepted.domains.items()}
    kept = {name: entry for name, entry in head.kept.items() if name in given.recipients}
    frozen = head.frozen and head.frozen._replace(since=min(head.frozen.since, now), is_merged=True)
    settings = mine if (mine.number, mine.hash) == (head.settings.number, head.settings.hash) else Revision()
    taken = Head(head.point, min(head.date, now), head.list, Accepted(domains), kept=kept, frozen=frozen)
    return Tip(taken._replace(export=head.export, settings=settings, kind=head.kind, by=head.by), given.text)


def find_unknown(own: Iterable[Tip], given: Iterable[Tip]) -> list[Tip]:
    """Return those of the states that another relay handed over that a relay neither has nor had."""
    known, found = list(own), list[Tip]()
    for tip in given:
        point = tip.head.point
        if not any(point == each.head.point or each.head.knows(point) for each in (*known, *found)):
            found.append(tip)
    return found


def rename_given(given: Tip) -> Tip:
    """Return a state that another relay handed over, under the name by which a later head remembers it."""
    return given._replace(head=given.head._replace(point=name_given(given.head)))


def is_settled(tips: Sequence[Tip], found: Tip | None) -> bool:
    """Return whether the store needs nothing written: its head is all that a relay has."""
    return not tips or (found is not None and [tip.head.point for tip in tips] == [found.head.point])


def unite(tips: Sequence[Tip]) -> Tip:
    """Return what is in force with these heads. Where there are several, it has no point of its own yet."""
    if not tips:
        return NOTHING
    if len(tips) == 1:
        return tips[0]
    heads = [tip.head for tip in tips]
    text = list_file.encode_recipients(frozenset[str]().union(*(tip.recipients for tip in tips)))
    held, review = next(((head.held, head.review) for head in reversed(heads) if head.held), (None, ""))
    united = Head("", max(head.date for head in heads), list_file.digest(text), _unite_accepted(heads))
    united = united._replace(held=held, review=review, frozen=_unite_frozen(heads), export=_unite_exports(heads))
    kept = {name: entry for head in heads for name, entry in head.kept.items()}
    return Tip(united._replace(kept=kept, settings=newest_settings(heads)), text)


def find_lost_decisions(tips: Iterable[Tip], found: Tip | None) -> list[Behind]:
    """Return the decisions of persons that these heads know of and the store's head does not, the newest first."""
    lost: dict[str, Behind] = {}
    for tip in tips:
        for each in (tip.head.behind, *tip.head.past):
            known = found and (each.point == found.head.point or found.head.knows(each.point))
            if each.kind and not known:
                lost[each.point] = each
    return sorted(lost.values(), key=lambda each: -each.date)


def describe_merge(tips: Sequence[Tip], store: Tip | None, base: Tip, wrong: str) -> str:
    """Return a note for a person: how many only one side had, and whose decision the store had lost."""
    theirs = store.recipients if store else frozenset[str]()
    mine = frozenset[str]().union(*(tip.recipients for tip in tips if store is None or tip is not store))
    what = "put back" if len(tips) == 1 else "merged"
    text = f"{wrong + ': ' if wrong else ''}this relay's list was {what} in the store"
    only_here, only_there = len(base.recipients - theirs), len(base.recipients - mine)
    text += f"; {only_here} were not in the store's, {only_there} were not in this relay's"
    for lost in find_lost_decisions(tips, store):
        text += f"; THE STORE HAD LOST {lost.kind} by {escape(lost.by) or 'somebody'} ({lost.point[:12]})"
    return text


def newest_settings(heads: Iterable[Head]) -> Revision:
    """Return the settings of the highest number."""
    return max((head.settings for head in heads), key=lambda each: (each.number, each.hash))


def _with_later_dates(found: Tip, own: Tip) -> Tip:
    mine = own.head.accepted.domains
    domains = {name: max(when, mine.get(name, 0)) for name, when in found.head.accepted.domains.items()}
    accepted = found.head.accepted._replace(domains=domains)
    return found._replace(head=found.head._replace(accepted=accepted, settings=newest_settings((found.head, own.head))))


def _unite_accepted(heads: Sequence[Head]) -> Accepted:
    every = [head.accepted.domains for head in heads]
    closed = {name: min(each[name] for each in every) for name in every[0] if all(name in each for each in every)}
    passed = max((head.accepted for head in heads), key=lambda each: sum(each.counts.values()))
    return Accepted(closed, passed.list, passed.counts)


def _unite_frozen(heads: Sequence[Head]) -> Freeze | None:
    frozen = [head.frozen for head in heads if head.frozen]
    if not frozen:
        return None
    latest = max(frozen, key=lambda each: each.since)
    return latest._replace(is_merged=len(frozen) < len(heads) or all(each.is_merged for each in frozen))


def _unite_exports(heads: Sequence[Head]) -> LastExport:
    domains = {name for head in heads for name in head.export.open_domains}
    plus = {head.export.plus_addresses for head in heads}
    return LastExport(tuple(sorted(domains)), True if True in plus else False if False in plus else None)
