"""An earlier list back in force, and pinned there until uploads are to take effect again."""

from __future__ import annotations

from typing import NamedTuple

from receiver import history, kept, lock, publishing
from receiver.addresses import domain
from receiver.choice import Choice
from receiver.guard import counted
from receiver.history import Entry
from receiver.offer import enter, prove
from receiver.publishing import Decision
from receiver.report import Origin, Outcome, Refused, moment, shown
from receiver.review import own
from receiver.settings import Settings, load_settings
from receiver.spool import Accepted, Pin, Spool
from receiver.tables import Tables


class Which(NamedTuple):
    """The list of history that is meant: the one whose hash begins so, else so many back; neither: the previous."""

    list: str = ""
    back: int | None = None


def rollback(spool: Spool, which: Which, origin: Origin, tables: Tables) -> Outcome:
    """Put an earlier list back and pin it. Raises Refused when it is not in history.

    Domains that had no accepted list while it was in force are open again. What is held stays, for resume.
    """
    with spool.locked(), lock.settings(spool.places):
        settings = load_settings(spool.places, spool.customer)
        publishing.finish(spool)
        in_force = spool.in_force()
        entry = _found(history.entries(spool.folder), which, spool.pinned())
        recipients = own(kept.recipients(history.text(spool.folder, entry.number)), settings)
        text = kept.text(recipients)
        domains = _still(in_force.accepted, entry, recipients, settings)
        accepted = Accepted(domains, kept.digest(text), counted(recipients, settings))
        accepted = accepted.without(spool.last_export().open_domains)
        pin = Pin(origin.when, origin.by, entry.kept.list)
        decision = Decision(recipients, text, accepted, origin, f"{origin.by}, rolling back", pin, clears=False)
        publishing.publish(spool, settings, in_force, decision, origin.when)
        why = f"{moment(origin.when)} to list {entry.kept.list[:12]} of {moment(entry.kept.origin.when)}"
        outcome = Outcome(spool.customer, "pinned", *origin, total=len(recipients), why=why)
        added, removed = recipients - in_force.recipients, in_force.recipients - recipients
        outcome = outcome._replace(added=len(added), removed=len(removed))
        spool.record(outcome)
    return prove(spool, tables, outcome, added)


def resume(spool: Spool, origin: Origin, tables: Tables) -> Outcome:
    """Let uploads take effect again, and offer the list that waits through the guard at once."""
    with spool.locked(), lock.settings(spool.places):
        settings = load_settings(spool.places, spool.customer)
        publishing.finish(spool)
        if spool.pinned() is None:
            raise Refused("not pinned: uploads take effect")
        waiting = spool.held()
        if waiting:
            choice = Choice(own(waiting.recipients, settings), waiting.left_out, frozenset(waiting.open_domains))
            outcome, added = enter(settings, choice, spool, waiting.origin, None)
            outcome = outcome._replace(by=origin.by)
        else:
            total, added = len(spool.in_force().recipients), frozenset()
            outcome = Outcome(spool.customer, "resumed", *origin, total=total, why="no list waits")
        spool.unpin()  # last: killed before it, a second resume does the same again
        spool.record(outcome)
    return prove(spool, tables, outcome, added)


def _found(entries: list[Entry], which: Which, pinned: Pin | None) -> Entry:
    if which.list:
        found = [entry for entry in entries if entry.kept.list.startswith(which.list)]
        if not found:
            raise Refused(f"no kept list is named {shown(which.list)}; `history` names them")
        if len({entry.kept.list for entry in found}) > 1:
            raise Refused(f"several kept lists are named {shown(which.list)}...; `history --json` has the whole names")
        return found[0]
    if pinned and which.back is None:
        since = f"pinned already, since {moment(pinned.since)}"
        raise Refused(f"{since}, to list {pinned.list[:12]}; another is named by --to N or --list HASH")
    back = 1 if which.back is None else which.back
    if back >= len(entries):
        raise Refused(f"history goes {max(0, len(entries) - 1)} back, not {back}")
    return entries[back]


def _still(accepted: Accepted, entry: Entry, recipients: frozenset[str], settings: Settings) -> dict[str, int]:
    served = set(map(domain, (*recipients, *settings.include))) & set(entry.kept.domains)
    return {name: when for name, when in accepted.domains.items() if name in served}
