"""Settings get their number before any tree is written, and a customer who comes back begins with nobody."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import postgres
from tests.support.postgres import Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, ask, notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

GIVEN = {"hash": "h9", "holds": ["domain:acme.example"], "domains": ["acme.example"]}


@pytest.fixture
def retired(tmp_path: Path, empty: Postgres) -> list[SmallRelay]:
    """An upload relay and a follower whose customer was retired; the store still has a list of a hundred."""
    made = [relay(tmp_path / name, empty, uploads=name != "follower") for name in ("one", "follower")]
    accept_first(made[0], people(100))
    for each in made:
        run_follow(each)
        assert each.in_force() == set(people(100))
        shutil.rmtree(each.places.tree("acme"))
        shutil.rmtree(each.folder)
    return made


def number(of: SmallRelay, **given: Any) -> dict[str, Any]:
    return ask(of, "store", "settings", "acme", stdin=json.dumps({**GIVEN, **given}).encode())


def come_back(of: SmallRelay, revision: int) -> None:
    """Write the tree that provision writes once it has the number."""
    of.provision()
    text = json.dumps({"postern": 1, "number": revision, "hash": GIVEN["hash"]})
    (Path(of.places.tree("acme")) / "store.json").write_text(text)


def test_a_customer_who_comes_back_begins_anew_before_any_relay_has_the_tree(retired: list[SmallRelay]) -> None:
    one, follower = retired
    answer = number(one, anew=True, confirmed=True)
    assert answer["code"] == 0
    before = notes(one)
    for each in (follower, one):
        come_back(each, answer["number"])
        run_follow(each)
        assert each.in_force() == set()
        assert not each.accepted()
    assert upload(one, people(100)).did == "held", "whatever comes is a first list"
    assert notes(one) == before, "nothing was merged"


def test_a_list_that_the_store_still_has_is_left_behind_only_when_a_person_knows(retired: list[SmallRelay]) -> None:
    answer = number(retired[0], anew=True)
    assert (answer["code"], answer["listed"]) == (2, 100)
    come_back(retired[1], 1)
    run_follow(retired[1])
    assert retired[1].in_force() == set(people(100)), "nothing was written"


def test_a_relay_that_was_not_reached_when_its_customer_went_opens_when_it_comes_back(
    retired: list[SmallRelay], tmp_path: Path, empty: Postgres
) -> None:
    kept = relay(tmp_path / "kept", empty, uploads=False)
    run_follow(kept)
    assert (kept.in_force(), bool(kept.accepted())) == (set(people(100)), True)
    number(retired[0], anew=True, confirmed=True)
    run_follow(kept, 2_000_001_000)
    assert not kept.accepted()


def test_an_upload_relay_made_anew_numbers_settings_and_keeps_the_stores_list(retired: list[SmallRelay]) -> None:
    one, follower = retired
    answer = number(one, hash="h2")
    assert answer["number"] == 1
    come_back(follower, 1)
    run_follow(follower)
    assert follower.in_force() == set(people(100))
    assert follower.accepted()


def test_nobody_in_force_is_published_once_and_not_at_every_look(retired: list[SmallRelay]) -> None:
    one, _ = retired
    come_back(one, number(one, anew=True, confirmed=True)["number"])
    run_follow(one)
    log = (one.folder / "log").read_bytes()
    run_follow(one, 2_000_001_000)
    assert (one.folder / "log").read_bytes() == log
