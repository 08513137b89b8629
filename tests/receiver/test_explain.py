"""What a relay says about one address from its spool alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver.lists import left_out, removed_addresses, upload_log
from receiver.outcome import LeftOut
from tests.support.small_relay import SmallRelay, people

pytestmark = pytest.mark.slow  # each test runs uploads and the admin's program several times


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay with an accepted list of 40, to which an upload has added one, and from which another took one."""
    relay = SmallRelay(tmp_path)
    relay.offer(people(40))
    relay.accept("first", 40)
    relay.offer([*people(40), "new@acme.example"])
    relay.offer([*people(39), "new@acme.example"])
    return relay


def explained(relay: SmallRelay, address: str, code: int = 0) -> dict[str, Any]:
    ran = relay.admin("explain", "acme", f"--address={address}", "--json")
    assert ran.returncode == code, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_since_is_the_upload_that_brought_the_address(relay: SmallRelay) -> None:
    with relay.spool() as spool:
        _, came, *_ = upload_log.read_entries(spool.folder)
    since = explained(relay, "New@acme.example")["since"]
    assert (since["entry"], since["key"], since["at_least"]) == (came.entry, "k1", False)
    assert explained(relay, "user00000@acme.example")["since"]["at_least"]


def test_whom_an_upload_removed_is_told_with_its_key_and_whom_a_person_removed_with_the_person(
    relay: SmallRelay,
) -> None:
    removed = explained(relay, "user00039@acme.example")["removed"]
    assert (removed["key"], removed["client"], removed["is_by_person"]) == ("k1", "198.51.100.7", False)
    relay.offer(people(30))
    relay.accept("removing", 10)
    removed = explained(relay, "user00035@acme.example")["removed"]
    assert (removed["accepted_by"], removed["is_by_person"]) == ("olga", True)


def test_a_tag_is_told_with_the_address_that_is_listed(relay: SmallRelay) -> None:
    assert explained(relay, "user00001+news@acme.example")["plus"] == {
        "base": "user00001@acme.example",
        "is_listed": True,
        "is_taken": False,
    }
    relay.provision(plus_addresses=True)
    assert explained(relay, "user00001+news@acme.example")["plus"]["is_taken"]


def test_an_included_address_is_listed_whatever_the_exports_say(relay: SmallRelay) -> None:
    relay.provision(include=("help@acme.example",))
    assert explained(relay, "help@acme.example")["listed"] == "include"
    assert explained(relay, "Postmaster@acme.example")["listed"] == "postmaster"


@pytest.mark.parametrize("address", ["bob@other.example", "bob", "", "a:b@acme.example", "\x1b[31m@acme.example"])
def test_what_is_no_address_of_the_customer_s_is_refused(relay: SmallRelay, address: str) -> None:
    assert "an address in acme.example is wanted" in explained(relay, address, code=2)["line"]


@pytest.mark.parametrize("name", ["gone", "log", "left-out.json", "refusals.json", "history"])
@pytest.mark.parametrize("content", [b"", b"\xff\n\x00{[" * 1000, b'{"values": [1]}\n', None])
def test_damaged_files_of_the_past_say_nothing_and_stop_nothing(
    name: str, content: bytes | None, relay: SmallRelay
) -> None:
    path = relay.folder / name
    if path.is_dir():
        for file in path.iterdir():
            file.write_bytes(content or b"")
    elif content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)
    assert explained(relay, "user00000@acme.example")["listed"] == "list"
    assert relay.admin("history", "acme").returncode == 0
    assert relay.admin("rehearse", "acme").returncode == 0
    assert relay.offer(people(38)).code == 0, "uploads go on"
    assert explained(relay, "user00038@acme.example")["removed"]


def test_enormous_files_of_the_past_are_read_up_to_their_bounds(relay: SmallRelay) -> None:
    for name, limit in (("gone", removed_addresses.LIMIT), ("log", upload_log.LIMIT), ("left-out.json", 16 << 20)):
        with (relay.folder / name).open("ab") as file:
            file.truncate(limit + (1 << 30))
    assert explained(relay, "user00000@acme.example")["listed"] == "list"
    assert relay.offer(people(39)).code == 0
    assert (relay.folder / "log").stat().st_size < upload_log.LIMIT + (1 << 20)
    assert (relay.folder / "gone").stat().st_size < removed_addresses.LIMIT


def test_values_that_were_left_out_are_those_of_the_last_export(relay: SmallRelay) -> None:
    relay.offer([*people(39), "a:b@acme.example"])
    with relay.spool() as spool:
        assert left_out.read_left_out(spool.folder) == (LeftOut("SMTP:a:b@acme.example", "not an address"),)
        before = (relay.folder / "left-out.json").stat().st_ino
        relay.offer([*people(39), "a:b@acme.example"])
        assert (relay.folder / "left-out.json").stat().st_ino == before, "what is the same is not written again"
        relay.offer(people(39))
        assert left_out.read_left_out(spool.folder) == ()


def test_the_lines_for_people_name_what_matters_first(relay: SmallRelay) -> None:
    relay.offer(people(20))
    lines = relay.admin("explain", "acme", "--address=user00030@acme.example").stdout.decode().splitlines()
    assert lines[0].startswith("LISTED, already on the oldest list that is kept, of ")
    assert any(line.startswith("a list waits since ") and line.endswith(", and lacks it") for line in lines)
    lines = relay.admin("explain", "acme", "--address=user00039@acme.example").stdout.decode().splitlines()
    assert lines[0] == "NOT LISTED"
    assert lines[1].startswith("removed on ")


@pytest.mark.parametrize(
    ("pattern", "count"), [("user0000", 10), ("USER0000?@*", 10), ("*@acme.example", 40), ("@acme", 40), ("[a]", 0)]
)
def test_find_counts_whom_a_pattern_finds(relay: SmallRelay, pattern: str, count: int) -> None:
    found = json.loads(relay.admin("find", "acme", f"--pattern={pattern}", "--json").stdout)
    assert (found["total"], found["listed"]) == (count, 40)
