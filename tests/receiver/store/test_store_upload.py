"""Uploads through a real PostgreSQL: what the store gets, and what a relay does while the store takes no part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from receiver.upload.judgement import Judgement, judge_export
from tests.support import postgres
from tests.support.postgres import Postgres
from tests.support.small_relay import SmallRelay, export, people
from tests.support.store_relays import accept_first, relay, run_follow, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))


def test_an_upload_is_in_the_store_and_in_force_here_and_at_a_follower(tmp_path: Path, empty: Postgres) -> None:
    one, other = relay(tmp_path / "one", empty), relay(tmp_path / "other", empty, uploads=False)
    accept_first(one, people(100))
    assert one.offer(people(101)).did == "published"
    assert not run_follow(other).why
    assert other.in_force() == one.in_force() >= set(people(101))
    assert other.accepted().keys() == {"acme.example"}


def test_an_upload_while_the_database_is_down_adds_and_removes_nobody(tmp_path: Path, empty: Postgres) -> None:
    one = relay(tmp_path / "one", empty)
    accept_first(one, people(100))
    assert one.offer(people(100)).did == "unchanged"
    empty.stop()
    try:
        outcome = one.offer([*people(99), "new@acme.example"])
    finally:
        empty.start()
    assert (outcome.code, outcome.added) == (75, 1), outcome.line
    assert one.in_force() >= {*people(100), "new@acme.example"}
    assert one.offer([*people(99), "new@acme.example"]).did == "published"
    assert people(100)[-1] not in one.in_force()
    assert "new@acme.example" in one.in_force()


def test_a_list_that_takes_long_to_judge_keeps_no_row_locked_and_is_taken(
    one: SmallRelay, empty: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million addresses took longer than the watchdog's time, within the transaction: each upload ended with 75."""

    def judge_slowly(*arguments: Any) -> Judgement:
        assert empty.sql("SELECT customer FROM postern.heads FOR UPDATE NOWAIT") == [("acme",)]
        time.sleep(3.5)
        return judge_export(*arguments)

    monkeypatch.setattr("receiver.upload.store_upload.judge_export", judge_slowly)
    assert upload(one, [*people(99), "new@acme.example"], seconds=3.0).did == "published"


def test_who_was_published_without_a_store_stays_when_the_store_is_used_again(tmp_path: Path, empty: Postgres) -> None:
    one = relay(tmp_path / "one", empty)
    accept_first(one, people(100))
    assert one.offer(people(100)).did == "unchanged"
    assert (one.folder / "heads.json").exists()
    settings = Path(one.places.store) / "store.json"
    kept = settings.read_bytes()
    settings.unlink()
    assert one.offer(people(130)).did == "published"
    assert one.admin("tick").returncode == 0
    assert not (one.folder / "heads.json").exists(), "an old head would stand for those who are listed"
    settings.write_bytes(kept)
    assert not run_follow(one).why
    assert one.in_force() >= set(people(130))
    assert one.offer(people(100)).did == "held", "judged against those who are listed, not those of an old head"
    assert one.in_force() >= set(people(130))


def test_a_customers_key_uploads_into_the_store(tmp_path: Path, empty: Postgres) -> None:
    one, two = relay(tmp_path / "one", empty), relay(tmp_path / "two", empty)
    accept_first(one, people(100))
    done = one.forced_command("receive", export(people(101)) + b"#postern end\r\n")
    assert done.returncode == 0, done
    assert b"101 recipients (+1 -0)" in done.stdout
    assert not run_follow(two).why
    assert (
        b"101 recipients, unchanged" in two.forced_command("receive", export(people(101)) + b"#postern end\r\n").stdout
    )


def test_a_follower_refuses_uploads_and_says_where_they_go(tmp_path: Path, empty: Postgres) -> None:
    other = relay(tmp_path / "other", empty, uploads=False)
    done = other.forced_command("receive", export(people(3)) + b"#postern end\r\n")
    assert done.returncode == 2, done
    assert b"upload relays" in done.stdout


def test_without_a_store_no_database_driver_is_loaded(tmp_path: Path) -> None:
    made = SmallRelay(tmp_path / "plain")
    code = (
        "from receiver.forced_command import answer_call; import receiver.timer, receiver.admin_cli\n"
        "code = answer_call(places, tables, sys.argv[1:], os.environ)\n"
        "sys.exit(99 if [m for m in sys.modules if m.startswith('psycopg2')] else code)"
    )
    environ = {"SSH_ORIGINAL_COMMAND": "receive"}
    done = made.run(code, "acme", "k1", stdin=export(people(3)) + b"#postern end\r\n", environ=environ)
    assert done.returncode == 3, done
