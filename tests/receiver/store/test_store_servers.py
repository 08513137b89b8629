"""Servers around the database: a standby that takes over, two primaries, pgbouncer, a full disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lab.waiting import wait_until
from tests.support import postgres
from tests.support.database_servers import PGBOUNCER, fill_up, frozen, join_hosts, pgbouncer, small_disk, standby
from tests.support.postgres import STORE, Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, access, notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW, OTHER = "new@acme.example", "other@acme.example"
NOW = 2_000_000_000


@pytest.mark.long
def test_a_standby_that_lacked_the_last_uploads_takes_nobody_away_and_neither_does_the_old_primary(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    """Fail-over, then both are primaries for a while, each with an upload relay; then the old one is gone."""
    two = relay(tmp_path / "two", empty)
    with standby(empty) as other:
        fleet = [one, two, follower]
        for each in fleet:
            join_hosts(each, other, empty)
        assert not run_follow(two).why, "the standby is passed over"
        other.stop()
        assert upload(one, [*people(99), NEW]).did == "published"
        assert not run_follow(follower, NOW + 1_000).why
        empty.stop()
        other.start()
        other.call("pg_ctl", "-D", str(other.data), "-w", "promote")
        assert not run_follow(follower, NOW + 2_000).why
        assert follower.in_force() == {*people(99), NEW}, "the new primary knows less"
        empty.start()
        join_hosts(one, empty)
        join_hosts(two, other)
        join_hosts(follower, other)
        assert upload(two, [*people(100), OTHER]).did == "published"
        assert upload(one, [*people(98), NEW]).did == "published"
        run_follow(follower, NOW + 3_000)
        assert follower.in_force() >= {*people(99), NEW, OTHER}
        join_hosts(one, other)
        assert not run_follow(one, NOW + 4_000).why
        assert "merged" in notes(one)
        for each in fleet:
            assert not run_follow(each, NOW + 5_000).wrong
        assert one.in_force() == two.in_force() == follower.in_force() == {*people(100), NEW, OTHER}
        assert upload(two, [*people(97), NEW]).did == "published"
        assert two.in_force() == {*people(97), NEW}


@pytest.fixture
def pooled(tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres) -> Iterator[int]:
    """A pgbouncer between both relays and the database."""
    if not Path(PGBOUNCER).exists():
        pytest.skip("pgbouncer is not installed")
    with pgbouncer(empty) as port:
        for each, role in ((one, "upload"), (follower, "follower")):
            store = Path(each.places.store)
            service = (store / "service.conf").read_text()
            (store / "service.conf").write_text(service.replace(f"port={empty.port}", f"port={port}"))
            (store / "store.json").write_text(json.dumps({"postern": 1, "id": STORE, "role": role, "pooler": True}))
        yield port


def test_through_pgbouncer_lists_go_as_without_and_nothing_stays_set_for_others(
    one: SmallRelay, follower: SmallRelay, pooled: int
) -> None:
    for number in range(3):
        assert upload(one, [*people(99 - number), NEW]).did == "published"
        assert not run_follow(follower, NOW + 1_000 * (number + 1)).why
        assert follower.in_force() == one.in_force() == {*people(99 - number), NEW}
    with access(one).connect() as connection:
        assert connection.ask("SHOW statement_timeout") == connection.ask("SHOW lock_timeout") == [("0",)]


def test_a_database_that_is_frozen_or_down_behind_pgbouncer_holds_nothing_up(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, pooled: int
) -> None:
    assert not run_follow(one).why, "now the pooler has a connection"
    with frozen(empty):
        outcome = upload(one, [*people(99), NEW], seconds=3.0)
        assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
        assert "nothing came for 3 s" in outcome.why
    empty.stop()
    outcome = upload(one, [*people(99), NEW, OTHER], seconds=3.0)
    assert (outcome.code, outcome.added) == (75, 1), outcome.line
    empty.start()
    assert one.in_force() == {*people(100), NEW, OTHER}
    _wait_for_pooler(one)
    assert upload(one, [*people(99), NEW]).code == 0
    assert not run_follow(follower, NOW + 1_000).why
    assert one.in_force() == follower.in_force() == {*people(99), NEW}


def _wait_for_pooler(of: SmallRelay) -> None:
    """Follow until the pooler has found the database again."""
    times = count(NOW + 100_000)
    wait_until(lambda: not run_follow(of, next(times)).why)


def test_a_full_disk_of_the_database_adds_and_loses_nothing(tmp_path: Path, empty: Postgres) -> None:
    made, follower = relay(tmp_path / "one", empty), relay(tmp_path / "follower", empty, uploads=False)
    dice = random.Random(1)
    names = [f"{dice.randbytes(12).hex()}@acme.example" for _ in range(4_000)]
    accept_first(made, names)
    assert upload(made, names).code == 0
    assert not run_follow(follower).why
    try:
        with small_disk(empty, "lists") as disk:
            filler = fill_up(disk)
            outcome = upload(made, [*names[1:], NEW])
            assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
            assert "No space left on device" in outcome.why
            assert not run_follow(follower, NOW + 1_000).why
            assert follower.in_force() == set(names)
            filler.unlink()
            assert upload(made, [*names[1:], NEW]).did == "published"
            assert not run_follow(follower, NOW + 2_000).why
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    assert follower.in_force() == made.in_force() == {*names[1:], NEW}


def test_a_backend_that_is_stopped_during_commit_makes_it_unclear_and_the_next_upload_settles_it(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    stopped: list[int] = []

    def stop(step: str) -> None:
        if step == "before-commit":
            stopped.extend(pid for (pid,) in empty.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'writer'"))
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)

    try:
        outcome = upload(one, [*people(99), NEW], stop, seconds=3.0)
        assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
        assert "unclear whether the store took it: nothing came for 3 s" in outcome.why
        outcome = upload(one, [*people(99), NEW, OTHER])
        assert (outcome.code, outcome.added) == (75, 1), "its row is locked as long"
        assert not run_follow(follower, NOW + 1_000).why, "who only reads does not wait for it"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    empty.settle("writer")
    assert upload(one, [*people(99), NEW, OTHER]).code == 0
    assert not run_follow(follower, NOW + 2_000).wrong
    assert one.in_force() == follower.in_force() == {*people(99), NEW, OTHER}
