"""A customer's key in an attacker's hands, or an unlucky export: what no sequence of uploads can bring about."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver import pin, review
from receiver.kept import Origin
from receiver.pin import Which
from receiver.report import Refused
from receiver.review import Number, Review
from tests.small_relay import SmallRelay, people

EVERYBODY = people(50)


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay whose first list, of 50, has been accepted."""
    relay = SmallRelay(tmp_path)
    relay.offer(EVERYBODY)
    relay.accept("first", 50)
    return relay


def look(relay: SmallRelay) -> Review:
    """Review what is held, as `postern review` does."""
    with relay.spool() as spool:
        found = review.review(spool, relay.settings)
        spool.review(found.record)
    return found


def take(relay: SmallRelay, found: Review) -> None:
    """Run the command that a review printed, now."""
    with relay.spool() as spool:
        review.accept(spool, found.number, found.held.list, "olga", relay.tables)


# ---- accept of a list that nobody reviewed


def test_attack_another_list_with_the_number_that_was_reviewed_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    relay.offer(EVERYBODY)  # passes, and ends the review
    relay.offer(EVERYBODY[10:])
    with pytest.raises(Refused, match="changed since it was reviewed"):
        take(relay, found)
    assert relay.in_force() == set(EVERYBODY)


def test_attack_the_reviewed_list_with_as_many_others_going_is_not_accepted(relay: SmallRelay) -> None:
    """The hash is the same and the number is, and those who would go are not those whom somebody has seen."""
    reviewed = EVERYBODY[:40]
    relay.offer(reviewed)
    found = look(relay)
    relay.offer(EVERYBODY)
    for gone in (5, 10):  # each is small enough to pass
        relay.offer([*reviewed, *EVERYBODY[40 + gone :], *people(60)[50 : 50 + gone]])
    relay.offer(reviewed)
    assert look_only(relay).number == found.number
    assert look_only(relay).going != found.going
    with pytest.raises(Refused, match="nobody has reviewed"):
        take(relay, found)
    assert set(people(60)[50:]) < relay.in_force()


def look_only(relay: SmallRelay) -> Review:
    with relay.spool() as spool:
        return review.review(spool, relay.settings)


def test_attack_a_rollback_between_review_and_accept_does_not_change_who_goes(relay: SmallRelay) -> None:
    others = [*EVERYBODY[:45], *people(55)[50:]]
    relay.offer(others)
    relay.offer(EVERYBODY[:45])  # nothing is held: 5 of 50 may go
    relay.offer(EVERYBODY[:30])
    found = look(relay)
    assert found.number == Number("removing", 15)
    with relay.spool() as spool:
        pin.rollback(spool, Which(back=1), Origin(found.held.origin.when, by="olga"), relay.tables)
        pin.resume(spool, Origin(found.held.origin.when, by="olga"), relay.tables)
    with pytest.raises(Refused):
        take(relay, found)
    assert set(people(55)[50:]) < relay.in_force()


def test_attack_a_list_of_which_nobody_has_seen_the_names_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    with pytest.raises(Refused, match="nobody has reviewed"):
        take(relay, look_only(relay))
    take(relay, look(relay))
    assert relay.in_force() == set(EVERYBODY[:40])


def test_attack_a_list_that_begins_with_the_same_letters_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    with relay.spool() as spool, pytest.raises(Refused, match="changed since it was reviewed"):
        review.accept(spool, found.number, found.held.list[:12], "olga", relay.tables)
    assert relay.in_force() == set(EVERYBODY)
