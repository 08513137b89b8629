"""What is said of a relay that is down, or cannot say what it is asked, while commands change the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from commands import accept, resume, rollback
from commands import open as open_command
from commands.accept import AcceptOptions
from commands.open import OpenOptions
from commands.rollback import RollbackOptions
from console.errors import Refused
from deploy.plan import HostError
from fleet import relay_cli
from fleet.relay_answers import Answers, RelayAnswer
from fleet.relay_cli import CustomerRelays
from fleet.rollback_preview import Preview
from inventory.model import Relay
from tests.roles.test_relay import customer, relay

NOBODY_MOVES = Preview(frozenset(), frozenset(), is_asked=True)
DOWN = HostError("no connection to 127.0.0.9 port 22: Connection refused")


@pytest.fixture(autouse=True)
def acme_on_two_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    relays = (relay(), relay(name="mx2"))
    found = CustomerRelays(customer(relays=("mx1", "mx2")), relays)
    monkeypatch.setattr(CustomerRelays, "of", lambda *_: found)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (False, "once it is back, `inv open acme`, or `inv provision acme`, opens there too"),
        (True, "relays that were opened accept every address until `inv open acme --end` ends it there too"),
    ],
)
def test_open_says_what_opens_a_relay_that_was_down(
    end: bool, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def connect(to: Relay) -> Iterator[None]:
        if to.name == "mx2":
            raise DOWN
        yield

    done = RelayAnswer(0, {"line": "acme: opened"})
    monkeypatch.setattr(open_command, "connect", connect)
    monkeypatch.setattr(open_command, "_record", lambda *_: None)
    monkeypatch.setattr(open_command, "_open", lambda *_: done)
    monkeypatch.setattr(open_command, "_end", lambda *_: done)
    assert open_command.open_customer("acme", OpenOptions(end=end)) == 4
    assert f"mx2: not known to be done there; {says}" in " ".join(capsys.readouterr().err.split())


def test_rollback_says_which_command_puts_the_list_back_there_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known: dict[str, Any] = {"history": [{"list": "ab", "back": 1}]}
    monkeypatch.setattr(relay_cli, "ask_relays", lambda *_: {"mx1": RelayAnswer(0, known), "mx2": DOWN})
    monkeypatch.setattr(rollback, "preview_rollbacks", lambda *_: {"mx1": NOBODY_MOVES})
    monkeypatch.setattr(rollback, "_put_back", lambda *_: {"mx1": RelayAnswer(0, {"line": "acme: rolled back"})})
    assert rollback.rollback("acme", RollbackOptions()) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "mx2: not known to be done there; once it is back, `inv rollback acme --dry-run` shows who" in said


UNKNOWN = RelayAnswer(2, {"line": "acme: no such customer on this relay"})
KNOWN: dict[str, Any] = {"history": [{"list": "ab", "back": 1}], "log": [], "held": {"list": "ab"}, "pinned": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Each verb that was run, and on which relays: the customer is on mx1, and not yet on mx2."""
    found: list[tuple[str, ...]] = []

    def ask(scope: CustomerRelays, _: str, verb: str, *words: str, **__: object) -> Answers:
        found.append((verb, *(each.name for each in scope.relays)))
        mail = {"had_mail": {}, "waiting": {}, "mail_days": {}, "incomplete": ""}
        said = RelayAnswer(0, {"line": f"acme: {verb} done", **(mail if verb == "refusals" else KNOWN)})
        return {each.name: said if each.name == "mx1" else UNKNOWN for each in scope.relays}

    monkeypatch.setattr(relay_cli, "ask_relays", ask)
    monkeypatch.setattr(relay_cli, "ask_customers", lambda scopes, verb: {"acme": ask(scopes[0], "", verb)})
    return found


def test_a_relay_without_the_customer_keeps_no_other_one_from_rolling_back(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rollback, "preview_rollbacks", lambda scope, *_: {scope.relays[0].name: NOBODY_MOVES})
    monkeypatch.setattr(rollback, "_put_back", lambda *_: {"mx1": RelayAnswer(0, {"line": "acme: rolled back"})})
    assert rollback.rollback("acme", RollbackOptions()) == 2
    assert rollback.bring_back("acme", RollbackOptions(entry="0123456789ab")) == 2
    assert asked[-1] == ("rollback", "mx1")
    said = capsys.readouterr().out
    assert said.count("mx2: acme: no such customer on this relay") == 2
    assert "mx1: acme: rolled back" in said


