"""Whether a customer's server can be asked about unlisted addresses: what its answers come to, look by look."""

from __future__ import annotations

import pytest

from common.next_hop_probe import Answers, Reply
from receiver.monitoring.asking import Asking

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
    asking = Asking()
    for each in found:
        asking = asking.after(each)
    assert asking.put_off is is_put_off


@pytest.mark.parametrize("written", [None, {}, {"refused": "x", "put_off": "yes"}])
def test_what_is_damaged_puts_nobody_off(written: dict[str, object] | None) -> None:
    assert Asking.read(written) == Asking()
