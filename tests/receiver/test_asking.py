"""Whether a customer's server can be asked about unlisted addresses, probe by probe."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import next_hop_probe
from common.next_hop_probe import Answers, Reply, Sender, Server
from common.settings import Settings
from receiver.monitoring import asking
from receiver.monitoring.asking import Asking
from tests.support.small_relay import SmallRelay, people

TAKES, REFUSES, LATER = Reply(250, "ok"), Reply(550, "no"), Reply(450, "later")
PEOPLE = ("ann@acme.example", "bob@acme.example", "joe@acme.example")


def answers(each: Reply, random: Reply = REFUSES) -> Answers:
    return Answers(dict.fromkeys(PEOPLE, each), random)


PASSES = answers(TAKES)
ALL_REFUSED = answers(REFUSES)
NOT_US = Answers(problem="it answers MAIL FROM:<double-bounce@mx1.example> with 550 5.7.68 no")
DOWN = Answers(problem="203.0.113.25:25: [Errno 111] Connection refused")
BUSY = Answers(problem="it greets with 421 too busy")

LOOKS = {
    "one that passes": ([PASSES, PASSES], False),
    "one that refuses the sender once": ([NOT_US, PASSES], False),
    "one that refuses the sender twice": ([NOT_US, NOT_US], True),
    "one that refuses three listed people twice": ([ALL_REFUSED, ALL_REFUSED], True),
    "one that refuses them and is down in between": ([ALL_REFUSED, DOWN, ALL_REFUSED], False),
    "one that is down": ([DOWN, DOWN, DOWN], False),
    "one that is too busy": ([BUSY, BUSY], False),
    "one that puts everybody off": ([answers(LATER, LATER)] * 3, False),
    "one that takes everybody": ([answers(TAKES, TAKES)] * 3, False),
    "one that is put off and then down": ([NOT_US, NOT_US, DOWN], True),
    "one that is put off and takes everybody": ([NOT_US, NOT_US, answers(TAKES, TAKES)], True),
    "one that is put off and passes": ([NOT_US, NOT_US, PASSES], False),
    "one of two listed people who are refused": ([Answers(dict.fromkeys(PEOPLE[:2], REFUSES), REFUSES)] * 3, False),
}


@pytest.mark.parametrize("looks", LOOKS)
def test_unlisted_addresses_are_put_off_by(looks: str) -> None:
    found, is_put_off = LOOKS[looks]
    looked = Asking()
    for each in found:
        looked = looked.after(each)
    assert looked.put_off is is_put_off


@pytest.mark.parametrize("written", [None, {}, {"refused": "x", "put_off": "yes"}])
def test_what_is_damaged_puts_nobody_off(written: dict[str, object] | None) -> None:
    assert Asking.read(written) == Asking()


def test_attack_servers_that_hang_keep_no_other_customer_s_from_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two customers' servers use all the time they get; the third's refuses to be asked."""
    clock, asked = [0.0], list[str]()

    def ask(server: Server, sender: Sender, people: object, domain: str, seconds: float) -> Answers:
        asked.append(domain)
        clock[0] += 0 if domain == "ccc.example" else seconds
        return NOT_US if domain == "ccc.example" else DOWN

    relay, every = SmallRelay(tmp_path), []
    for name in ("aaa", "bbb", "ccc"):
        relay.settings = Settings(customer=name, format="exchange-5.5", domains=(f"{name}.example",), unlisted="ask")
        every.append(relay.provision())
        relay.offer(people(10, f"{name}.example"))
        (Path(relay.places.tree(name)) / "transport").write_text(f"{name}.example relay:[127.0.0.1]:25\n")
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr(next_hop_probe, "ask", ask)
    for _ in range(asking.RUNS):
        asking.check_servers(relay.places, every, {})
    assert asked.count("ccc.example") == asking.RUNS
    assert asking.find_put_off(relay.places, every) == ["ccc"]


def test_attack_a_server_for_which_there_is_never_time_is_first_in_the_next_run_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()

    def ask(server: Server, sender: Sender, people: object, domain: str, seconds: float) -> Answers:
        asked.append(domain)
        return PASSES

    relay, every = SmallRelay(tmp_path), []
    for name in ("aaa", "bbb"):
        relay.settings = Settings(customer=name, format="exchange-5.5", domains=(f"{name}.example",), unlisted="ask")
        every.append(relay.provision())
        relay.offer(people(10, f"{name}.example"))
        (Path(relay.places.tree(name)) / "transport").write_text(f"{name}.example relay:[127.0.0.1]:25\n")
    monkeypatch.setattr(next_hop_probe, "ask", ask)
    monkeypatch.setattr(asking, "_SECONDS", 0.0)
    told = [asking.check_servers(relay.places, every[1:], {}) for _ in range(asking.UNASKED_RUNS)]
    assert [bool(alarms) for alarms in told] == [False] * (asking.UNASKED_RUNS - 1) + [True]
    assert "no time to ask its server in 6 runs" in told[-1][0].text
    monkeypatch.setattr(asking, "_SECONDS", 60.0)
    assert asking.check_servers(relay.places, every, {}) == []
    assert asked == ["bbb.example", "aaa.example"], "whoever was not asked comes first"
