"""How a relay is asked about many customers."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from deploy.plan import Done, HostError
from deploy.relay_host import RelayHost
from fleet import relay_cli
from fleet.relay_answers import RelayAnswer
from fleet.relay_cli import CustomerRelays
from fleet.relays import run_parallel
from inventory.model import Customer, Guard, Relay
from tests.roles.test_relay import customer, relay


class Counted:
    """A relay's `postern`: four calls wait for one another, but for the first, and but for those of `resume`."""

    def __init__(self) -> None:
        self.most = self.running = 0
        self.asked: list[str] = []
        self._lock, self._others = threading.Lock(), threading.Barrier(4)

    def answer(self, _: object, customer: Customer, verb: str, *__: str, **___: Any) -> RelayAnswer:
        with self._lock:
            self.asked.append(customer.id)
            self.running += 1
            self.most = max(self.most, self.running)
        if verb != "resume" and len(self.asked) > 1:
            self._others.wait(20)
        with self._lock:
            self.running -= 1
        return RelayAnswer(0, {"customer": customer.id})


@pytest.mark.parametrize(
    ("verb", "most"), [("find", 4), ("history", 4), ("review", 4), ("refusals", 4), ("record-review", 4), ("resume", 1)]
)
def test_what_builds_no_table_is_asked_side_by_side_after_the_first(
    verb: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(relay_cli, "ask", counted.answer)
    names = [f"c{number}" for number in range(9)]
    mx1 = relay(host_keys=("ssh-ed25519 AAAAC3Nz",))
    answers = relay_cli.ask_customers([CustomerRelays(customer(name), (mx1,)) for name in names], verb)
    assert counted.most == most
    assert counted.asked[0] == "c0"
    said = {id_: each[mx1.name] for id_, each in answers.items()}
    assert said == {name: RelayAnswer(0, {"customer": name}) for name in names}


@pytest.mark.parametrize(("max_megabytes", "most"), [(1, 64), (64, 128), (1_000, 2_000)])
def test_an_answer_may_be_as_large_as_a_review_of_all_that_the_customer_may_send(max_megabytes: int, most: int) -> None:
    allowed: list[int] = []

    class Host:
        def run(self, *_: str, stdin: bytes, most: int) -> Done:
            allowed.append(most)
            return Done(0, "{}", "")

    large = customer(guard=Guard(max_megabytes=max_megabytes))
    relay_cli.ask(cast("RelayHost", Host()), large, "review")
    assert allowed == [most << 20]


def test_a_file_that_cannot_be_read_for_one_relay_is_that_relay_s_error() -> None:
    def ask(to: Relay) -> str:
        if to.name == "mx1":
            raise PermissionError(13, "Permission denied", "/home/olga/.ssh/known_hosts")
        return "said"

    found = run_parallel([relay(), relay(name="mx2")], ask, "asking")
    assert found["mx2"] == "said"
    assert str(found["mx1"]) == "[Errno 13] Permission denied: '/home/olga/.ssh/known_hosts'"
    assert isinstance(found["mx1"], HostError)
