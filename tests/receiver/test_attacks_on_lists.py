"""An attacker with a customer's key, or an unlucky export: what no sequence of uploads can do."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from receiver.actions.resume import resume_uploads
from receiver.actions.review import Review, review_held
from receiver.actions.rollback import ListChoice
from receiver.lists.review_record import Numbers
from receiver.monitoring.log_findings import SeenMail
from receiver.outcome import Origin, Refused
from tests.support.small_relay import SmallRelay, people

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
    return relay.review()


def take(relay: SmallRelay, found: Review) -> None:
    """Run the command that a review printed, now."""
    relay.accept_reviewed(found.held.list, found.record(SeenMail()).numbers)


# ---- accept of what nobody was shown


def test_attack_another_list_with_the_number_that_was_reviewed_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    relay.offer(EVERYBODY)  # passes, and ends the review
    relay.offer(EVERYBODY[10:])
    with pytest.raises(Refused, match="has not been reviewed here"):
        take(relay, found)
    assert relay.in_force() == set(EVERYBODY)


def test_attack_another_list_held_in_the_place_of_the_reviewed_one_is_not_accepted(relay: SmallRelay) -> None:
    """It removes as many, but others."""
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    relay.offer([*EVERYBODY[:35], *EVERYBODY[45:]])
    with pytest.raises(Refused, match=r"user00035@acme.example, .* would be removed by the list held now"):
        take(relay, found)
    assert relay.in_force() == set(EVERYBODY)


def test_attack_the_reviewed_list_with_as_many_others_going_is_not_accepted(relay: SmallRelay) -> None:
    """The hash and the number are the same, but it removes others than those who were shown."""
    reviewed = EVERYBODY[:40]
    relay.offer(reviewed)
    found = look(relay)
    kept = (relay.folder / "held/review.json").read_bytes()
    relay.offer(EVERYBODY)
    for gone in (5, 10):  # each is small enough to pass
        relay.offer([*reviewed, *EVERYBODY[40 + gone :], *people(60)[50 : 50 + gone]])
        forget_removals(relay)
    relay.offer(reviewed)
    with pytest.raises(Refused, match="has not been reviewed here"):
        take(relay, found)
    (relay.folder / "held/review.json").write_bytes(kept)
    with pytest.raises(Refused, match="would be removed by the list held now"):
        take(relay, found)
    assert set(people(60)[50:]) < relay.in_force()


def test_attack_a_first_list_too_long_to_be_in_force_is_reviewed_and_another_accepted(tmp_path: Path) -> None:
    """The other list "removes" nobody of it, as it was never in force; but a person was shown them as listed."""
    relay = SmallRelay(tmp_path / "new", max_recipients=100)
    relay.offer(people(150))
    found = look(relay)
    relay.offer(people(150)[:1])
    with pytest.raises(Refused, match=r"the list held now lacks .* of the reviewed list"):
        take(relay, found)
    with relay.spool() as spool:
        assert spool.read_accepted().opens(relay.settings, int(time.time())) == ("acme.example",)


def test_attack_a_new_domain_s_list_is_swapped_where_another_domain_grows_too_much(tmp_path: Path) -> None:
    relay = SmallRelay(tmp_path / "two")
    relay.offer(people(50))
    take(relay, look(relay))
    relay.provision(domains=("acme.example", "new.example"))
    grown, new = people(400), people(50, "new.example")
    relay.offer([*grown, *new])
    found = look(relay)
    assert found.record(SeenMail()).numbers == Numbers(first=50, adding=350)
    relay.offer([*grown, *new[:1]])
    with pytest.raises(Refused, match="the list held now lacks"):
        take(relay, found)


def test_attack_people_are_diluted_by_many_others_until_all_of_them_are_a_small_part(relay: SmallRelay) -> None:
    fakes = [f"fake{number}@acme.example" for number in range(900)]
    for size in (90, 300, 900):
        assert relay.offer([*EVERYBODY, *fakes[:size]]).did == "published"
    ended = relay.offer(fakes)
    assert ended.did == "held"
    assert ended.reasons == ("100.0 % would go (50 of 50), limit 10 %",)
    assert set(EVERYBODY) < relay.in_force()


def test_who_came_and_left_again_within_the_week_weighs_as_little_as_before(relay: SmallRelay) -> None:
    assert relay.offer(people(90)).did == "published"
    assert relay.offer(people(87)).did == "published"
    assert relay.offer(people(60)).did == "held"


def forget_removals(relay: SmallRelay) -> None:
    """Let the guard forget earlier removals, as after a week."""
    (relay.folder / "gone").write_text("")


def test_attack_a_rollback_between_review_and_accept_does_not_change_who_goes(relay: SmallRelay) -> None:
    others = [*EVERYBODY[:45], *people(55)[50:]]
    relay.offer(others)
    forget_removals(relay)
    relay.offer(EVERYBODY[:45])  # nothing is held: 5 of 50 may go
    relay.offer(EVERYBODY[:30])
    found = look(relay)
    assert found.record(SeenMail()).numbers == Numbers(removing=15)
    relay.roll_back(ListChoice(back=1), Origin(found.held.origin.when, by="olga"))
    with relay.spool() as spool:
        resume_uploads(spool, Origin(found.held.origin.when, by="olga"), relay.tables)
    with pytest.raises(Refused, match="would be removed by the list held now"):
        take(relay, found)
    assert set(people(55)[50:]) < relay.in_force()


def test_attack_a_list_of_which_nobody_has_seen_the_names_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    with relay.spool() as spool:
        unseen = review_held(spool, relay.settings, int(time.time()))
    with pytest.raises(Refused, match="has not been reviewed here"):
        take(relay, unseen)
    take(relay, look(relay))
    assert relay.in_force() == set(EVERYBODY[:40])


def test_attack_a_list_that_begins_with_the_same_letters_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    with pytest.raises(Refused, match="changed since it was reviewed"):
        relay.accept_reviewed(found.held.list[:12], Numbers(removing=10))
    assert relay.in_force() == set(EVERYBODY)


def test_attack_a_list_that_is_three_times_the_reviewed_one_is_not_accepted(relay: SmallRelay) -> None:
    relay.offer(EVERYBODY[:40])
    found = look(relay)
    relay.offer([*EVERYBODY[:40], *strangers(500, 1)])
    with pytest.raises(Refused, match="the list held now has 540 recipients, the one that was reviewed 40"):
        take(relay, found)


# ---- growth past every limit by lists that are held


def strangers(size: int, round_: int, domain: str = "acme.example") -> list[str]:
    return [f"x{round_}-{number}@{domain}" for number in range(size)]


@pytest.mark.parametrize("uploads", [6, 15])
def test_attack_disjoint_lists_that_are_all_held_do_not_compound(relay: SmallRelay, uploads: int) -> None:
    """Also when the list that was accepted has left history, which keeps ten."""
    for number in range(uploads):
        relay.offer(strangers(2 * len(relay.in_force()), number))
    assert len(relay.in_force()) <= 150, "three times the list that was accepted"
    assert set(EVERYBODY) <= relay.in_force()


def test_attack_small_disjoint_lists_that_are_held_do_not_add_up(relay: SmallRelay) -> None:
    for number in range(15):
        relay.offer(strangers(20, number))
    assert len(relay.in_force()) <= 150


def test_attack_lists_held_for_a_canary_or_a_first_list_do_not_compound(relay: SmallRelay) -> None:
    relay.provision(domains=("acme.example", "acme.co.example"), canaries=(EVERYBODY[0],))
    for number in range(6):
        some = strangers(len(relay.in_force()), number)
        relay.offer([*EVERYBODY[1:], *some, f"x{number}@acme.co.example"])
    assert len([one for one in relay.in_force() if one.endswith("@acme.example")]) <= 150


def test_attack_a_list_cannot_pass_by_what_held_ones_have_added(relay: SmallRelay) -> None:
    relay.offer(strangers(100, 1))
    assert len(relay.in_force()) == 150
    outcome = relay.offer([*EVERYBODY, *strangers(100, 1), *strangers(200, 2)])
    assert outcome.reasons == ("grows from 50 to 350, limit 3 times",)
    assert len(relay.in_force()) == 150


def test_attack_held_lists_that_are_each_below_the_maximum_do_not_pass_it(tmp_path: Path) -> None:
    relay = SmallRelay(tmp_path, max_recipients=120, growth_factor=10)
    for number in range(6):
        relay.offer(strangers(50, number))  # first lists: nothing has been accepted to count against
    assert len(relay.in_force()) == 100
    relay.offer(EVERYBODY)
    relay.accept_reviewed(look(relay).held.list, Numbers(first=50, removing=100))
    for number in range(6):
        assert relay.offer(strangers(50, number)).code == 3
    assert len(relay.in_force()) == 100


def test_a_held_list_that_adds_nobody_new_is_not_held_for_growth(relay: SmallRelay) -> None:
    relay.offer(strangers(100, 1))
    assert "grows" not in relay.offer(strangers(90, 1)).line


def test_what_the_first_release_left_on_a_relay_is_counted_too(relay: SmallRelay) -> None:
    """Its accepted.json has no counts: the list it names is looked up in history, and the counts are kept."""
    path = relay.folder / "accepted.json"
    fields = json.loads(path.read_text())
    del fields["counts"]
    path.write_text(json.dumps(fields))
    for number in range(15):
        relay.offer(strangers(2 * len(relay.in_force()), number))
    assert len(relay.in_force()) <= 150
