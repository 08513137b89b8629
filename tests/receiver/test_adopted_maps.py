"""People whom another table accepts are asked about until our own list closes their domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from common.adopted_domains import write_closer
from common.next_hop_probe import Answers, Reply
from common.settings import Settings
from receiver.lists.spool import Spool
from receiver.monitoring.adopted_maps import MOST, check_sample, read_sample
from tests.support.small_relay import SmallRelay

TABLE = "regexp:/etc/postfix/vanity.re"
PEOPLE = [f"user{number:02}@acme.example" for number in range(30)]
TAKEN, REFUSED, PUT_OFF, GREY = Reply(250, "Ok"), Reply(550, "User unknown"), Reply(451, "lookup"), Reply(450, "later")
ADOPTED = Settings(
    "acme", "exchange-5.5", ("acme.example",), closed_by={"acme.example": write_closer("relay_recipient_maps", [TABLE])}
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(SmallRelay(tmp_path / "relay").places, "acme") as found:
        yield found


def run(spool: Spool, reply: Reply | Mapping[str, Reply], settings: Settings = ADOPTED) -> list[str]:
    def ask(names: list[str]) -> Answers:
        if not reply:
            return Answers(problem="127.0.0.1:25: Connection refused")
        return Answers({name: reply if isinstance(reply, Reply) else reply[name] for name in names})

    return [alarm.line for alarm in check_sample(spool, settings, PEOPLE, ask)]


def test_twenty_people_who_are_taken_are_kept(spool: Spool) -> None:
    assert run(spool, {**dict.fromkeys(PEOPLE, TAKEN), PEOPLE[0]: REFUSED}) == []
    assert read_sample(spool).addresses == tuple(PEOPLE[1:MOST])
    assert run(spool, TAKEN) == []
    assert len(read_sample(spool).addresses) == MOST


@pytest.mark.parametrize("reply", [REFUSED, PUT_OFF])
def test_a_table_that_takes_most_of_them_no_more_in_two_runs_is_named(spool: Spool, reply: Reply) -> None:
    run(spool, TAKEN)
    assert run(spool, reply) == []
    (line,) = run(spool, reply)
    assert TABLE in line
    assert f"{PEOPLE[0]} and 19 more" in line
    assert read_sample(spool).addresses == tuple(PEOPLE[:MOST])
    assert run(spool, TAKEN) == []


def test_greylisting_and_a_few_who_left_raise_nothing(spool: Spool) -> None:
    run(spool, TAKEN)
    some = {**dict.fromkeys(PEOPLE, TAKEN), **dict.fromkeys(PEOPLE[:10], REFUSED)}
    assert [run(spool, GREY), run(spool, GREY), run(spool, some), run(spool, some)] == [[], [], [], []]


def test_a_relay_that_answers_nobody_s_question_in_two_runs_is_told(spool: Spool) -> None:
    run(spool, TAKEN)
    assert run(spool, {}) == []
    (line,) = run(spool, {})
    assert line == f"acme: whether {TABLE} still works is not known: 127.0.0.1:25: Connection refused"
    assert run(spool, TAKEN) == []


def test_an_accepted_list_ends_the_questions(spool: Spool) -> None:
    run(spool, TAKEN)
    spool.store_accepted(spool.read_accepted()._replace(domains={"acme.example": 1}))
    assert [run(spool, REFUSED) for _ in range(3)] == [[], [], []]


def test_a_damaged_sample_is_begun_anew(spool: Spool, tmp_path: Path) -> None:
    run(spool, TAKEN)
    next((tmp_path / "relay").rglob("adopted-sample.json")).write_text('{"addresses": 7}')
    assert run(spool, TAKEN) == []
    assert len(read_sample(spool).addresses) == MOST
