"""Accepts the whole held list, for a person who confirms the numbers of a review of all the customer's relays."""

from __future__ import annotations

import time
from typing import NamedTuple

from common.settings import Settings, load_settings
from receiver.actions import late_mail
from receiver.actions.late_mail import Ask
from receiver.actions.review import Review, review_held
from receiver.addresses import domain_of
from receiver.formatting import count, escape, first_names, format_time, name_some
from receiver.lists import judged_mail, list_file, publishing, review_record
from receiver.lists.accepted import InForce
from receiver.lists.publishing import Decision
from receiver.lists.review_record import Numbers, ReviewRecord
from receiver.lists.spool import Spool
from receiver.monitoring.log_findings import SeenMail
from receiver.outcome import Outcome, Refused
from receiver.tables_client import Tables
from receiver.upload.guard import GROWTH_FLOOR
from receiver.upload.judgement import accepted_domains, log_entry
from receiver.upload.pipeline import build_and_verify_tables


class AcceptOrder(NamedTuple):
    """What a person has confirmed on the command line."""

    numbers: Numbers
    list: str  # SHA-256 of the list that was reviewed, all of it
    by: str
    log_incomplete: bool = False  # although there may have been more mail than was seen
    look: bool = False  # check all, and change nothing


class Witness(NamedTuple):
    """The sources that know who had mail since the review."""

    seen: SeenMail
    ask: Ask  # the customer's own server


def accept_held(spool: Spool, order: AcceptOrder, witness: Witness, tables: Tables) -> Outcome:
    """Make the list in force exactly the one that is held now.

    It may differ from the reviewed list if the review showed everybody whom it removes and every domain that it closes,
    and if it lacks nobody whom the review showed as listed there. Raises Refused if it does not, for other numbers than
    the review's, for an address that had mail since and was not shown, and for a list that would leave a closed domain
    without an address.
    """
    settings = load_settings(spool.places, spool.customer)
    late = late_mail.find_late_mail(spool, settings, witness.seen.mail, witness.ask)  # a server may answer slowly
    with publishing.transaction(spool) as settings:
        _check_not_frozen(spool)
        now = int(time.time())
        in_force, found = spool.read_in_force(), review_held(spool, settings, now)
        record = _read_record(spool, order, witness)
        _check_against_record(spool.customer, found, record, settings)
        late_mail.check_late_mail(spool, found, witness.seen.mail, late)
        _check_no_empty_domain(found, in_force, settings)
        outcome = _outcome_of(spool.customer, found, in_force, order.by)
        outcome = outcome._replace(notes=(late.note,) if late.note else ())
        if order.look:
            closing = ", ".join(sorted(found.effect.closing))
            notes = (*outcome.notes, f"closes {closing}") if closing else outcome.notes
            return _as_look(outcome._replace(notes=notes), found, in_force)
        _publish(spool, settings, in_force, found, outcome, now)
        judged_mail.add_judged(spool.folder, record.mail.keys() - found.recipients, now)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, found.recipients - in_force.recipients)


def _publish(spool: Spool, settings: Settings, in_force: InForce, found: Review, outcome: Outcome, now: int) -> None:
    text, origin = list_file.encode_recipients(found.recipients), found.held.origin
    accepted = accepted_domains(settings, found.recipients, origin, list_file.digest(text))
    accepted = accepted.without(found.held.open_domains)
    by = outcome.origin.by
    entry = log_entry(outcome, in_force, None, by)._replace(did="accepted", when=now)
    decision = Decision(found.recipients, text, accepted, origin, by=by, entry=entry)
    publishing.publish(spool, settings, in_force, decision, now)


def _check_not_frozen(spool: Spool) -> None:
    frozen = spool.read_freeze()
    if frozen:
        raise Refused(f"frozen since {format_time(frozen.since)}; `resume {spool.customer}` comes first")


def _read_record(spool: Spool, order: AcceptOrder, witness: Witness) -> ReviewRecord:
    """Return the review that the person confirms. Raises Refused for another, or other numbers."""
    record = review_record.load_record(spool.folder)
    if record is None:
        what = "the held list has not been reviewed here, or the record of its review is damaged"
        raise Refused(f"{what}: `review {spool.customer}` comes first, on this relay too")
    if record.list != order.list:  # the whole of it: a list that begins with the same letters can be made
        changed = f"the list that was reviewed last is {record.list[:12]}, not {escape(order.list[:12])}"
        raise Refused(f"{changed}: it changed since it was reviewed; see `review {spool.customer}`")
    if record.numbers != order.numbers:
        given = " ".join(order.numbers.options)
        wrong = f"{given} is not what is held" if given else "no number was named of what is held"
        right = f"after a look at `review {spool.customer}`: `{record.command(spool.customer)}`"
        raise Refused(f"{wrong}; {right}")
    unseen = [*record.unseen, *(each for each in witness.seen.unseen if each not in record.unseen)]
    if unseen and not order.log_incomplete:
        raise Refused(
            f"there may have been more mail: {'; '.join(unseen)}; --log-incomplete takes the list all the same"
        )
    return record


def _check_against_record(customer: str, found: Review, record: ReviewRecord, settings: Settings) -> None:
    """Raise Refused where the list held now does something that nobody was shown."""
    again = f"look again: `review {customer}`"
    going, closing = found.effect.going - record.going, found.effect.closing - record.closing
    if going:
        raise Refused(
            f"{name_some(sorted(going))} would be removed by the list held now, which the review did not show; {again}"
        )
    if closing:
        raise Refused(
            f"{name_some(sorted(closing))} would be closed by the list held now, which the review did not show; {again}"
        )
    gone = {name for name in record.listed - found.recipients if domain_of(name) in found.effect.closing}
    if gone:  # a list that is held for its growth was never in force, so `going` has nobody of it
        raise Refused(f"the list held now lacks {name_some(sorted(gone))} of the reviewed list; {again}")
    before, after = record.total, len(found.recipients)
    grows = after - before > GROWTH_FLOOR and after > settings.growth_factor * before
    if grows or after > settings.max_recipients >= before:
        raise Refused(f"the list held now has {count(after, 'recipient')}, the one that was reviewed {before}; {again}")


def _check_no_empty_domain(found: Review, in_force: InForce, settings: Settings) -> None:
    served = set(map(domain_of, (*found.recipients, *settings.include))) | set(settings.partial)
    empty = [name for name in settings.domains if name in in_force.accepted.domains and name not in served]
    if empty:
        help_ = "name it in `partial`, or remove it with `provision --removing domain:" + empty[0] + "`"
        raise Refused(f"{', '.join(empty)} would be closed with no address: {help_}")


def _outcome_of(customer: str, found: Review, in_force: InForce, by: str) -> Outcome:
    before, after = in_force.recipients, found.recipients
    origin = found.held.origin._replace(by=by)
    outcome = Outcome(customer, "published", origin, total=len(after), offered=found.held.list)
    outcome = outcome._replace(added=len(after - before), removed=len(before - after))
    return outcome._replace(left_out=found.held.left_out, named=found.held.named)


def _as_look(outcome: Outcome, found: Review, in_force: InForce) -> Outcome:
    coming = first_names(found.recipients - in_force.recipients)
    return outcome._replace(did="looked", coming=coming, going=first_names(found.effect.going))
