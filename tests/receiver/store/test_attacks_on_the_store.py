"""Attackers with a relay's account, a follower's credentials or an upload relay's."""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.lists import list_file
from receiver.lists.held import Held
from receiver.outcome import Origin
from receiver.store.connection import load_driver
from receiver.store.head import digest, new_point
from receiver.store.schema import Role
from receiver.store.upload_watch import find_watched_elsewhere
from receiver.timer import run_timer
from tests.support import postgres
from tests.support.postgres import READER, STORE, WRITER, Postgres
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import ask, notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"


@pytest.fixture
def heartbeats(empty: Postgres) -> Iterator[Postgres]:
    """A database of before heartbeats were bounded."""
    empty.sql("ALTER TABLE postern.relays DROP CONSTRAINT relays_are_short")
    yield empty
    empty.sql("TRUNCATE postern.relays")
    empty.migrate()


def ask_as(role: Role, server: Postgres, statement: str, values: Sequence[str] = ()) -> None:
    """Run a statement with a role's credentials."""
    dsn = f"host=localhost hostaddr=127.0.0.1 port={server.port} dbname=postgres sslmode=require"
    connection = load_driver().connect(f"{dsn} user={role.name} password={role.password}")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
    finally:
        connection.close()


# ---- a follower's credentials


def test_attack_heartbeats_without_number_reach_no_relay(
    one: SmallRelay, follower: SmallRelay, heartbeats: Postgres
) -> None:
    many = "INSERT INTO postern.relays SELECT n || repeat('y', {}), 'upload', 'r', {} FROM generate_series(1, {}) n"
    ask_as(READER, heartbeats, many.format(100_000, "now()", 50))
    ask_as(READER, heartbeats, many.format(1, "now()", 100_000))
    ask_as(READER, heartbeats, many.format(3, "'infinity'", 10))
    for each in (one, follower):
        looked = run_follow(each, int(time.time()))
        assert (looked.why, looked.alive) == ("", ())
        assert (Path(each.places.run) / "follow.json").stat().st_size < 1_000
        status = ask(each, "store", "status")
        assert (status["reached"], status["followed"] > 0) == (True, True)
        assert len(status["relays"]) <= 1_000


def test_attack_a_heartbeat_of_any_length_is_not_taken(server: Postgres) -> None:
    with pytest.raises(load_driver().Error, match="relays_are_short"):
        ask_as(READER, server, "INSERT INTO postern.relays VALUES (repeat('y', 101), 'upload', 'r', now())")


def test_attack_a_heartbeat_of_a_time_to_come_is_none(one: SmallRelay, tmp_path: Path, empty: Postgres) -> None:
    two = relay(tmp_path / "two", empty)
    uploads = {"postern": 1, "number": 0, "hash": "", "uploads": ["one", "two"]}
    (Path(two.places.tree("acme")) / "store.json").write_text(json.dumps(uploads))
    empty.sql("DELETE FROM postern.relays")
    ask_as(READER, empty, "INSERT INTO postern.relays VALUES ('one', 'upload', '9', now() + interval '100 years')")
    now = int(time.time())
    assert run_follow(two, now).alive == ("two",)
    assert find_watched_elsewhere(two.places, ["acme"], now) == frozenset()


@pytest.mark.parametrize("role", [WRITER, READER])
def test_attack_a_role_makes_no_temporary_table_and_keeps_no_connection_for_ever(server: Postgres, role: Role) -> None:
    with pytest.raises(load_driver().Error, match="permission denied to create temporary tables"):
        ask_as(role, server, "CREATE TEMP TABLE t AS SELECT 1")
    ((options,),) = server.sql("SELECT rolconfig FROM pg_roles WHERE rolname = %s", (role.name,))
    assert "idle_session_timeout=15min" in options


# ---- an upload relay's credentials: they may change lists, but no row may stop a relay's programs


HEADS: dict[str, dict[str, Any]] = {
    "what is held is a list": {"held": [1]},
    "what is held is a word": {"held": "x"},
    "what is held has no reasons": {"held": {"list": "x"}},
    "what is held came at no time": {"held": {**Held("x", frozenset(), Origin(10**30), 1, (), {}).fields()}},
    "who froze it is half a character": {"frozen": {"by": "\ud800", "since": 1, "to": "", "seen": ""}},
    "it was frozen at a word": {"frozen": {"by": "x", "since": "x", "to": "", "seen": ""}},
    "it was frozen at no time": {"frozen": {"by": "x", "since": 10**30, "to": "", "seen": ""}},
    "it was frozen by a field of no name": {"frozen": {"\x1b]0;owned\x07": 1}},
    "an open domain is half a character": {"export": {"open_domains": ["\ud800"], "plus_addresses": None}},
    "an open domain is a number": {"export": {"open_domains": [1], "plus_addresses": None}},
    "plus addresses are a word": {"export": {"open_domains": [], "plus_addresses": "x"}},
    "a domain was accepted at no time": {"accepted": {"domains": {"acme.example": 10**30}}},
    "a domain was accepted before all time": {"accepted": {"domains": {"acme.example": -(10**30)}}},
    "who wrote it is half a character": {"by": "\ud800"},
    "who is kept is half a character": {"kept": {"\ud800@acme.example": "a"}},
    "who is kept is a list": {"kept": [1]},
    "a setting is a number": {"settings": {"number": 1, "hash": "x", "holds": [1]}},
    "its own date is none": {"date": 10**30},
    "a date behind it is none": {"past": [["x", -(10**30), "", ""]]},
    "a review is half a character": {"review": {"list": "\ud800"}},
}


