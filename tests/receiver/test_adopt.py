"""A list that a relay had before Postern is held like any first list, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.exit_codes import HELD, REFUSED
from tests.support.small_relay import SmallRelay, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay to which nothing has come."""
    return SmallRelay(tmp_path / "relay")


def adopt(relay: SmallRelay, given: object, code: int) -> str:
    done = relay.admin("adopt", "acme", stdin=given if isinstance(given, bytes) else json.dumps(given).encode())
    assert (done.returncode, done.stderr) == (code, b"")
    return done.stdout.decode()


def held(relay: SmallRelay) -> list[str]:
    return list(json.loads(relay.admin("review", "acme", "--json").stdout)["first"])


def test_an_adopted_list_is_held_and_nobody_is_in_force(relay: SmallRelay) -> None:
    said = adopt(relay, ["joe@acme.example", '"joe smith"@acme.example'], HELD)
    assert "first list of acme.example (2), of whom this relay takes mail for today: held" in said
    assert {"joe@acme.example", '"joe smith"@acme.example'} <= {*held(relay)}
    assert json.loads(relay.admin("status", "acme", "--json").stdout)["accepted"] == {}


def test_whom_an_upload_brought_stays_beside_an_adopted_list(relay: SmallRelay) -> None:
    relay.offer(people(3))
    adopt(relay, ["joe@acme.example"], HELD)
    assert len(held(relay)) >= 4


@pytest.mark.parametrize(
    "given",
    [
        b"{",
        [],
        {"joe@acme.example": 1},
        ["joe@bolt.example"],
        ["JOE@acme.example"],
        ["joe@acme.example", 7],
        ["joe smith@acme.example"],
        ["joe@acme.example\nann@acme.example"],
        [f"{'x' * 2000}@acme.example"],
    ],
)
def test_attack_what_is_no_list_of_addresses_of_the_customer_is_refused(relay: SmallRelay, given: object) -> None:
    assert "refused: " in adopt(relay, given, REFUSED)
    assert relay.admin("review", "acme").stdout == b"acme: nothing is held\n"


def test_domains_with_accepted_lists_have_nothing_to_adopt(relay: SmallRelay) -> None:
    relay.offer(people(3))
    relay.accept("first", 3)
    assert "there is nothing to adopt" in adopt(relay, ["joe@acme.example"], REFUSED)
