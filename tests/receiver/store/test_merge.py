"""The rules by which heads are merged: no number and no clock decides."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from receiver.lists import list_file
from receiver.lists.accepted import Accepted
from receiver.lists.spool import LastExport
from receiver.store.head import (
    BOUND,
    FALLBACK,
    Freeze,
    Head,
    NewerFormat,
    Revision,
    Tip,
    date_on_top,
    decode_head,
    digest,
    encode_head,
    new_point,
    past_of,
)
from receiver.store.merge import find_lost_decisions, is_settled, reconcile, unite

ROUNDS = 300


def tip(
    names: Iterable[str], *parents: Tip, point: str = "", closed: Iterable[str] = (), kind: str = "", by: str = ""
) -> Tip:
    text = list_file.encode_recipients(names)
    accepted = Accepted(dict.fromkeys(closed, 1_000))
    head = Head(point or new_point(), date_on_top(parents, 1_000), list_file.digest(text), accepted, past_of(parents))
    return Tip(head._replace(kind=kind, by="anna" if kind else ""), text)


def points(tips: Iterable[Tip]) -> list[str]:
    return [each.head.point for each in tips]


def test_a_head_that_knows_a_relays_own_replaces_it() -> None:
    first = tip(["a@x"])
    second = tip(["b@x"], first)
    assert points(reconcile([first], second)) == points([second])


def test_a_store_that_went_back_replaces_nothing() -> None:
    first = tip(["a@x"])
    second = tip(["b@x"], first)
    assert points(reconcile([second], first)) == points([second])


def test_two_heads_that_do_not_know_each_other_are_both_in_force() -> None:
    one, other = tip(["a@x"], closed=["x", "y"]), tip(["b@x"], closed=["x"])
    both = unite(reconcile([one], other))
    assert both.recipients == {"a@x", "b@x"}
    assert set(both.head.accepted.domains) == {"x"}


def test_a_store_without_a_head_takes_nothing_away() -> None:
    own = tip(["a@x"])
    assert reconcile([own], None) == (own,)
    assert not is_settled([own], None)


def test_the_next_head_on_top_of_both_ends_both() -> None:
    one, other = tip(["a@x"]), tip(["b@x"])
    merged = tip(["a@x"], one, other)
    assert points(reconcile([one, other], merged)) == points([merged])


def test_an_upload_knows_what_it_fell_back_on() -> None:
    base = tip(["a@x"])
    fallback = tip(["a@x", "b@x"], base, point="1234" + FALLBACK)
    upload = tip(["b@x"], base, point="1234")
    assert points(reconcile([fallback], upload)) == ["1234"]
    assert points(reconcile([fallback], tip(["b@x"], upload, point="5"))) == ["5"]


def test_the_same_point_has_the_later_dates_and_the_higher_settings() -> None:
    own = tip(["a@x"], closed=["x"])
    newer = own.head._replace(accepted=Accepted({"x": 5_000}), settings=Revision(3, "c"))
    found = reconcile([own._replace(head=newer)], own)
    assert found[0].head.accepted.domains == {"x": 5_000}
    assert found[0].head.settings == Revision(3, "c")


def test_a_freeze_of_one_side_is_merged_and_named_so() -> None:
    frozen = tip(["a@x"])
    frozen = frozen._replace(head=frozen.head._replace(frozen=Freeze("anna", 9, "old", "new")))
    both = unite([frozen, tip(["b@x"])])
    assert both.head.frozen == Freeze("anna", 9, "old", "new", is_merged=True)
    assert unite([frozen, frozen]).head.frozen == Freeze("anna", 9, "old", "new")


def test_plus_addresses_are_taken_where_any_side_takes_them() -> None:
    yes, no = tip(["a@x"]), tip(["b@x"])
    yes = yes._replace(head=yes.head._replace(export=LastExport((), True)))
    no = no._replace(head=no.head._replace(export=LastExport(("x",), False)))
    assert unite([no, yes]).head.export == LastExport(("x",), True)


def test_a_decision_that_the_store_lost_is_found_with_its_person() -> None:
    base = tip(["a@x"])
    accepted = tip(["b@x"], base, kind="accept")
    after = tip(["b@x", "c@x"], accepted)
    lost = find_lost_decisions([after], base)
    assert [(each.kind, each.by) for each in lost] == [("accept", "anna")]
    assert find_lost_decisions([base], after) == []


def test_the_past_is_bounded_and_its_newest_stay() -> None:
    head = tip(["a@x"])
    for _ in range(BOUND + 20):
        before, head = head, tip(["a@x"], head)
    assert len(head.head.past) == BOUND
    assert head.head.past[0].point == before.head.point


def test_a_relay_whose_clock_is_behind_keeps_its_points_in_order() -> None:
    ahead = tip(["a@x"])
    ahead = ahead._replace(head=ahead.head._replace(date=1_000_000))
    assert tip(["a@x"], ahead).head.date == 1_000_001


def test_a_head_is_read_back_as_it_was_written() -> None:
    head = tip(["a@x"], tip(["b@x"], kind="accept"), closed=["x"]).head
    head = head._replace(
        kept={"a@x": "ab12"}, frozen=Freeze("a", 1, "b", "c"), settings=Revision(2, "h", ("domain:x",))
    )
    assert decode_head(encode_head(head)) == head
    assert encode_head(head).isascii()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 1}', '{"format": "x"}'])
def test_what_is_no_head_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_head(text)


def test_a_head_of_a_newer_format_is_named_as_such() -> None:
    text = encode_head(tip(["a@x"]).head).replace('"format":1', '"format":2')
    with pytest.raises(NewerFormat, match="newer release"):
        decode_head(text)


def test_attack_a_row_moved_to_another_customer_fits_no_digest() -> None:
    assert digest("store", "acme", "{}") != digest("store", "bolt", "{}")
    assert digest("store", "acme", "{}") != digest("other", "acme", "{}")


def test_nobody_leaves_but_by_a_head_made_on_top_of_what_was_there() -> None:
    """Random histories of three relays and a store that loses data, is restored and splits, checked by an oracle."""
    for seed in range(ROUNDS):
        _check_history(random.Random(seed))


def _check_history(dice: random.Random) -> None:
    relays: list[tuple[Tip, ...]] = [(), (), ()]
    stores: list[Tip | None] = [None]
    behind: dict[str, set[str]] = {}
    for _ in range(30):
        number, found = dice.randrange(3), dice.choice(stores[-4:])
        tips = reconcile(relays[number], found)
        if dice.random() < 0.7:
            names = dice.sample([f"{n}@x" for n in range(9)], dice.randint(1, 9))
            made = tip(names, *tips)
            behind[made.head.point] = set().union(*({each.head.point} | behind[each.head.point] for each in tips))
            stores.append(made)
            tips = (made,)
        for old in relays[number]:
            if not any(old.head.point in behind[each.head.point] for each in tips):
                assert old.recipients <= unite(tips).recipients
        relays[number] = tips
