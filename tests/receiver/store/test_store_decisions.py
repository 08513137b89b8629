"""A person's decision on one upload relay holds on every relay, and may be repeated on another."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.actions import review
from receiver.lists import list_file
from receiver.lists.review_record import ReviewRecord, encode_record, load_record
from receiver.store.relay_heads import read_heads
from tests.support import postgres
from tests.support.postgres import Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"


@pytest.fixture
def fleet(tmp_path: Path, empty: Postgres) -> list[SmallRelay]:
    """Two upload relays and a follower with a list of a hundred; the held list would remove fifty of them."""
    made = [relay(tmp_path / name, empty, uploads=name != "follower") for name in ("one", "two", "follower")]
    accept_first(made[0], people(100))
    assert upload(made[0], people(50)).did == "held"
    follow_all(made)
    return made


def follow_all(fleet: list[SmallRelay]) -> None:
    for each in fleet:
        followed = run_follow(each)
        assert (followed.why, dict(followed.wrong)) == ("", {})


def admin(of: SmallRelay, *arguments: str) -> dict[str, Any]:
    done: subprocess.CompletedProcess[bytes] = of.admin(*arguments, "--json")
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def accept(of: SmallRelay) -> tuple[str, ...]:
    """Review what is held; return the command that accepts it."""
    return tuple(admin(of, "review", "acme")["command"].split())


def test_what_is_held_on_one_upload_relay_is_accepted_on_another(fleet: list[SmallRelay]) -> None:
    one, two, follower = fleet
    assert two.in_force() == follower.in_force() == set(people(100))
    assert admin(two, *accept(two))["did"] == "published"
    follow_all(fleet)
    assert one.in_force() == two.in_force() == follower.in_force() == set(people(50))


def test_an_accept_that_is_asked_again_elsewhere_is_done_already(fleet: list[SmallRelay]) -> None:
    one, two, _ = fleet
    command = accept(one)
    assert admin(one, *command)["did"] == "published"
    follow_all(fleet)
    again = admin(two, *command)
    assert (again["code"], again["did"], again["notes"]) == (0, "unchanged", ["done already"])


def test_an_accept_that_a_sibling_took_just_now_is_done_already(fleet: list[SmallRelay]) -> None:
    """`inv accept` asks all upload relays at once; one of them is second, and still has what was held."""
    one, two, _ = fleet
    command, same = accept(one), accept(two)
    assert command == same
    assert admin(one, *command)["did"] == "published"
    again = admin(two, *command)
    assert (again["code"], again["did"], again["notes"]) == (0, "unchanged", ["done already"])
    assert two.in_force() == set(people(50))


def test_a_review_of_one_upload_relay_is_accepted_on_another_that_was_not_reached(
    fleet: list[SmallRelay],
) -> None:
    one, two, follower = fleet
    record = make_record(one)
    stdin = encode_record(record)
    point = head_of(one)
    assert one.admin("record-review", "acme", "--json", stdin=stdin).returncode == 0
    log = (one.folder / "log").read_bytes()
    follow_all(fleet)
    assert (head_of(one), (one.folder / "log").read_bytes()) == (point, log), "it moves no point and logs nothing"
    assert upload(one, people(50)).did == "held", "a list that is held later keeps it"
    taken = admin(two, *record.command("acme").split())
    assert taken["did"] == "published", taken["why"]
    follow_all(fleet)
    assert one.in_force() == two.in_force() == follower.in_force() == set(people(50))
    assert not (one.folder / "held" / "review.json").exists()


def test_a_review_lies_beside_the_head_however_many_it_names_and_is_written_again_where_the_store_lost_it(
    fleet: list[SmallRelay], empty: Postgres
) -> None:
    one, two, _ = fleet
    record = make_record(one)._replace(listed=frozenset(people(40_000, "acme.co.example")))
    assert one.admin("record-review", "acme", "--json", stdin=encode_record(record)).returncode == 0
    assert empty.sql("SELECT length(head) < 5000 FROM postern.heads") == [(True,)]
    empty.sql("DELETE FROM postern.lists WHERE hash = %s", (list_file.digest(encode_record(record)),))
    follow_all(fleet)
    assert load_noted(two) == load_noted(one) == record
    assert admin(two, *record.command("acme").split())["did"] == "published"
    follow_all(fleet)
    assert empty.sql("SELECT count(*) FROM postern.lists WHERE length(body) > 20000") == [(0,)], "it is gone again"


def make_record(of: SmallRelay) -> ReviewRecord:
    """Return what a review of the held list by all relays comes to, where one has no log."""
    with of.spool() as spool:
        found = review.review_held(spool, of.settings, int(time.time()))
    return ReviewRecord(found.held.list, 50, going=found.effect.going, unseen=("no log",), relays=1)


def load_noted(of: SmallRelay) -> ReviewRecord | None:
    with of.spool() as spool:
        return load_record(spool.folder)


def test_a_review_while_the_database_is_down_is_recorded_here_and_says_so(
    fleet: list[SmallRelay], empty: Postgres
) -> None:
    one, two, _ = fleet
    record = make_record(one)
    empty.stop()
    try:
        noted = one.admin("record-review", "acme", "--json", stdin=encode_record(record))
    finally:
        empty.start()
    assert noted.returncode == 0
    assert json.loads(noted.stdout)["unshared"]
    assert admin(two, *record.command("acme").split())["code"] == 2, "it was not asked and cannot know of it"
    assert admin(one, *record.command("acme").split())["did"] == "published"


def test_two_accepts_at_once_are_both_well(fleet: list[SmallRelay]) -> None:
    one, two, _ = fleet
    commands = {one: accept(one), two: accept(two)}
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda each: admin(each, *commands[each]), (one, two)))
    assert [answer["code"] for answer in answers] == [0, 0], answers
    assert sorted(str(answer["did"]) for answer in answers) == ["published", "unchanged"]
    assert one.in_force() == two.in_force() == set(people(50))


def test_a_rollback_and_a_resume_that_all_upload_relays_are_asked_for_at_once_are_well(
    fleet: list[SmallRelay],
) -> None:
    one, two, _ = fleet
    assert upload(one, [*people(100), NEW]).did == "published"
    follow_all(fleet)
    name = next(each["list"] for each in admin(one, "history", "acme")["history"] if each["back"] == 1)
    for words in (("rollback", "acme", "--list", name, "--removing", "1"), ("resume", "acme")):
        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(partial(ask_desk, words), (one, two)))
        assert [answer["code"] for answer in answers] == [0, 0], answers
        assert "unchanged" in {answer["did"] for answer in answers}
        assert one.in_force() == two.in_force() == set(people(100))
        follow_all(fleet)


def head_of(of: SmallRelay) -> str:
    with of.spool() as spool:
        (tip,) = read_heads(spool)
        return tip.head.point


def ask_desk(words: Sequence[str], of: SmallRelay) -> dict[str, Any]:
    return admin(of, *words)


def test_an_accept_without_the_database_changes_nothing_and_ends_with_75(
    fleet: list[SmallRelay], server: Postgres
) -> None:
    one = fleet[0]
    command = accept(one)
    join(one, server, is_dead=True)
    assert admin(one, *command)["code"] == 75
    assert one.in_force() == set(people(100))
    join(one, server)
    assert admin(one, *command)["code"] == 0
    assert one.in_force() == set(people(50))


def test_a_follower_refuses_a_decision_and_says_who_takes_it(fleet: list[SmallRelay]) -> None:
    answer = admin(fleet[2], "rollback", "acme")
    assert (answer["code"], "upload relays" in answer["why"]) == (2, True)


def test_a_rollback_freezes_every_relay_until_resume_on_another(fleet: list[SmallRelay]) -> None:
    one, two, follower = fleet
    assert upload(one, [*people(100), NEW]).did == "published"
    assert admin(one, "rollback", "acme", "--removing", "1")["code"] == 0
    follow_all(fleet)
    assert follower.in_force() == set(people(100))
    assert (follower.folder / "pinned.json").exists()
    assert upload(two, [*people(100), NEW]).did == "pinned"
    follow_all(fleet)
    assert admin(two, "resume", "acme")["code"] == 0
    follow_all(fleet)
    assert one.in_force() == follower.in_force() == {*people(100), NEW}
    assert not (follower.folder / "pinned.json").exists()


def test_whom_a_rollback_brought_back_stays_until_a_person_accepts(fleet: list[SmallRelay]) -> None:
    one, two, follower = fleet
    assert upload(one, people(99)).did == "published"
    follow_all(fleet)
    entry = next(each["entry"] for each in admin(two, "history", "acme")["log"] if each["removed"] == 1)
    assert admin(two, "rollback", "acme", "--entry", entry)["did"] == "published"
    follow_all(fleet)
    assert follower.in_force() == set(people(100))
    assert upload(one, people(99)).did == "held"
    assert one.in_force() == set(people(100))


def test_open_without_the_database_opens_here_and_later_everywhere(fleet: list[SmallRelay], server: Postgres) -> None:
    one, two, follower = fleet
    join(one, server, is_dead=True)
    assert admin(one, "open", "acme")["code"] == 0
    assert not one.accepted()
    assert follower.accepted()
    join(one, server)
    follow_all(fleet)
    follow_all(fleet)
    assert not two.accepted()
    assert not follower.accepted()
