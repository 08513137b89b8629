"""The first release on a relay becomes this one while uploads run: no list, held list, rollback or history is lost."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from console.documents import with_iso_times
from lab.host import LabHost
from lab.operators import OUTSIDE, Operator, answers, export, people
from lab.waiting import wait_until
from tests.support import watching
from tests.support.releases import releases, unpack_first_release

pytestmark = pytest.mark.host

CUSTOMERS = ("acme", "held", "frozen")
EXPLAINED = {  # what is said of addresses by spools that the first release has left
    "user0000@acme.example": ("LISTED, ", "knows user0000@acme.example"),
    "user0039@held.example": ("LISTED, ", "a list waits since", "and lacks it", "`inv review held`"),
    "mallory@frozen.example": ("NOT LISTED", "frozen since", "User unknown"),
    "nobody@frozen.example": ("NOT LISTED", "What to do: ask whether nobody@frozen.example exists"),
}
LAUNCHERS = (
    "/usr/local/sbin/postern-receive",
    "/usr/local/sbin/postern",
    "/usr/local/sbin/rebuild-relay-recips",
    "/usr/local/bin/parse-exchange-users",
)


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first release's tree, taken from git."""
    return unpack_first_release(tmp_path_factory.mktemp("first-release"))


class Relay(NamedTuple):
    """A relay that the first release set up, with three customers: one in force, one held, one rolled back."""

    host: LabHost
    operator: Operator
    first: Path
    servers: dict[str, watching.Server]

    def by_first(self, words: str) -> str:
        """Run the first release's `inv` and return what it prints."""
        ran = self.operator.call([sys.executable, str(self.first / "cli.py"), *shlex.split(words)])
        assert ran.code == 0, ran.text
        return ran.out

    def upload(self, customer: str, *names: str) -> int:
        return self.servers[customer].upload(export(*names, domain=f"{customer}.example")).code

    def launchers(self) -> dict[str, bytes]:
        """The programs that start the receiver."""
        return {path: (self.host.root / path[1:]).read_bytes() for path in LAUNCHERS}

    def answers(self) -> dict[str, str]:
        """What the relay says of an address that is listed, one on the held list alone, one rolled back, and nobody."""
        names = ("user0000", "user0039", "mallory", "nobody")
        return answers(self.host, *(f"{name}@{customer}.example" for customer in CUSTOMERS for name in names))


@pytest.fixture(params=releases("bookworm", "bullseye"))
def relay(request: pytest.FixtureRequest, tmp_path: Path, first_release: Path) -> Iterator[Relay]:
    with LabHost(request.param) as host:
        host.start_postfix()
        made = Relay(host, Operator(tmp_path), first_release, {})
        made.operator.relay("mx1", host)
        for customer in CUSTOMERS:
            made.operator.customer(customer)
        made.by_first("provision --all")
        for customer in CUSTOMERS:
            made.servers[customer] = watching.Server(made.operator, customer)
            assert made.upload(customer, *people(40)) == 3
            made.by_first(f"accept {customer} --first 40")
            assert made.upload(customer, *people(40), "mallory") == 0
        assert made.upload("held", *people(20)) == 3
        made.by_first("rollback frozen")
        yield made


def histories(printed: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Read what `inv history --json` printed of each customer."""
    return {customer: with_iso_times(json.loads(text)["mx1"]["history"]) for customer, text in printed.items()}


def test_the_first_release_is_upgraded_under_uploads_and_nothing_is_lost(relay: Relay) -> None:
    host, operator = relay.host, relay.operator
    before = relay.answers()
    assert set(before.values()) == {"250", "550"}
    kept = histories({customer: relay.by_first(f"history {customer} --json") for customer in CUSTOMERS[1:]})
    reasons = json.loads(relay.by_first("review held --json"))["mx1"]["reasons"]
    lists = cycle([people(40), (*people(40), "mallory")])
    listed = [f"user{number:04d}@{customer}.example" for customer in CUSTOMERS for number in (0, 20, 39)]

    with ExitStack() as running:
        seen = running.enter_context(watching.asked(host, listed, OUTSIDE))
        codes = running.enter_context(watching.again(lambda: relay.upload("acme", *next(lists))))
        wait_until(lambda: len(codes) > 2)
        operator.done("provision --all")
        upgraded = len(codes)
        wait_until(lambda: len(codes) > upgraded + 3)
    assert set(codes) <= {0, 75}, codes
    assert set(codes[-2:]) == {0}
    assert seen == {address: {"250"} for address in listed}
    assert operator.done("provision --all").out.startswith("mx1: nothing to change")

    assert relay.upload("acme", *people(40), "mallory") == 0
    assert relay.answers() == before
    now = histories({customer: operator.done(f"history {customer} --json").out for customer in CUSTOMERS[1:]})
    for customer, entries in kept.items():
        for was, is_now in zip(entries, now[customer], strict=True):
            assert {key: is_now[key] for key in was.keys() & is_now.keys()} == was
    assert json.loads(operator.done("review held --json").out)["mx1"]["reasons"] == reasons
    for address, says in EXPLAINED.items():
        said = " ".join(operator.done(f"explain {address}").text.split())
        assert [each for each in says if each not in said] == [], said
    assert relay.upload("frozen", *people(40), "mallory", "trent") == 0
    assert relay.answers() == before
    operator.done("resume frozen")
    assert answers(host, "trent@frozen.example", "mallory@frozen.example") == {
        "trent@frozen.example": "250",
        "mallory@frozen.example": "250",
    }


@pytest.mark.long
def test_the_first_release_s_launchers_start_the_receiver_of_this_one(relay: Relay) -> None:
    """An upgrade replaces the receiver's tree before the programs that start it: an upload may come between the two."""
    refused = relay.operator.done("rollback acme", code=2)
    assert "mx1 (+0 -1): of a release that would remove them without a word" in refused.err
    relay.operator.done("rollback frozen --to 1")  # nobody goes; the old one does not know the operator's option
    relay.operator.done("resume frozen")
    old = relay.launchers()
    relay.operator.done("provision --all")
    for path, content in old.items():
        (relay.host.root / path[1:]).write_bytes(content)
    assert relay.upload("acme", *people(40), "mallory", "trent") == 0
    assert answers(relay.host, "trent@acme.example") == {"trent@acme.example": "250"}
    for words in ("postern status acme", "postern history acme", "rebuild-relay-recips --check"):
        assert relay.host.run(*words.split()).stderr == ""
    assert "usage" in relay.host.run("parse-exchange-users", "--help").stdout.lower()
    relay.operator.done("provision --all")
    assert relay.operator.done("provision --all").out.startswith("mx1: nothing to change")
