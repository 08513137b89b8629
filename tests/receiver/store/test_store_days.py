"""A follower that does not reach the store for days, and heads of a later release; time is injected."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial

import pytest

from receiver.formatting import DAY
from receiver.store.connection import load_driver
from receiver.store.head import digest
from receiver.timer import run_timer
from tests.support import postgres
from tests.support.postgres import READER, STORE, TABLES, Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import ask, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"


@pytest.mark.parametrize(("days", "opens"), [(1, ()), (31, ("acme.example",))])
def test_a_follower_that_was_offline_for_days_refuses_nobody_who_is_listed_and_comes_back_by_itself(
    one: SmallRelay,
    follower: SmallRelay,
    empty: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    opens: tuple[str, ...],
) -> None:
    assert not run_follow(follower, int(time.time())).why
    join(follower, empty, uploads=False, is_dead=True)
    today = time.time()
    for day in range(1, days + 1):
        monkeypatch.setattr(time, "time", partial(float, today + day * DAY))
        assert upload(one, [*people(99), f"day{day}@acme.example"]).did == "published"
    now = int(time.time())
    told = ask(follower, "follow")
    assert "has not followed the store" in " ".join(told["alarms"])
    run_timer(follower.places, follower.tables, now)
    assert follower.in_force() == set(people(100))
    assert opened(follower, now) == opens
    join(follower, empty, uploads=False)
    assert not run_follow(follower, now).why
    assert follower.in_force() == one.in_force() == {*people(99), f"day{days}@acme.example"}
    assert opened(follower, now) == opened(one, now)


def test_a_head_of_a_newer_release_is_neither_taken_nor_written_over(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    ((text,),) = empty.sql("SELECT head FROM postern.heads")
    newer = text.replace('"format":1', '"format":2')
    empty.sql("UPDATE postern.heads SET head = %s, digest = %s", (newer, digest(STORE, "acme", newer)))
    outcome = upload(one, [*people(99), NEW])
    assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
    for each in (one, follower):
        assert "newer release" in run_follow(each, 2_000_001_000).wrong["acme"]
    assert follower.in_force() == set(people(100))
    assert empty.sql("SELECT head FROM postern.heads") == [(newer,)]


@pytest.mark.parametrize("table", [name for name in TABLES if name != "relays"])
def test_attack_a_readers_credentials_change_no_table(empty: Postgres, table: str) -> None:
    url = empty.url.replace("owner:o-secret", f"{READER.name}:{READER.password}")
    for statement in (f"DELETE FROM postern.{table}", f"INSERT INTO postern.{table} DEFAULT VALUES"):
        denied = pytest.raises(load_driver().Error, match="permission denied")
        with closing(load_driver().connect(url)) as connection, connection.cursor() as cursor, denied:
            cursor.execute(statement)


def opened(of: SmallRelay, now: int) -> tuple[str, ...]:
    """Return the domains in which a relay rejects nobody."""
    with of.spool() as spool:
        return spool.read_accepted().opens(of.settings, now)
