"""A relay, or account `postern` on one, in an attacker's hands: what it can do to the operator who asks it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from console import terminal
from deploy.connection import _configure, _jumps
from deploy.items import file
from deploy.plan import HostError
from deploy.remote_session import CommandEnd, Lock, Session
from fleet.list_state import DamagedSpool, read_list_state
from fleet.relay_answers import check_shape
from receiver.lists import list_file
from receiver.outcome import Failed, Origin
from remote import list_status
from tests.support.small_relay import SmallRelay, people
from tests.support.tiers import every_nth

ESCAPES = "\033]0;owned\007\x9b31m\u202e"
ACME = Settings("acme", "exchange-5.5", ("acme.example",))


# ---- answers


class Hostile:
    """The line to a relay that answers whatever it likes."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = [b'{"loaded": true, "user": 0}\n', *lines]

    def send(self, data: bytes) -> None:
        pass

    def receive(self, seconds: float) -> bytes:
        if not self.lines:
            raise TimeoutError
        return self.lines.pop(0)

    def end(self) -> CommandEnd:
        return CommandEnd(0, "")


ANSWERS = {
    "an empty object": b"{}",
    "a number for states": b'{"states": 5}',
    "too few states": b'{"states": []}',
    "a state that is a number": b'{"states": [7]}',
    "a state that is a list": b'{"states": [[]]}',
    "an error that is a list": b'{"error": []}',
    "an error without a text": b'{"error": {"kind": []}}',
    "a list": b"[]",
    "nested beyond measure": b"[" * 100_000,
    "states nested beyond measure": b'{"states": ' + b"[" * 100_000,
    "half a number": b"12e",
}


@pytest.mark.parametrize("what", ANSWERS)
def test_attack_an_answer_of_another_shape_is_that_relay_s_fault_in_a_sentence(what: str) -> None:
    session = Session(Hostile(ANSWERS[what] + b"\n"), Lock("/"))
    with pytest.raises(HostError):
        session.read([file("/etc/x", "1\n")])


@pytest.mark.parametrize("hello", [b'{"loaded": \n', b'{"loaded": 1}\n', b'{"error": 5}\n', b'{"error":\n'])
def test_attack_a_greeting_of_another_shape_is_a_sentence(hello: bytes) -> None:
    line = Hostile()
    line.lines = [hello]
    with pytest.raises(HostError):
        Session(line, Lock("/")).read([])


def test_attack_a_relay_that_never_answers_is_given_up() -> None:
    with pytest.raises(HostError, match="it does not answer any more"):
        Session(Hostile(), Lock("/")).read([])


RECORDS: tuple[Any, ...] = (
    *([], 5, None, "x"),
    *({"lines": 5}, {"lines": [5]}, {"line": []}, {"list": 5}, {"command": {}}),
    *({"held": 5}, {"held": {"list": 5}}, {"pinned": [1]}),
    *({"history": 5}, {"history": [5]}, {"history": [{"list": "x", "back": "0"}]}),
)


@pytest.mark.parametrize("record", RECORDS)
def test_attack_an_answer_of_postern_of_another_shape_is_none(record: Any) -> None:
    with pytest.raises(ValueError, match="not of the shape"):
        check_shape(record)


# ---- what lies in a spool

OUTCOME = {"postern": 1, "customer": "acme", "did": "held", "when": 1, "reasons": ["x"]}
SPOOLS: dict[str, Mapping[str, Any]] = {
    "a list for a word in last-run.json": {"last_run": {**OUTCOME, "did": ["held"]}},
    "a list for a reason": {"last_run": {**OUTCOME, "reasons": [["x"]]}},
    "a word for a number": {"last_run": {**OUTCOME, "added": "x"}},
    "left_out that is a list": {"last_run": {**OUTCOME, "left_out": [1]}},
    "left_out with words": {"last_run": {**OUTCOME, "left_out": {"x": "y"}}},
    "a held list without a reason": {"held": {"list": [], "origin": {"when": 1}, "since": 1}},
    "dates that are lists": {"accepted": {"domains": {"acme.example": []}}},
    "keys that are numbers": {"keys": {"k1": 5}},
}


def facts(**given: Any) -> dict[str, Any]:
    return {**dict.fromkeys(list_status.FILES), "list": None, "opened": None, **given}


@pytest.mark.parametrize("what", SPOOLS)
def test_attack_a_spool_of_another_shape_is_that_customer_s_row(what: str) -> None:
    with pytest.raises(DamagedSpool):
        read_list_state(ACME, facts(**SPOOLS[what]), int(time.time()))


def test_attack_a_file_nested_deep_is_not_sent_on(tmp_path: Path) -> None:
    nested = '{"x": ' * 400 + "1" + "}" * 400
    (tmp_path / "customers" / "acme").mkdir(parents=True)
    (tmp_path / "customers" / "acme" / "last-run.json").write_text(nested)
    state = list_status._spools(str(tmp_path), {"acme": 0})
    assert state == {"acme": facts(last_run="last-run.json cannot be read: it is nested too deep")}


DAMAGED = ('{"x": ' * 100_000, "[]", "5", '{"postern": 1}', '{"postern": 1, "since": [], "when": [], "by": 5}')


@pytest.mark.slow
@pytest.mark.parametrize("name", ["last-run.json", "pinned.json", "begun.json", "keys.json", "held/why.json"])
@pytest.mark.parametrize("content", every_nth(DAMAGED, 4))
def test_attack_a_damaged_file_of_a_spool_stops_no_status_and_no_timer(tmp_path: Path, name: str, content: str) -> None:
    relay = SmallRelay(tmp_path)
    relay.offer(people(3))
    (relay.folder / name).write_text(content)
    for words in (("status", "acme"), ("tick",), ("review", "acme"), ("history", "acme")):
        done = relay.admin(*words)
        assert (done.returncode, done.stderr) == (0, b"")


# ---- the operator's terminal


def test_attack_escapes_in_a_relay_s_answer_reach_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(f"mx1: acme's list, with its history, taken over: {ESCAPES}")
    terminal.print_plan(f"mx1{ESCAPES}", f"+ {ESCAPES}")
    terminal.error(ESCAPES)
    terminal.note(ESCAPES)
    terminal.print_answer(["mx1"], ESCAPES)
    terminal.print_table(["x"], [[ESCAPES]])
    terminal.print_document({"mx1": ESCAPES})
    said = "".join(capsys.readouterr())
    assert "owned" in said
    assert not {*said} & {*ESCAPES} - {*"0;]owned31m"}


def test_attack_a_label_with_another_kind_of_word_is_no_list_of_history(tmp_path: Path) -> None:
    label = list_file.ListRecord("0" * 64, 1, 1, 0, Origin(1, by=["x"]), ())  # type: ignore[arg-type]
    with pytest.raises(Failed):
        list_file.read_record(list_file.pack_list(label, b""))


# ---- the operator's agent


def test_attack_an_agent_is_forwarded_to_no_relay_whatever_ssh_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    config = "Host *\n  ForwardAgent yes\nHost 192.0.2.1\n  ProxyJump jump.example\n"
    (tmp_path / ".ssh" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(tmp_path))
    connection = _configure("192.0.2.1", None, None)
    assert [hop.forward_agent for hop in (connection, *_jumps(connection))] == [False, False]