@pytest.mark.parametrize("what", HEADS)
def test_attack_a_head_of_the_wrong_shape_is_a_damaged_row_of_that_customer_alone(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, what: str
) -> None:
    head = head_of(one)
    text = json.dumps(on_top(head, **HEADS[what]))
    row = (text, digest(STORE, "acme", text))
    ask_as(WRITER, empty, "UPDATE postern.heads SET head = %s, digest = %s, updated = clock_timestamp()", row)
    looked = run_follow(follower, int(time.time()))
    assert looked.why == ""
    assert "its row in the store cannot be read" in looked.wrong["acme"]
    assert looked.wrong["acme"].isprintable()
    assert follower.in_force() == set(people(100))
    assert head_of(follower) == head
    assert not run_timer(follower.places, follower.tables, int(time.time())).record.get("why")
    outcome = upload(one, [*people(99), NEW])
    assert (outcome.did, "cannot be read" in notes(one)) == ("published", True), outcome.line
    assert not run_follow(follower, int(time.time()) + 60).wrong
    assert follower.in_force() == {*people(99), NEW}


def test_attack_whatever_a_row_holds_no_other_customer_is_kept_from_following(
    follower: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise ArithmeticError("a fault that nobody thought of")

    monkeypatch.setattr("receiver.store.follow.follow_customer", fail)
    looked = run_follow(follower, int(time.time()))
    assert looked.wrong == {"acme": "ArithmeticError: a fault that nobody thought of"}
    assert looked.reached


def test_attack_a_head_of_the_wrong_shape_that_an_upload_relay_has_already_is_healed(one: SmallRelay) -> None:
    bad = on_top(head_of(one), **HEADS["an open domain is half a character"])
    (one.folder / "heads.json").write_text(json.dumps({"postern": 1, "heads": [json.dumps(bad)]}))
    assert upload(one, [*people(99), NEW]).did == "published"
    assert one.in_force() == {*people(99), NEW}
    assert not run_follow(one, int(time.time())).wrong


def test_attack_damaged_files_of_a_spool_take_no_list_away(one: SmallRelay) -> None:
    domains = {"acme.example": int(time.time()), "x.example": 10**30}
    (one.folder / "accepted.json").write_text(json.dumps({"postern": 1, "domains": domains}))
    (one.folder / "pinned.json").write_text(json.dumps({"postern": 1, "since": 10**30, "by": "\ud800"}))
    (one.folder / "last-export.json").write_text(json.dumps({"postern": 1, "open_domains": ["\ud800"]}))
    (one.folder / "heads.json").write_text("{}")
    assert run_follow(one, int(time.time())).wrong == {}
    assert one.in_force() == set(people(100))
    assert not one.accepted(), "the file says nothing any more, so every domain is open"
    assert upload(one, people(100)[1:]).added == 0
    assert one.in_force() == set(people(100))
    assert head_of(one)["frozen"]["by"] == "", "it is frozen all the same"


def test_attack_a_log_entry_of_half_a_character_is_left_out(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    assert upload(one, [*people(99), NEW]).did == "published"
    ((point, text),) = empty.sql("SELECT point, entry FROM postern.log ORDER BY n DESC LIMIT 1")
    entry = json.dumps({**json.loads(text), "by": "\ud800"})
    empty.sql("UPDATE postern.log SET entry = %s WHERE point = %s", (entry, point))
    looked = run_follow(follower, int(time.time()))
    assert (looked.why, looked.wrong) == ("", {})
    assert follower.in_force() == {*people(99), NEW}


def test_attack_half_a_character_that_is_handed_over_is_refused(one: SmallRelay, follower: SmallRelay) -> None:
    bad = on_top(head_of(follower), **HEADS["an open domain is half a character"])
    answer = ask(one, "store", "merge", "acme", stdin=hand_over(bad, people(100)))
    assert answer["code"] == 2
    assert answer["why"].isprintable()


# ---- account postern on a follower


def hand_over(head: dict[str, Any], names: Sequence[str]) -> bytes:
    """Return what `postern store heads` prints where the account has put another list beside a head."""
    text = list_file.encode_recipients(names)
    head = {**head, "list": list_file.digest(text)}
    listed = base64.b64encode(zlib.compress(text)).decode()
    return json.dumps({"customer": "acme", "heads": [{"head": json.dumps(head), "list": listed}]}).encode()


def head_of(of: SmallRelay) -> dict[str, Any]:
    (given,) = ask(of, "store", "heads", "acme")["heads"]
    return dict(json.loads(given["head"]))


def on_top(head: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an invented head that claims to lie on top of another."""
    past = [[head["point"], head["date"], "", ""], *head["past"]]
    return {**head, "point": new_point(), "date": head["date"] + 1, "past": past, "kind": "accept", **changes}


@pytest.mark.parametrize("claim", ["on top", "the same"])
def test_attack_a_follower_that_says_its_list_is_the_newest_takes_nobody_away(
    one: SmallRelay, follower: SmallRelay, tmp_path: Path, empty: Postgres, claim: str
) -> None:
    other = relay(tmp_path / "other", empty, uploads=False)
    run_follow(other)
    head = head_of(follower)
    in_a_year = int(time.time()) + 365 * 86_400
    accepted = {**head["accepted"], "domains": {"acme.example": in_a_year}, "counts": {"acme.example": 10**6}}
    lie = {**(on_top(head) if claim == "on top" else head), "accepted": accepted}
    lie = {**lie, "settings": {"number": 99, "hash": "x", "holds": ["domain:b.example"]}}
    answer = ask(one, "store", "merge", "acme", stdin=hand_over(lie, [NEW]))
    assert answer["code"] == 0, answer
    run_follow(other, int(time.time()))
    assert set(people(100)) <= one.in_force()
    assert one.in_force() == other.in_force()
    assert (NEW in one.in_force()) == (claim == "on top")
    now = head_of(one)
    assert now["accepted"]["domains"]["acme.example"] <= time.time()
    assert now["accepted"]["counts"] == head["accepted"]["counts"]
    assert now["settings"]["number"] == 0
    assert upload(one, people(100)).did in ("published", "unchanged")
    run_follow(other, int(time.time()) + 700)
    assert other.in_force() == set(people(100))


def test_attack_a_follower_that_names_a_domain_as_closed_closes_none(one: SmallRelay, follower: SmallRelay) -> None:
    assert ask(one, "store", "open", "acme", "acme.example")["code"] == 0
    assert ask(one, "store", "merge", "acme", stdin=hand_over(on_top(head_of(follower)), people(1)))["code"] == 0
    assert not one.accepted()
    assert one.in_force() == set(people(100))


def test_attack_a_list_under_the_point_of_another_relays_state_takes_nothing_from_that_relay(
    one: SmallRelay, follower: SmallRelay, tmp_path: Path, empty: Postgres
) -> None:
    other = relay(tmp_path / "other", empty, uploads=False)
    yesterday = empty.back_up()
    upload(one, [*people(100), NEW])
    for each in (follower, other):
        run_follow(each, int(time.time()))
    empty.restore(yesterday)
    two = relay(tmp_path / "two", empty)
    run_follow(two)
    assert ask(two, "store", "merge", "acme", stdin=hand_over(head_of(follower), people(1)))["code"] == 0
    run_follow(other, int(time.time()))
    assert other.in_force() == {*people(100), NEW}
    assert (
        ask(two, "store", "merge", "acme", stdin=json.dumps(ask(other, "store", "heads", "acme")).encode())["code"] == 0
    )
    assert two.in_force() == {*people(100), NEW}


def test_attack_a_follower_takes_nobody_off_another_follower(one: SmallRelay, follower: SmallRelay) -> None:
    assert ask(follower, "store", "merge", "acme", stdin=hand_over(on_top(head_of(one)), [NEW]))["total"] == 101
    assert follower.in_force() == {*people(100), NEW}


def test_a_store_and_an_upload_relay_that_lost_all_take_what_a_follower_has(
    one: SmallRelay, follower: SmallRelay, tmp_path: Path, empty: Postgres
) -> None:
    empty.sql("TRUNCATE postern.heads, postern.lists, postern.lists_anew, postern.log, postern.gone")
    two = relay(tmp_path / "two", empty)
    run_follow(two)
    given = json.dumps(ask(follower, "store", "heads", "acme")).encode()
    assert ask(two, "store", "merge", "acme", stdin=given)["total"] == 100
    run_follow(follower, int(time.time()))
    assert head_of(follower) == head_of(two)
    assert list(two.accepted()) == ["acme.example"]
