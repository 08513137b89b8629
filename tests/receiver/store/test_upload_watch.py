"""Of many relays one raises alarms about uploads, and a relay that does not follow says so before a domain opens."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.formatting import DAY
from receiver.store.alarms import SILENT, find_alarms
from receiver.store.follow import FollowRecord, read_followed
from receiver.system import atomic_files
from receiver.timer import run_timer
from tests.support import postgres
from tests.support.postgres import Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import accept_first, access, ask, relay, upload

pytestmark = pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing()))

UPLOADS = ["one", "two"]


@pytest.fixture
def fleet(tmp_path: Path, empty: Postgres) -> list[SmallRelay]:
    """Two upload relays and a follower, all with a list that is held."""
    made = [relay(tmp_path / name, empty, uploads=name != "follower") for name in (*UPLOADS, "follower")]
    for each in made:
        name_uploads(each, UPLOADS)
    accept_first(made[0], people(100))
    follow_all(made)
    assert upload(made[0], people(50)).did == "held"
    follow_all(made)
    return made


def name_uploads(of: SmallRelay, names: Sequence[str]) -> None:
    """Write the file of the tree that names the customer's upload relays."""
    text = json.dumps({"postern": 1, "number": 0, "hash": "", "uploads": names})
    (Path(of.places.tree("acme")) / "store.json").write_text(text)


def follow_all(fleet: Sequence[SmallRelay]) -> None:
    for _ in range(2):  # the first does not see heartbeats later than its own
        for each in fleet:
            ask(each, "follow")


def who_tells(fleet: Sequence[SmallRelay]) -> list[str]:
    """Return the relays that raise an alarm for the held list."""
    now = int(time.time())
    told = {each.etc.parent.name: run_timer(each.places, each.tables, now).record["alarms"] for each in fleet}
    return [name for name, lines in told.items() if any("held since" in line for line in lines)]


def test_the_first_upload_relay_tells_and_no_other(fleet: list[SmallRelay]) -> None:
    assert who_tells(fleet) == ["one"]


def test_the_next_tells_when_the_first_has_had_no_heartbeat_for_an_hour(
    fleet: list[SmallRelay], empty: Postgres
) -> None:
    empty.sql("UPDATE postern.relays SET seen = seen - interval '61 minutes' WHERE name = 'one'")
    ask(fleet[1], "follow")
    assert who_tells(fleet[1:]) == ["two"]


def test_an_upload_relay_of_other_customers_alone_tells_nothing_of_this_one(fleet: list[SmallRelay]) -> None:
    for each in fleet:
        name_uploads(each, ["two"])
    assert who_tells(fleet) == ["two"]


def test_who_cannot_read_or_write_heartbeats_counts_itself_first(fleet: list[SmallRelay], server: Postgres) -> None:
    server.sql("REVOKE INSERT ON postern.relays FROM writer")
    ask(fleet[1], "follow")
    server.sql("GRANT INSERT ON postern.relays TO writer")
    assert who_tells(fleet) == ["one", "two"]
    follow_all(fleet)
    assert who_tells(fleet) == ["one"]
    join(fleet[1], server, is_dead=True)
    ask(fleet[1], "follow")
    assert who_tells(fleet) == ["one", "two"]


@pytest.mark.parametrize("fault", ["its timer runs no more", "its alarms reach nobody"])
def test_the_next_tells_when_nobody_hears_the_first(fleet: list[SmallRelay], empty: Postgres, fault: str) -> None:
    assert who_tells(fleet) == ["one"]
    if fault == "its alarms reach nobody":
        fleet[0].relay(alarm=("/bin/false",))
        (Path(fleet[0].places.run) / "alarms.json").unlink()
        who_tells(fleet[:1])
    else:
        note = Path(fleet[0].places.run) / "timer.json"
        note.write_text(json.dumps({**json.loads(note.read_text()), "ran": int(time.time()) - 3_600}))
    empty.sql("UPDATE postern.relays SET seen = seen - interval '61 minutes'")
    follow_all(fleet)
    assert who_tells(fleet[1:]) == ["two"]
    assert "one" in who_tells(fleet[:1]), "it goes on telling, for whoever reads its log"


def test_a_relay_whose_own_heartbeat_is_old_counts_itself_first(fleet: list[SmallRelay]) -> None:
    later = int(time.time()) + 700  # its minutely run has ended for good
    lines = run_timer(fleet[1].places, fleet[1].tables, later).record["alarms"]
    assert any("held since" in line for line in lines)


def test_not_following_is_an_alarm_at_once_where_a_domain_would_open(fleet: list[SmallRelay]) -> None:
    """A follower comes back after a month, and the database is down."""
    follower, day = fleet[2], int(time.time())
    assert follower.accepted()
    for reached, now, opens in (
        (day, day + 60, False),
        (day, day + SILENT - 1, False),
        (day, day + 31 * DAY, True),
        (day + 30 * DAY - 1_860, day + 30 * DAY - 1_800, True),
    ):
        silent = FollowRecord(reached=reached, tried=now, why="it is down")
        told = _alarms(follower, silent, now)
        assert any("acme.example" in text for text in told) is opens, (reached, now)
        assert bool(told) is (opens or now - reached > SILENT)


def test_a_domain_that_is_open_anyway_makes_no_alarm_sooner(fleet: list[SmallRelay]) -> None:
    follower, now = fleet[2], int(time.time())
    ask(fleet[0], "store", "open", "acme", "acme.example")
    ask(follower, "follow")
    assert not _alarms(follower, FollowRecord(reached=now, tried=now, why="it is down"), now + 60)


def _alarms(of: SmallRelay, followed: FollowRecord, now: int) -> list[str]:
    run = atomic_files.open_directory(of.places.run)
    assert read_followed(run).reached
    return [text for customer, _, text in find_alarms(access(of), run, followed, now) if not customer]
