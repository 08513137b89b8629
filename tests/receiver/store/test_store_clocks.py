"""Clocks an hour apart, and a corrected clock, delay no list and no alarm, and decide nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from receiver.store.alarms import SILENT, find_alarms
from receiver.store.follow import BESIDE, FollowRecord
from tests.support import postgres
from tests.support.postgres import Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import access, notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"
HOUR = 3_600
NOW = 2_000_000_000


@pytest.mark.parametrize("later", [-HOUR, HOUR])
def test_a_database_whose_clock_jumps_delays_no_follower(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, later: int
) -> None:
    assert not run_follow(follower, NOW + 60).why
    with empty.clock(later):
        for number in range(3):
            assert upload(one, [*people(100), f"{number}{NEW}"]).did == "published"
            assert not run_follow(follower, NOW + 120 + number * 60).why
            assert follower.in_force() == one.in_force() == {*people(100), f"{number}{NEW}"}
    assert upload(one, [*people(100), NEW]).did == "published"
    assert not run_follow(follower, NOW + 360).why
    assert follower.in_force() == {*people(100), NEW}


@pytest.mark.parametrize("later", [-HOUR, HOUR])
def test_a_relay_whose_clock_is_put_right_follows_at_once_and_warns_as_soon(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, later: int
) -> None:
    assert not run_follow(follower, NOW + later).why
    assert upload(one, [*people(100), NEW]).did == "published"
    assert not run_follow(follower, NOW + 60).why
    assert follower.in_force() == {*people(100), NEW}
    assert not run_follow(follower, NOW + later).why
    join(follower, empty, uploads=False, is_dead=True)
    assert run_follow(follower, NOW + 120).why
    silent = run_follow(follower, NOW + 180 + SILENT)
    assert "not followed" in alarms_of(follower, silent, NOW + 180 + SILENT)


def test_heads_that_do_not_know_each_other_are_told_in_three_minutes_though_the_clock_was_put_back(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    yesterday = empty.back_up()
    assert upload(one, [*people(100), NEW]).did == "published"
    run_follow(follower, NOW + HOUR)
    empty.restore(yesterday)
    assert upload(relay(Path(one.etc.parent) / "two", empty), [*people(100), "other@acme.example"]).code == 0
    assert run_follow(follower, NOW + HOUR + 60).beside
    run_follow(follower, NOW)
    beside = run_follow(follower, NOW + BESIDE)
    assert "do not know each other" in alarms_of(follower, beside, NOW + BESIDE)


@pytest.mark.parametrize("later", [-HOUR, HOUR])
def test_two_upload_relays_an_hour_apart_judge_one_list(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = relay(tmp_path / "two", empty)
    assert not run_follow(two).why
    for number in range(4):
        with monkeypatch.context() as patch:
            sender = (one, two)[number % 2]
            if sender is two:
                patch.setattr(time, "time", lambda now=time.time: now() + later)
            assert upload(sender, [*people(99 - number), NEW]).did == "published"
        for each in (one, two, follower):
            assert not run_follow(each, NOW + 1_000 * number).wrong
            assert each.in_force() == {*people(99 - number), NEW}
    assert "merged" not in notes(one) + notes(two)


def alarms_of(of: SmallRelay, followed: FollowRecord, now: int) -> str:
    """Return the alarms about the store that a relay raises."""
    run = os.open(of.places.run, os.O_RDONLY)
    try:
        return " ".join(text for _, _, text in find_alarms(access(of), run, followed, now))
    finally:
        os.close(run)
