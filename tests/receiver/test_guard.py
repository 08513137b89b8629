"""The guard: what is held, what is not, and in which words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from common.settings import Settings
from receiver.upload.guard import ListsBefore, Verdict, compute_verdict, count_by_domain
from tests.support.small_relay import people

ACME = Settings("acme", "exchange-5.5", ("acme.example",))
TWO = ACME._replace(domains=("acme.example", "acme.co.example"))


def judged(
    before: Iterable[str],
    offered: Iterable[str],
    settings: Settings = ACME,
    accepted: Iterable[str] | None = None,
    reference: Iterable[str] | None = None,
    passed: Iterable[str] | None = None,
) -> Verdict:
    """Return the verdict on a list against the one before it, which has passed, with every domain accepted."""
    before = frozenset(before)
    domains = dict.fromkeys(settings.domains if accepted is None else accepted, 1)
    gone = frozenset[str]() if reference is None else frozenset(reference) - before
    counts = count_by_domain(before if passed is None else frozenset(passed), settings)
    lists = ListsBefore(before, gone, domains, counts)
    return compute_verdict(lists, frozenset(offered), frozenset(), settings)[0]


def test_a_list_that_adds_and_removes_a_little_passes_as_it_is() -> None:
    offered = [*people(98), "new@acme.example"]
    assert judged(people(100), offered) == Verdict(frozenset(offered), frozenset(), ())


def test_a_list_that_would_take_away_too_many_is_held_with_the_numbers_in_the_message() -> None:
    before = people(17)
    offered = [*before[:10], "a@acme.example", "b@acme.example", "c@acme.example"]
    verdict = judged(before, offered)
    assert verdict.reasons == ("41.2 % would go (7 of 17), limit 10 %",)


def test_what_a_held_list_adds_is_published_and_what_it_would_take_away_stays() -> None:
    verdict = judged(people(10), [*people(4), "new@acme.example"])
    assert verdict.published == {*people(10), "new@acme.example"}
    assert verdict.kept_back == set(people(10)[4:])


@pytest.mark.parametrize(
    ("before", "gone", "held"),
    [
        (100, 10, False),  # exactly the limit
        (100, 11, True),
        (12, 2, False),  # 16.7 %, but no more than the floor
        (12, 3, True),
        (1000, 100, False),
        (1000, 101, True),
    ],
)
def test_both_the_share_and_the_floor_must_be_passed(before: int, gone: int, held: bool) -> None:
    assert bool(judged(people(before), people(before - gone)).reasons) is held


def test_limits_are_the_customers_own() -> None:
    assert not judged(people(100), people(60), ACME._replace(shrink_percent=50)).reasons
    assert not judged(people(100), people(60), ACME._replace(shrink_floor=40)).reasons
    assert judged(people(100), people(99), ACME._replace(shrink_percent=0.5, shrink_floor=0)).reasons


def test_a_loss_in_one_domain_is_seen_though_it_is_small_over_all() -> None:
    small = people(20, "acme.co.example")
    verdict = judged([*people(1000), *small], [*people(1000), *small[:10]], TWO)
    assert verdict.reasons == ("50.0 % of acme.co.example would go (10 of 20), limit 10 %",)


def test_a_domain_that_would_be_left_with_none_is_held_however_small_it_is() -> None:
    verdict = judged([*people(1000), "only@acme.co.example"], people(1000), TWO)
    assert verdict.reasons == ("acme.co.example would be left with none of its 1",)
    assert verdict.kept_back == {"only@acme.co.example"}


def test_an_empty_list_is_held_and_takes_nobody_away() -> None:
    verdict = judged(people(2), [])
    assert verdict.reasons == ("acme.example would be left with none of its 2",)
    assert verdict.published == set(people(2))


def test_an_empty_first_list_is_held_too() -> None:
    assert judged([], [], accepted=()).reasons == ("no recipient in any domain of the customer's",)


def test_a_list_without_a_canary_is_held() -> None:
    settings = ACME._replace(canaries=("user00001@acme.example", "user00002@acme.example"))
    offered = set(people(100)) - {"user00002@acme.example"}
    assert judged(people(100), offered, settings).reasons == ("canary user00002@acme.example is missing",)
    assert not judged(people(100), people(100), settings).reasons


def test_the_first_list_of_a_domain_is_held_and_adds_to_what_is_in_force() -> None:
    verdict = judged([*people(5), "old@acme.co.example"], [*people(5), "new@acme.co.example"], TWO, ["acme.example"])
    assert verdict.reasons == ("first list of acme.co.example (1)",)
    assert verdict.published == {*people(5), "old@acme.co.example", "new@acme.co.example"}


def test_a_domain_the_list_says_nothing_of_is_no_first_list() -> None:
    assert not judged(people(5), people(5), TWO, ["acme.example"]).reasons


def test_a_large_first_list_is_no_growth() -> None:
    verdict = judged([], people(5000), accepted=())
    assert verdict.reasons == ("first list of acme.example (5000)",)
    assert verdict.published == set(people(5000))


def test_a_list_that_grows_too_much_is_held_and_nothing_is_added() -> None:
    verdict = judged(people(100), people(301))
    assert verdict.reasons == ("grows from 100 to 301, limit 3 times",)
    assert verdict.published == set(people(100))


@pytest.mark.parametrize(("before", "after"), [(100, 300), (10, 110)])
def test_growth_needs_both_the_factor_and_a_hundred_more(before: int, after: int) -> None:
    assert not judged(people(before), people(after)).reasons


def test_nothing_is_added_beyond_max_recipients() -> None:
    settings = ACME._replace(max_recipients=100)
    verdict = judged(people(99), people(101), settings)
    assert verdict.reasons == ("101 recipients, limit 100",)
    assert verdict.published == set(people(99))


def test_a_list_accepted_beyond_max_recipients_may_shrink() -> None:
    assert not judged(people(120), people(119), ACME._replace(max_recipients=100)).reasons


def test_twenty_small_cuts_are_held_as_one_big_one() -> None:
    """Each takes 1 %, against a reference that stays the largest list of the week."""
    in_force, passed = people(1000), 0
    for cut in range(1, 21):
        verdict = judged(in_force, people(1000 - 10 * cut), reference=people(1000))
        passed += not verdict.reasons
        in_force = sorted(verdict.published)
    assert passed == 10
    assert len(in_force) == 900


def test_shrinking_is_judged_by_the_reference_and_kept_back_counts_from_the_list_in_force() -> None:
    verdict = judged(people(91), people(88), reference=people(100))
    assert verdict.reasons == ("12.0 % would go (12 of 100), limit 10 %",)
    assert verdict.kept_back == set(people(91)[88:])


@pytest.mark.parametrize("always", ["postmaster@acme.example", "helpdesk@acme.example"])
def test_what_is_always_listed_does_not_count(always: str) -> None:
    settings = ACME._replace(include=("helpdesk@acme.example",), shrink_floor=0)
    assert not judged([*people(9), always], people(9), settings).reasons
    assert judged([*people(1), always], [always], settings).reasons[-1].endswith("left with none of its 1")


def test_addresses_in_a_domain_that_is_no_longer_the_customers_go_without_a_word() -> None:
    before = [*people(10), *people(90, "sold.example")]
    assert judged(before, people(10)) == Verdict(frozenset(people(10)), frozenset(), ())


def test_a_held_list_does_not_bring_a_domain_back_that_is_no_longer_the_customers() -> None:
    verdict = judged([*people(10), "x@sold.example"], people(1))
    assert verdict.published == set(people(10))


def test_the_domain_is_what_stands_behind_the_last_at() -> None:
    quoted: Any = '"a@sold.example"@acme.example'
    assert judged([*people(100), quoted], people(100)).published == set(people(100))
    assert not judged([], [quoted]).reasons


def test_all_reasons_are_named_at_once() -> None:
    settings = TWO._replace(canaries=("user00099@acme.example",))
    verdict = judged(people(100), [*people(50), "new@acme.co.example"], settings, ["acme.example"])
    assert verdict.reasons == (
        "50.0 % would go (50 of 100), limit 10 %",
        "canary user00099@acme.example is missing",
        "first list of acme.co.example (1)",
    )
