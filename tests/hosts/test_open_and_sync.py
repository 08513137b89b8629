"""Two relays of a customer: one's list brought to the other, and both opened until a person ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import MARK, AtOnce, answers, export, people

pytestmark = [pytest.mark.host, pytest.mark.story]

EVERYBODY = people(20)
MARKER = "/etc/postern/opened/acme.json"


class Two(NamedTuple):
    """Two relays of one customer that has an accepted list, and the operator."""

    hosts: tuple[LabHost, LabHost]
    operator: AtOnce

    def ask(self, local: str) -> list[str]:
        return [code for host in self.hosts for code in answers(host, f"{local}@acme.example").values()]

    def strangers(self) -> list[str]:
        """What each relay answers for an address that no list has."""
        return self.ask("stranger")

    def send(self, relay: int, *locals_: str) -> int:
        client = [*self.operator.client("ssh", self.hosts[relay]), f"postern@{self.hosts[relay].address}", "receive"]
        return self.operator.call(client, export(*locals_) + MARK).code

    def upload(self, code: int) -> None:
        assert [self.send(relay, *EVERYBODY) for relay in range(2)] == [code, code]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with LabHost("bookworm") as first, LabHost("bookworm") as second:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        for name, host in (("mx1", first), ("mx2", second)):
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=["mx1", "mx2"])
        operator.done("provision acme")
        place = Two((first, second), operator)
        place.upload(code=3)
        operator.accept("acme", f"--first {len(EVERYBODY)}")
        assert place.strangers() == ["550", "550"]
        yield place


# ---- sync --from


def test_a_dry_run_of_sync_from_a_relay_says_who_would_come_and_changes_nothing(two: Two) -> None:
    assert two.send(0, *EVERYBODY, "only-mx1") == 0
    assert two.send(1, *EVERYBODY, "only-mx2") == 0
    ran = two.operator.done("sync acme --from mx1 --dry-run", code=6)
    assert "mx2: acme: only looked: 22 recipients (+1 -0)" in ran.out
    assert "+ only-mx1@acme.example" in ran.out
    assert two.ask("only-mx1") == ["250", "550"]


def test_sync_from_a_relay_lists_whom_it_lists_on_the_others_and_removes_nobody(two: Two) -> None:
    assert "mx2: acme: 22 recipients (+1 -0)" in two.operator.done("sync acme --from mx1").out
    assert two.ask("only-mx1") == ["250", "250"]
    assert two.ask("only-mx2") == ["550", "250"]
    assert "22 recipients, unchanged" in two.operator.done("sync acme --from mx1").out


def test_an_exact_sync_wants_the_number_of_who_goes(two: Two) -> None:
    ran = two.operator.done("sync acme --from mx1 --exact", code=2)
    assert "- only-mx2@acme.example" in ran.out
    assert "say --exact --removing 1" in ran.err
    assert two.ask("only-mx2") == ["550", "250"]
    assert "(+0 -1)" in two.operator.done("sync acme --from mx1 --exact --removing 1").out
    assert two.ask("only-mx2") == ["550", "550"]
    assert "relay of acme; did you mean 'mx1'?" in two.operator.done("sync acme --from mx11", code=2).err


# ---- open


def test_a_dry_run_of_open_changes_nothing(two: Two) -> None:
    ran = two.operator.done("open acme --dry-run", code=6)
    assert "would be opened: acme.example" in ran.out
    assert not (two.operator.inventory / "opened").exists()
    assert two.strangers() == ["550", "550"]


def test_an_opened_customer_takes_everybody_on_every_relay_that_is_reached(two: Two) -> None:
    two.hosts[1].run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = two.operator.done("open acme", code=4)
    assert "mx1: acme: opened: acme.example" in ran.out
    assert "mx2: " in ran.err
    assert (two.operator.inventory / "opened/acme.json").exists()
    assert two.strangers() == ["250", "550"]


def test_provision_brings_the_marker_to_a_relay_that_was_down(two: Two) -> None:
    two.hosts[1].run("/usr/sbin/sshd")
    two.operator.done("provision acme")
    two.hosts[1].run("/usr/local/sbin/postern", "tick")  # as the timer does: no list counts as accepted from now on
    assert two.strangers() == ["250", "250"]
    assert "nothing to change" in two.operator.done("provision acme").out


def test_another_checkout_that_knows_no_marker_leaves_it_and_status_says_it(two: Two) -> None:
    record = two.operator.inventory / "opened/acme.json"
    kept = record.read_bytes()
    record.unlink()
    two.operator.done("provision acme")
    assert two.strangers() == ["250", "250"]
    said = json.loads(two.operator.done("status --json", code=1).out)
    texts = [need["text"] for row in said["customers"] for need in row["needs"] if need["kind"] == "open"]
    assert len(texts) == 2
    assert all("`inv open acme --end` ends it" in text for text in texts)
    record.write_bytes(kept)


def test_an_upload_and_its_accept_close_nothing_while_the_marker_is_there(two: Two) -> None:
    two.upload(code=3)
    two.operator.accept("acme", f"--first {len(EVERYBODY)} --removing 1")
    assert two.strangers() == ["250", "250"]


def test_the_end_closes_nothing_and_a_review_and_its_accept_do(two: Two) -> None:
    ended = json.loads(two.operator.done("open acme --end --json").out)
    assert sorted(ended) == ["mx1", "mx2"]
    assert "acme: not opened by a person any more; open until a list is accepted: " in ended["mx1"]["line"]
    assert not any((host.root / MARKER[1:]).exists() for host in two.hosts)
    assert two.strangers() == ["250", "250"]
    two.upload(code=3)
    assert two.strangers() == ["250", "250"]
    two.operator.accept("acme", f"--first {len(EVERYBODY)}")
    assert two.strangers() == ["550", "550"]


def test_the_end_where_nothing_is_open_opens_nothing(two: Two) -> None:
    assert "nothing to end" in two.operator.done("open acme --end").out
    assert two.strangers() == ["550", "550"]
    assert two.operator.done("status").code == 0


def test_a_relay_whose_release_knows_no_open_is_named_with_what_helps(two: Two) -> None:
    old = two.hosts[1].root / "usr/local/sbin/postern"
    new = old.read_bytes()
    old.write_text("#!/bin/sh\necho \"postern: error: argument VERB: invalid choice: 'open'\" >&2\nexit 2\n")
    ran = two.operator.done("open acme", code=4)
    old.write_bytes(new)
    assert "mx2: its release of Postern does not know that yet; `inv provision acme`" in ran.err
    assert two.strangers() == ["250", "550"]
