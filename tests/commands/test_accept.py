"""What `inv accept` says of unlisted addresses: what is true on each relay, not what the inventory wants."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands.accept import AcceptOptions, accept, unlisted_lines
from common.exit_codes import DONE
from fleet import relay_cli
from fleet.relay_answers import Answers, RelayAnswer
from fleet.relay_cli import CustomerRelays
from inventory.model import Customer

VERIFY = "; `inv verify acme` asks its relays"
NOW = "acme: from now on who is not listed is"
SAYS = "acme: customers/acme.toml says unlisted ="
SAID: dict[str, tuple[str, dict[str, dict[str, Any]], list[str]]] = {
    "all refuse, as they are to": (
        "refuse",
        {"mx1": {"unlisted": "refuse"}, "mx2": {}},
        [f"{NOW} refused{VERIFY}"],
    ),
    "the word has not been provisioned": (
        "defer",
        {"mx1": {"unlisted": "refuse"}, "mx2": {"unlisted": "refuse"}},
        [
            f"{NOW} refused{VERIFY}",
            f'{SAYS} "defer", which is not in force on mx1, mx2 yet: `inv provision acme`',
        ],
    ),
    "one relay has it and one has not": (
        "ask",
        {"mx1": {"unlisted": "ask"}, "mx2": {"unlisted": "refuse"}},
        [
            f"{NOW} asked about at the customer's own server on mx1, and refused on mx2{VERIFY}",
            f'{SAYS} "ask", which is not in force on mx2 yet: `inv provision acme`',
        ],
    ),
    "a server that refuses to be asked": (
        "ask",
        {"mx1": {"unlisted": "ask", "put_off": True}},
        [f"{NOW} put off (450){VERIFY}"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_accept_says_what_each_relay_does_with_unlisted_addresses(case: str) -> None:
    wanted, records, lines = SAID[case]
    assert unlisted_lines("acme", wanted, records) == lines


def test_relays_that_accept_are_told_who_had_mail_on_any_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower takes mail too, and no upload relay knows of that."""
    given: dict[str, bytes] = {}
    mail = {"had_mail": {"late@acme.example": "2026-11-28"}, "waiting": {}, "mail_days": {"late@acme.example": 1}}
    said: dict[str, dict[str, Any]] = {
        "status": {"mx1": {"held": {"list": "a" * 64}}},
        "refusals": {
            "mx1": {**mail, "had_mail": {}, "mail_days": {}, "incomplete": ""},
            "mx9": {**mail, "incomplete": ""},
        },
        "accept": {"mx1": {"line": "acme: done"}},
    }

    def ask(_: object, __: str, verb: str, *words: str, stdin: bytes = b"", needs: str = "") -> Answers:
        given[verb] = stdin
        return {name: RelayAnswer(DONE, record) for name, record in said[verb].items()}

    scope = CustomerRelays(cast("Customer", SimpleNamespace(upload_relays=("mx1",), unlisted=None)), ())
    monkeypatch.setattr(relay_cli, "ask_relays", ask)
    monkeypatch.setattr(CustomerRelays, "of", lambda _: scope)
    options = AcceptOptions({"first": "40"}, "a" * 64, as_json=True)
    assert accept("acme", options) == DONE
    assert json.loads(given["accept"]) == {"late@acme.example": ["2026-11-28", 1]}
