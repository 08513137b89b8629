"""Failures of a store, one by one, on a real PostgreSQL: no listed recipient is ever missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.settings import BadSettings
from lab.waiting import HANGS, wait_until
from receiver.outcome import Busy, Refused
from receiver.store import operator
from receiver.store.alarms import SILENT, find_alarms
from receiver.store.connection import Connection, Unclear, Unreached
from receiver.store.follow import FollowRecord
from receiver.timer import run_timer
from tests.support import postgres
from tests.support.postgres import STORE, Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, access, ask, notes, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))
NEW = "new@acme.example"


@pytest.mark.parametrize("at", ["connected", "locked", "written", "before-commit"])
def test_a_connection_cut_at_any_step_adds_and_removes_nobody(one: SmallRelay, empty: Postgres, at: str) -> None:
    def cut(step: str) -> None:
        if step == at:
            empty.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'")

    outcome = upload(one, [*people(99), NEW], cut)
    assert (outcome.code, outcome.added, outcome.removed) == (75, 1, 0), outcome.line
    assert one.in_force() == {*people(100), NEW}
    assert upload(one, [*people(99), NEW]).did == "published"
    assert one.in_force() == {*people(99), NEW}


def test_an_unclear_commit_is_settled_by_the_next_upload(one: SmallRelay) -> None:
    def lose(step: str) -> None:
        if step == "after-commit":
            raise Unclear("the answer was lost")

    assert upload(one, [*people(99), NEW], lose).code == 75
    assert one.in_force() == {*people(100), NEW}
    assert upload(one, [*people(99), NEW]).code == 0
    assert one.in_force() == {*people(99), NEW}


def test_a_standby_that_is_silent_makes_a_commit_unclear_and_keeps_nobody_from_following(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    (empty.data / "postgresql.auto.conf").write_text("synchronous_standby_names = 'nobody'\n")
    empty.sql("SELECT pg_reload_conf()")
    try:
        outcome = upload(one, [*people(99), NEW], seconds=3.0)
        assert not run_follow(follower, 2_000_001_000).why
    finally:
        empty.stop()
        (empty.data / "postgresql.auto.conf").write_text("")
        empty.start()
    assert outcome.code == 75, outcome.line
    assert "unclear" in outcome.why
    assert one.in_force() == {*people(100), NEW}
    assert upload(one, [*people(99), NEW]).code == 0
    assert one.in_force() == {*people(99), NEW}


def test_a_backup_of_yesterday_takes_nobody_away(one: SmallRelay, follower: SmallRelay, empty: Postgres) -> None:
    yesterday = empty.back_up()
    assert upload(one, [*people(100), NEW]).did == "published"
    assert not run_follow(follower).why
    empty.restore(yesterday)
    assert not run_follow(follower, 2_000_001_000).why
    assert NEW in follower.in_force()
    assert not run_follow(one).why
    assert "put back" in notes(one)
    run_follow(follower, 2_000_002_000)
    assert follower.in_force() == {*people(100), NEW}


@pytest.mark.parametrize("tables", [["heads"], ["lists"], ["log", "gone"], ["heads", "lists", "log", "gone"]])
def test_emptied_tables_take_nobody_away(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, tables: list[str]
) -> None:
    for name in tables:
        empty.sql(f"DELETE FROM postern.{name}")
    run_follow(follower, 2_000_001_000)
    assert follower.in_force() == set(people(100))
    assert upload(one, [*people(100), NEW]).did == "published"
    run_follow(follower, 2_000_002_000)
    assert follower.in_force() == {*people(100), NEW}


def test_a_store_without_its_id_is_not_taken_until_a_person_writes_it(one: SmallRelay, empty: Postgres) -> None:
    empty.sql("DELETE FROM postern.store")
    try:
        assert "no id" in run_follow(one).why
        assert upload(one, [*people(99), NEW]).code == 75
        assert ask(one, "store", "init")["id"] == STORE
        assert not run_follow(one).why
    finally:
        empty.sql("DELETE FROM postern.store")
        empty.sql("INSERT INTO postern.store (id, format) VALUES (%s, 1)", (STORE,))


@pytest.mark.parametrize(
    ("change", "said"), [("format = 2", "newer release"), ("id = 'someone-elses'", "another store")]
)
def test_a_store_that_is_not_ours_or_newer_is_not_taken(
    one: SmallRelay, empty: Postgres, change: str, said: str
) -> None:
    empty.sql(f"UPDATE postern.store SET {change}")
    try:
        outcome = upload(one, [*people(99), NEW])
        why = run_follow(one).why
    finally:
        empty.sql("UPDATE postern.store SET id = %s, format = 1", (STORE,))
    assert outcome.code == 75
    assert said in outcome.why
    assert said in why
    assert one.in_force() == {*people(100), NEW}


def test_a_damaged_row_and_a_damaged_list_are_written_again(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    empty.sql("UPDATE postern.heads SET digest = 'x'")
    assert "damaged" in run_follow(follower, 2_000_001_000).wrong["acme"]
    assert not run_follow(one).wrong
    empty.sql("UPDATE postern.lists SET body = '\\x00'")
    assert not run_follow(follower, 2_000_002_000).wrong, "a relay that has a list does not read it again"
    anew = relay(tmp_path / "anew", empty, uploads=False)
    assert "damaged" in run_follow(anew).wrong["acme"]
    assert not run_follow(one, 2_000_003_000).wrong
    for each in (anew, follower):
        assert not run_follow(each, 2_000_004_000).wrong
        assert each.in_force() == set(people(100))


def test_attack_an_old_list_replayed_under_its_head_fits_no_hash(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    old = empty.sql("SELECT body FROM postern.lists")
    assert upload(one, [*people(99), NEW]).did == "published"
    empty.sql("UPDATE postern.lists SET body = %s", old[0])
    assert "damaged" in run_follow(follower, 2_000_001_000).wrong["acme"]
    assert follower.in_force() == set(people(100))
    assert not run_follow(one, 2_000_002_000).wrong
    assert not run_follow(follower, 2_000_003_000).wrong
    assert follower.in_force() == {*people(99), NEW}


def test_attack_a_readers_credentials_write_no_list(one: SmallRelay, follower: SmallRelay) -> None:
    denied = pytest.raises(Unreached, match="permission denied")
    with access(follower).connect() as connection, denied, connection.write_transaction():
        connection.ask("UPDATE postern.heads SET head = ''")


def test_two_uploads_at_once_end_as_one_after_the_other(tmp_path: Path, one: SmallRelay, empty: Postgres) -> None:
    two = relay(tmp_path / "two", empty)
    run_follow(two)
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda each: upload(each, [*people(99), NEW]).code, (one, two)))
    assert set(ended) <= {0, 75}
    for each in (one, two):
        assert upload(each, [*people(99), NEW]).code == 0
        assert each.in_force() == {*people(99), NEW}


def test_a_relay_back_from_an_old_snapshot_brings_its_leavers_to_nobody(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay
) -> None:
    shutil.copytree(follower.var, tmp_path / "snapshot")
    assert upload(one, [*people(99), NEW]).did == "published"
    run_follow(follower, 2_000_001_000)
    shutil.rmtree(follower.var)
    shutil.copytree(tmp_path / "snapshot", follower.var)
    run_follow(follower, 2_000_002_000)
    assert follower.in_force() == {*people(99), NEW}


def test_a_relay_made_anew_takes_the_stores_list(one: SmallRelay, tmp_path: Path, empty: Postgres) -> None:
    anew = relay(tmp_path / "anew", empty)
    assert not run_follow(anew).why
    assert anew.in_force() == set(people(100))
    assert upload(anew, [*people(99), NEW]).did == "published"


def test_two_lists_of_before_there_was_a_store_are_united(tmp_path: Path, one: SmallRelay, empty: Postgres) -> None:
    two = relay(tmp_path / "two", empty)
    accept_first(two, [*people(50), NEW])
    run_follow(two)
    assert two.in_force() == {*people(100), NEW}
    assert "merged" in notes(two)
    run_follow(one, 2_000_001_000)
    assert one.in_force() == two.in_force()


def test_a_tree_of_other_settings_adds_and_removes_nobody(one: SmallRelay) -> None:
    given = '{"hash": "h2", "holds": ["domain:acme.example"], "domains": ["acme.example"]}'
    assert _ask_with(one, given, "store", "settings", "acme")["number"] == 1
    outcome = upload(one, [*people(99), NEW])
    assert (outcome.code, outcome.removed) == (75, 0)
    assert "inv provision acme" in outcome.why
    (Path(one.places.tree("acme")) / "store.json").write_text('{"postern": 1, "number": 1, "hash": "h2"}')
    assert upload(one, [*people(99), NEW]).did == "published"


def test_settings_that_lack_what_the_store_has_are_refused_by_name(one: SmallRelay) -> None:
    first = '{"hash": "h1", "holds": ["canary:a", "domain:x"], "domains": ["acme.example"]}'
    assert _ask_with(one, first, "store", "settings", "acme")["code"] == 0
    second = '{"hash": "h2", "holds": ["domain:x"], "domains": ["acme.example"]}'
    answer = _ask_with(one, second, "store", "settings", "acme")
    assert (answer["code"], answer["lacking"]) == (2, ["canary:a"])
    third = second.replace('"holds"', '"removing": ["canary:a"], "holds"')
    assert _ask_with(one, third, "store", "settings", "acme")["number"] == 2


def test_an_opened_domain_opens_on_every_relay(one: SmallRelay, follower: SmallRelay) -> None:
    assert ask(one, "store", "open", "acme", "acme.example")["opened"] == ["acme.example"]
    run_follow(follower, 2_000_001_000)
    assert not follower.accepted()
    assert not one.accepted()


def test_an_upload_relay_that_is_lost_leaves_its_list_by_a_merge(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    yesterday = empty.back_up()
    upload(one, [*people(100), NEW])
    run_follow(follower, 2_000_001_000)
    empty.restore(yesterday)
    two = relay(tmp_path / "two", empty)
    run_follow(two)
    printed = ask(follower, "store", "heads", "acme")
    assert _ask_with(two, printed, "store", "merge", "acme")["total"] == 101
    run_follow(follower, 2_000_002_000)
    assert two.in_force() == follower.in_force() == {*people(100), NEW}


def test_a_follower_takes_what_an_upload_relay_added_while_the_database_was_down(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    join(one, empty, is_dead=True)
    assert upload(one, [*people(99), NEW]).code == 75
    assert _ask_with(follower, ask(one, "store", "heads", "acme"), "store", "merge", "acme")["total"] == 101
    assert follower.in_force() == {*people(100), NEW}
    join(one, empty)
    assert upload(one, [*people(99), NEW]).did == "published"
    run_follow(follower, 2_000_001_000)
    assert follower.in_force() == {*people(99), NEW}
    assert not run_follow(follower, 2_000_002_000).beside


def test_forgetting_names_who_goes_and_wants_their_number(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    yesterday = empty.back_up()
    upload(one, [*people(100), NEW])
    run_follow(follower, 2_000_001_000)
    empty.restore(yesterday)
    answer = ask(follower, "store", "forget", "acme")
    assert (answer["code"], answer["going"]) == (2, [NEW])
    assert NEW in follower.in_force()
    assert ask(follower, "store", "forget", "acme", "--removing", "1")["code"] == 0
    assert follower.in_force() == set(people(100))


def test_forgetting_lets_nobody_go_who_came_after_the_count(
    one: SmallRelay, follower: SmallRelay, empty: Postgres
) -> None:
    yesterday = empty.back_up()
    upload(one, [*people(100), NEW])
    run_follow(follower, 2_000_001_000)
    empty.restore(yesterday)
    late = "late@acme.example"
    join(one, empty, is_dead=True)
    assert upload(one, [*people(100), NEW, late]).code == 75
    heads = ask(one, "store", "heads", "acme")

    def bring(step: str) -> None:
        if step == "connected":
            assert _ask_with(follower, heads, "store", "merge", "acme")["total"] == 102

    with follower.spool() as spool, pytest.raises(Busy, match="has changed just now"):
        operator.forget_heads(access(follower, bring), spool, 1)
    assert follower.in_force() == {*people(100), NEW, late}


def test_a_relay_that_has_not_followed_for_an_hour_is_one_alarm(one: SmallRelay) -> None:
    run = os.open(one.places.run, os.O_RDONLY)
    silent = FollowRecord(reached=1_000_000, tried=1_000_000 + SILENT + 1, why="it is down")
    found = list(find_alarms(access(one), run, silent, 1_000_000 + SILENT + 1))
    assert ["not followed" in text for customer, _, text in found if not customer] == [True]
    sooner = find_alarms(access(one), run, silent, 1_000_000 + SILENT - 1)
    assert not [text for customer, _, text in sooner if not customer]


def test_a_held_list_is_an_alarm_of_upload_relays_alone(one: SmallRelay, follower: SmallRelay) -> None:
    assert upload(one, people(50)).did == "held"
    run_follow(follower, 2_000_001_000)
    told = [run_timer(each.places, each.tables, int(time.time())).record["alarms"] for each in (one, follower)]
    assert ["held since" in " ".join(each) for each in told] == [True, False]


def test_status_says_what_the_store_and_the_relay_have(one: SmallRelay, follower: SmallRelay) -> None:
    answer = ask(follower, "store", "status")
    assert answer["reached"]
    customer = answer["customers"]["acme"]
    assert customer["store"]["total"] == customer["here"][0]["total"] == 100
    assert customer["store"]["point"] == customer["here"][0]["point"]


def test_a_dead_database_leaves_status_and_follow_answering(one: SmallRelay, empty: Postgres) -> None:
    join(one, empty, is_dead=True)
    assert not ask(one, "store", "status")["reached"]
    assert ask(one, "follow")["code"] == 0


def test_a_network_that_hangs_is_given_up(one: SmallRelay, empty: Postgres) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        service = Path(one.places.store) / "service.conf"
        port = silent.getsockname()[1]
        service.write_text(service.read_text().replace(f"port={empty.port}", f"port={port}"))
        began = time.monotonic()
        with pytest.raises(Busy, match="cannot be reached"):
            access(one).connect()
    assert time.monotonic() - began < 120


def test_the_watchdog_ends_a_connection_on_which_nothing_moves(one: SmallRelay) -> None:
    with access(one, seconds=0.5).connect() as connection, pytest.raises(Unreached), connection.read_transaction():
        connection.ask("SELECT pg_sleep(3)")


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca"])
def test_a_service_that_checks_no_host_name_is_refused(one: SmallRelay, mode: str) -> None:
    service = Path(one.places.store) / "service.conf"
    service.write_text(service.read_text().replace("verify-full", mode))
    with pytest.raises(BadSettings, match="verify-full"):
        access(one).connect()


def test_attack_a_server_of_another_authority_is_not_believed(one: SmallRelay, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    postgres.write_certificates(other)
    service = Path(one.places.store) / "service.conf"
    lines = service.read_text().splitlines()
    service.write_text(
        "\n".join(line if "sslrootcert" not in line else f"sslrootcert={other}/ca.pem" for line in lines)
    )
    with pytest.raises(Unreached, match=r"SSL|certificate"):
        access(one).connect()


def test_migrating_again_finds_nothing_missing_and_another_id_is_refused(server: Postgres) -> None:
    assert server.migrate() == []
    with pytest.raises(Refused, match="another store"):
        server.migrate("another-store")


def test_migrating_waits_for_nobody_for_ever_and_says_so(server: Postgres) -> None:
    with server.holding("LOCK TABLE postern.store"), pytest.raises(Unreached, match="another relay is writing there"):
        server.migrate()
    with ThreadPoolExecutor() as pool, server.holding("LOCK TABLE postern.store"):
        ended = pool.submit(server.migrate, seconds=3.0)
        waits = "usename = 'owner' AND wait_event_type = 'Lock'"
        wait_until(lambda: bool(server.sql(f"SELECT 1 FROM pg_stat_activity WHERE {waits}")))
        said = pytest.raises(Unreached, match="nothing came for 3 s, and the connection was ended")
        with server.stopped_backends(waits), said:
            ended.result(timeout=HANGS)


def test_variables_of_the_environment_decide_nothing(one: SmallRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "203.0.113.9")
    monkeypatch.setenv("PGSSLMODE", "disable")
    with access(one).connect() as connection:
        assert isinstance(connection, Connection)
    assert "PGHOST" not in os.environ


def _ask_with(of: SmallRelay, stdin: object, *arguments: str) -> dict[str, object]:
    given = stdin if isinstance(stdin, str) else json.dumps(stdin)
    return dict(ask(of, *arguments, stdin=given.encode()))
