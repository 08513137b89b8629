"""Rollback, resume and history on two relays at once: an earlier list is back, frozen, and the same on both."""

from __future__ import annotations

import getpass
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers, export, people
from tests.support.releases import releases

pytestmark = [pytest.mark.host, pytest.mark.story]

EVERYBODY = people(50)


class Two:
    """Two relays of one customer that has an accepted list, and the operator."""

    def __init__(self, hosts: list[LabHost], operator: Operator) -> None:
        self.hosts = hosts
        self.operator = operator

    def upload(self, *locals_: str, code: int = 0) -> str:
        """Send an export to both, as the batch does."""
        ran = [self.operator.upload(export(*locals_), relay=number) for number in range(2)]
        assert [one.code for one in ran] == [code, code], ran
        return ran[0].out

    def ask(self, local: str) -> list[str]:
        return [code for host in self.hosts for code in answers(host, f"{local}@acme.example").values()]


@pytest.fixture(params=releases("bookworm", "trixie"))
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    with LabHost("bookworm") as first, LabHost(request.param) as second:
        operator = AtOnce(tmp_path)
        for name, host in (("mx1", first), ("mx2", second)):
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=["mx1", "mx2"])
        operator.done("provision acme")
        place = Two([first, second], operator)
        place.upload(*EVERYBODY, code=3)
        operator.accept("acme", f"--first {len(EVERYBODY)}")
        yield place


def test_an_earlier_list_is_back_on_every_relay_and_frozen_until_resume(two: Two) -> None:
    two.upload(*EVERYBODY, "mallory")
    assert two.ask("mallory") == ["250", "250"]
    refused = two.operator.done("rollback acme", code=2)
    assert "- mallory@acme.example" in refused.out
    command = re.search(r"if that is meant: `inv (rollback acme --removing 1 --list [0-9a-f]{64})`", refused.err)
    assert command
    assert two.operator.done("rollback acme --dry-run", code=6).out.endswith(f"\ninv {command[1]}\n")
    moved = two.operator.done(f"rollback acme --removing 1 --list {'0' * 64}", code=2)
    assert "not 000000000000: an upload came meanwhile" in moved.err
    assert two.ask("mallory") == ["250", "250"]
    two.operator.done(command[1])
    assert two.ask("mallory") == ["550", "550"]
    me = f"{getpass.getuser()}@{socket.gethostname()}"
    assert f"accepted by {me} as root, rolling back" in two.operator.done("history acme").out

    assert "frozen since" in two.upload(*EVERYBODY, "mallory", "trent")
    assert two.ask("trent") == ["550", "550"]
    assert "frozen since" in two.operator.done("resume acme --dry-run", code=6).out
    assert "frozen since" in two.operator.done("status acme", code=1).out
    held = json.loads(two.operator.done("review acme --json").out)["mx1"]["list"]
    assert "resume acme" in two.operator.done(f"accept acme --adding 2 --list {held}", code=2).text

    resumed = two.operator.done("resume acme").out
    assert "52 recipients (+2 -0)" in resumed
    assert two.ask("trent") == ["250", "250"]
    two.operator.done("status acme")
    assert two.operator.done("review --all").out == "acme: nothing is held\n"
    assert two.operator.done("history --all").out.startswith("acme:\nmx1: ")
    assert two.operator.done("verify --all").out == two.operator.done("verify acme").out


@pytest.mark.long
def test_whom_one_upload_removed_is_back_on_every_relay_by_its_entry(two: Two) -> None:
    two.upload(*EVERYBODY[:48])
    entry = json.loads(two.operator.done("history acme --json").out)["mx2"]["history"][0]["entry"]
    assert "only looked: 50 recipients (+2 -0)" in two.operator.done(f"rollback acme --entry {entry} --dry", code=6).out
    two.operator.done(f"rollback acme --entry {entry}")
    local = EVERYBODY[49].partition("@")[0]
    assert two.ask(local) == ["250", "250"]
    two.upload(*EVERYBODY[:48], code=3)
    assert two.ask(local) == ["250", "250"]
    assert "judged alone" in two.operator.done("rehearse acme --guard shrink_percent=50").out


def test_history_names_lists_alike_on_both_and_who_came_and_went(two: Two) -> None:
    two.upload(*EVERYBODY, "newcomer")
    assert "key k1 from 127.77." in two.operator.done("history acme").out
    history = json.loads(two.operator.done("history acme --json").out)
    lists = [[(each["list"], each["total"], each["added"]) for each in history[name]["history"]] for name in history]
    assert lists[0] == lists[1]
    assert [total for _, total, _ in lists[0]][:2] == [51, 50]
    assert "+ newcomer@acme.example" in two.operator.done("history acme --diff 0").out
    assert "a number" in two.operator.done("history acme --diff last", code=2).err
    assert "a number" in two.operator.done("rollback acme --to last", code=2).err
    assert "9 back" in two.operator.done("rollback acme --to 9", code=2).err


@pytest.mark.long
def test_relays_whose_histories_differ_are_not_rolled_back_apart(two: Two) -> None:
    two.operator.upload(export(*EVERYBODY, "only-mx1"), relay=0)
    two.upload(*EVERYBODY, "both")
    refused = two.operator.done("rollback acme", code=2)
    assert "not the same list on every relay" in refused.err
    assert two.ask("both") == ["250", "250"]


@pytest.mark.long
def test_one_relay_down_does_not_keep_the_other_from_rolling_back(two: Two) -> None:
    two.upload(*EVERYBODY, "mallory")
    two.hosts[1].stop()
    ran = two.operator.done("rollback acme --removing 1", code=4)
    assert "mx2: " in ran.err
    assert two.hosts[0].ask("mallory@acme.example", from_address="127.77.254.1").startswith("550")
    two.hosts[1].start()  # a new machine at another address: stopping it again is the fixture's
    assert two.operator.done("history acme", code=4).out


def test_a_rollback_said_twice_does_not_undo_the_first_and_completes_on_a_relay_that_was_down(two: Two) -> None:
    two.upload(*EVERYBODY, "mallory")
    two.hosts[1].run("sh", "-c", "kill $(cat /run/sshd.pid)")
    two.operator.done("rollback acme --removing 1", code=4)
    two.hosts[1].run("/usr/sbin/sshd")
    assert two.ask("mallory") == ["550", "250"]
    assert "mx2: acme: 50 recipients (+0 -1), frozen since " in two.operator.done("rollback acme --removing 1").out
    assert two.ask("mallory") == ["550", "550"]
    again = two.operator.done("rollback acme", code=2)
    assert "rolled back and frozen already, to list " in again.err
    assert "`inv resume acme` ends that" in again.err
    assert two.ask("mallory") == ["550", "550"]
    assert ", to list " in two.operator.done("history acme").out


def test_a_rollback_holds_while_uploads_keep_coming(two: Two) -> None:
    two.upload(*EVERYBODY, "mallory")
    stop, codes = threading.Event(), []

    def keep_sending() -> None:
        while not stop.is_set():
            codes.append(two.operator.upload(export(*EVERYBODY, "mallory")).code)
            time.sleep(0.2)

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        two.operator.done("rollback acme --removing 1")
        assert [two.ask("mallory") for _ in range(3)] == [["550", "550"]] * 3
    finally:
        stop.set()
        sender.join()
    assert {0} <= set(codes) <= {0, 75}  # busy: the server sends it again
    assert two.ask("mallory") == ["550", "550"]
