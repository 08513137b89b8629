"""Pages of the database that cannot be read: lists go on, nobody is removed, and an alarm names the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.postgres import Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"


@pytest.mark.parametrize("table", ["lists", "log", "gone"])
def test_a_page_that_cannot_be_read_keeps_no_list_from_going_on(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, table: str
) -> None:
    assert upload(one, people(99)).did == "published"
    empty.damage_pages(table)
    assert not run_follow(follower, 2_000_001_000).why
    assert follower.in_force() == set(people(100 if table == "lists" else 99)), "a list that is not read is not taken"
    outcome = upload(one, [*people(98), NEW])
    assert (outcome.code, outcome.did) == (0, "published"), outcome.line
    followed = run_follow(follower, 2_000_002_000)
    assert (followed.why, dict(followed.wrong)) == ("", {})
    assert follower.in_force() == one.in_force() == {*people(98), NEW}
    assert notes(one).count(f"its table {table}") == 1
    assert notes(follower).count(f"its table {table}") == 1


def test_a_list_on_a_damaged_page_is_written_anew_for_relays_that_never_had_it(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    empty.damage_pages("lists")
    anew = relay(tmp_path / "anew", empty, uploads=False)
    assert "damaged" in run_follow(anew).wrong["acme"]
    assert not run_follow(one, 2_000_001_000).wrong
    assert not run_follow(anew, 2_000_002_000).wrong
    assert anew.in_force() == follower.in_force() == set(people(100))


def test_a_row_on_a_damaged_page_keeps_everybody_and_an_emptied_table_is_the_cure(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    empty.damage_pages("heads")
    outcome = upload(one, [*people(99), NEW])
    assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
    for each in (one, follower):
        assert "cannot read what is on its disk" in run_follow(each, 2_000_001_000).wrong["acme"]
    assert follower.in_force() == set(people(100))
    empty.sql("TRUNCATE postern.heads")
    assert upload(one, [*people(99), NEW]).did == "published"
    assert not run_follow(follower, 2_000_002_000).wrong
    assert follower.in_force() == one.in_force() == {*people(99), NEW}
