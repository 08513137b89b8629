"""What is said of a relay that is down while `inv open` and `inv rollback` change the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from commands import open as open_command
from commands import rollback
from commands.open import OpenOptions
from commands.rollback import RollbackOptions
from deploy.plan import HostError
from fleet import relay_cli
from fleet.relay_answers import RelayAnswer
from fleet.relay_cli import CustomerRelays
from fleet.rollback_preview import Preview
from inventory.model import Relay
from tests.roles.test_relay import customer, relay

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
    preview = Preview(frozenset(), frozenset(), is_asked=True)
    monkeypatch.setattr(rollback, "preview_rollbacks", lambda *_: {"mx1": preview})
    monkeypatch.setattr(rollback, "_put_back", lambda *_: {"mx1": RelayAnswer(0, {"line": "acme: rolled back"})})
    assert rollback.rollback("acme", RollbackOptions()) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "mx2: not known to be done there; once it is back, `inv rollback acme --dry-run` shows who" in said