def test_a_relay_that_cannot_say_whether_it_holds_a_list_is_named_by_accept(
    asked: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    options = AcceptOptions({"first": "40"}, "a" * 64, log_incomplete=True)
    assert accept.accept("acme", options) == 2
    assert asked[-1] == ("accept", "mx1")
    assert "mx2: acme: no such customer on this relay" in capsys.readouterr().out


def test_a_relay_that_cannot_say_whether_uploads_are_frozen_is_named_by_resume(
    asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resume, "_upload_relays", lambda _: [CustomerRelays.of("acme")])
    assert resume.resume("acme", dry_run=True, as_json=False) == 2
    said = capsys.readouterr().out
    assert "no such customer on this relay" in said
    assert "nothing to change" not in said


@pytest.mark.parametrize("as_json", [False, True])
def test_a_look_at_a_rollback_names_a_relay_that_was_not_asked(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(relay_cli, "ask_relays", lambda *_: {"mx1": RelayAnswer(0, KNOWN), "mx2": DOWN})
    monkeypatch.setattr(rollback, "preview_rollbacks", lambda *_: {"mx1": NOBODY_MOVES})
    assert rollback.rollback("acme", RollbackOptions(dry_run=True, as_json=as_json)) == 4
    said = capsys.readouterr()
    assert "mx2: no connection to" in said.err
    assert "inv rollback acme" in said.out


@pytest.mark.parametrize("wrong", [{"pinned": True}, {"history": None}, {"history": [{"list": "ab"}]}])
def test_a_relay_with_a_history_of_another_shape_keeps_no_other_one_from_rolling_back(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"mx1": RelayAnswer(0, KNOWN), "mx2": RelayAnswer(0, {**KNOWN, **wrong})}
    monkeypatch.setattr(relay_cli, "ask_relays", lambda *_: answers)
    monkeypatch.setattr(rollback, "preview_rollbacks", lambda scope, *_: {scope.relays[0].name: NOBODY_MOVES})
    monkeypatch.setattr(rollback, "_put_back", lambda *_: {"mx1": RelayAnswer(0, {"line": "acme: rolled back"})})
    assert rollback.rollback("acme", RollbackOptions()) == 4
    said = capsys.readouterr()
    assert "mx1: acme: rolled back" in said.out
    assert "mx2: it is not of the shape" in said.err


def test_a_second_rollback_names_a_relay_that_is_still_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = RelayAnswer(0, {**KNOWN, "pinned": {"list": "ab"}})
    monkeypatch.setattr(relay_cli, "ask_relays", lambda *_: {"mx1": frozen, "mx2": DOWN})
    with pytest.raises(Refused, match="frozen already, to list ab, on mx1; "):
        rollback.rollback("acme", RollbackOptions())
    assert "mx2: no connection to" in capsys.readouterr().err


def test_a_followers_marker_stays_where_no_upload_relay_has_ended_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store would count the list as accepted on the follower, and close its domains at once."""
    ended: list[str] = []

    @contextmanager
    def connect(to: Relay) -> Iterator[Relay]:
        if to.name == "mx1":
            raise DOWN
        yield to

    def end(host: Relay, *_: object) -> RelayAnswer:
        ended.append(host.name)
        return RelayAnswer(0, {"line": "acme: not opened any more"})

    found = CustomerRelays.of("acme")
    follows = found.customer.model_copy(update={"upload_relays": ("mx1",), "followers": ("mx2",)})
    monkeypatch.setattr(CustomerRelays, "of", lambda *_: found._replace(customer=follows))
    monkeypatch.setattr(open_command, "connect", connect)
    monkeypatch.setattr(open_command, "_record", lambda *_: None)
    monkeypatch.setattr(open_command, "_end", end)
    assert open_command.open_customer("acme", OpenOptions(end=True)) == 4
    assert ended == []
    assert "mx2: its marker stays until an upload relay" in capsys.readouterr().err
