"""The whole held list taken by a person, by the number that a review names."""

from __future__ import annotations

import time

from common.settings import Settings, load_settings
from receiver.actions.review import AcceptedNumber, Review, review_held
from receiver.addresses import domain_of
from receiver.formatting import escape, format_time
from receiver.lists import list_file, publishing
from receiver.lists.publishing import Decision
from receiver.lists.spool import Held, InForce, Spool
from receiver.outcome import Outcome, Refused
from receiver.system import locks
from receiver.tables_client import Tables
from receiver.upload.pipeline import accepted_domains, log_entry, verify_tables


def accept_held(spool: Spool, number: AcceptedNumber, expected: str, by: str, tables: Tables) -> Outcome:
    """Make the list in force exactly the held one.

    Raises Refused for a list whose SHA-256 is not `expected`, a wrong number, a list that nobody has reviewed beside
    the list in force, and one that would leave a closed domain without an address.
    """
    with spool.locked(), locks.hold_settings(spool.places):
        settings = load_settings(spool.places, spool.customer)
        publishing.complete(spool)
        pin = spool.pinned()
        if pin:
            raise Refused(f"pinned since {format_time(pin.since)}; `resume {spool.customer}` comes first")
        in_force, reviewed = spool.in_force(), review_held(spool, settings)
        _check_unchanged(spool.customer, reviewed.held, expected)
        _check_number(spool.customer, reviewed, number)
        _looked_at(spool, reviewed)
        _check_no_empty_domain(reviewed, in_force, settings)
        text, origin = list_file.encode_recipients(reviewed.recipients), reviewed.held.origin
        accepted = accepted_domains(settings, reviewed.recipients, in_force.accepted, origin, list_file.digest(text))
        accepted = accepted.without(reviewed.held.open_domains)
        outcome, now = _outcome_of(spool.customer, reviewed, in_force, by), int(time.time())
        entry = log_entry(outcome, in_force, None, by)._replace(did="accepted", when=now)
        decision = Decision(reviewed.recipients, text, accepted, origin, by=by, entry=entry)
        publishing.publish(spool, settings, in_force, decision, now)
        spool.record(outcome)
    return verify_tables(spool, tables, outcome, reviewed.recipients - in_force.recipients)


def _check_unchanged(customer: str, held: Held, expected: str) -> None:
    if held.list != expected:  # the whole of it: a list that begins with the same letters can be made
        changed = f"the list held now is {held.list[:12]}, not {escape(expected[:12])}"
        raise Refused(f"{changed}: it changed since it was reviewed; see `review {customer}`")


def _check_number(customer: str, reviewed: Review, number: AcceptedNumber) -> None:
    if number != reviewed.number:
        wrong = f"--{number.option} {number.size} is not what is held"
        raise Refused(f"{wrong}; after a look at `review {customer}`: `{reviewed.command(customer)}`")


def _looked_at(spool: Spool, reviewed: Review) -> None:
    """Raise Refused where the held list or the list in force is not as it was in the last review.

    A list that passes ends a review. The same list may be held afterwards, and as many others would go by it.
    """
    if spool.reviewed() != reviewed.record:
        what = "nobody has reviewed this list beside the one that is in force now"
        raise Refused(f"{what}: `review {spool.customer}` comes first, on this relay too")


def _check_no_empty_domain(reviewed: Review, in_force: InForce, settings: Settings) -> None:
    served = set(map(domain_of, (*reviewed.recipients, *settings.include))) | set(settings.partial)
    empty = [name for name in settings.domains if name in in_force.accepted.domains and name not in served]
    if empty:
        help_ = "name it in `partial`, or let it go by `provision --removing domain:" + empty[0] + "`"
        raise Refused(f"{', '.join(empty)} would be closed with no address: {help_}")


def _outcome_of(customer: str, reviewed: Review, in_force: InForce, by: str) -> Outcome:
    before, after = in_force.recipients, reviewed.recipients
    outcome = Outcome(customer, "published", *reviewed.held.origin, total=len(after), offered=reviewed.held.list)
    outcome = outcome._replace(by=by, added=len(after - before), removed=len(before - after))
    return outcome._replace(left_out=reviewed.held.left_out, named=reviewed.held.named)
