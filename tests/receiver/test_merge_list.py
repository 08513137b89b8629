"""Another relay's list merged here: whom either lists is listed, a domain is closed where both close it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.exit_codes import DONE, REFUSED
from tests.support.small_relay import SmallRelay, age, export, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
BOTH = people(40)
THERE, HERE = "there@acme.example", "here@acme.example"


@pytest.fixture
def there(tmp_path: Path) -> SmallRelay:
    """Another relay of the customer, with somebody whom this one lacks."""
    relay = SmallRelay(tmp_path / "there")
    relay.offer([*BOTH, THERE])
    relay.accept("first", 41)
    return relay


@pytest.fixture
def here(tmp_path: Path) -> SmallRelay:
    """This relay, with somebody whom the other one lacks."""
    relay = SmallRelay(tmp_path / "here")
    relay.offer([*BOTH, HERE])
    relay.accept("first", 41)
    return relay


def merge(here: SmallRelay, there: SmallRelay, *options: str, code: int = DONE) -> dict[str, Any]:
    given = there.admin("hand-over", "acme").stdout
    done = here.admin("merge-list", "acme", *options, "--json", stdin=given)
    assert (done.returncode, done.stderr) == (code, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_whom_either_relay_lists_is_listed_and_in_the_tables(here: SmallRelay, there: SmallRelay) -> None:
    found = merge(here, there)
    assert "42 recipients (+1 -0); note: 1 that the other relay does not list stay" in found["line"]
    assert here.in_tables() == {*BOTH, THERE, HERE}
    assert merge(here, there)["did"] == "unchanged"


def test_a_look_says_who_would_come_and_go_and_writes_nothing(here: SmallRelay, there: SmallRelay) -> None:
    found = merge(here, there, "--look", "--exact")
    assert (found["coming"], found["going"], found["leaving"]) == ([THERE], [HERE], [HERE])
    assert here.in_force() == {*BOTH, HERE}


def test_exactly_the_other_list_wants_the_number_of_who_goes(here: SmallRelay, there: SmallRelay) -> None:
    wrong = merge(here, there, "--exact", code=REFUSED)
    assert "1 would go, and --removing says 0; nothing is changed" in wrong["line"]
    assert here.in_force() == {*BOTH, HERE}
    merge(here, there, "--exact", "--removing", "1")
    assert here.in_force() == {*BOTH, THERE}
    (entry,) = json.loads(here.admin("history", "acme", "--json").stdout)["log"]
    assert (entry["did"], entry["removed"]) == ("merged", 1)
    assert entry["accepted_by"] == "olga, from another relay"


def test_a_domain_that_is_open_there_opens_here_and_none_closes(here: SmallRelay, there: SmallRelay) -> None:
    there.admin("open", "acme")
    assert "note: acme.example open, as there" in merge(here, there)["line"]
    assert here.accepted() == {}
    merge(there, here)
    assert there.accepted() == {}


def test_the_older_of_two_dates_counts(here: SmallRelay, there: SmallRelay) -> None:
    age(there, 20)
    merge(here, there)
    assert here.accepted() == there.accepted()


def test_who_was_brought_back_there_and_went_here_stays_until_accepted(here: SmallRelay, there: SmallRelay) -> None:
    for relay in (here, there):
        relay.offer(BOTH)
    entry = json.loads(there.admin("history", "acme", "--json").stdout)["log"][0]["entry"]
    there.admin("rollback", "acme", "--entry", entry)
    here.offer([*BOTH, THERE])
    here.offer(BOTH)
    merge(here, there)
    assert THERE in here.in_force()
    assert here.offer(BOTH).did == "held"


def test_a_pinned_list_is_not_merged_into(here: SmallRelay, there: SmallRelay) -> None:
    here.offer([*BOTH, HERE, "another@acme.example"])
    assert here.admin("rollback", "acme", "--removing", "1").returncode == 0
    assert "`inv resume acme` ends that first" in merge(here, there, code=REFUSED)["line"]
    assert here.in_force() == {*BOTH, HERE}


def test_a_relay_without_a_list_brings_nothing(here: SmallRelay, tmp_path: Path) -> None:
    empty = SmallRelay(tmp_path / "empty")
    assert "has no list" in merge(here, empty, code=REFUSED)["line"]


def test_attack_addresses_in_foreign_domains_are_not_taken(here: SmallRelay, there: SmallRelay) -> None:
    there.provision(domains=("acme.example", "victim.example"))
    there.take(export([*BOTH, "ceo@victim.example"]))
    merge(here, there)
    assert "ceo@victim.example" not in here.in_force()
