"""`inv accept`: who had mail on any relay, and what becomes of unlisted addresses on each."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from commands.accept import AcceptOptions, accept, unlisted_lines
from common.exit_codes import DONE
from console.errors import Refused
from deploy.plan import HostError
from fleet import relay_cli
from fleet.relay_answers import Answer, Answers, RelayAnswer
from fleet.relay_cli import CustomerRelays
from inventory.model import Customer

FIRST = AcceptOptions({"first": "40"}, "a" * 64, as_json=True)
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


Said = dict[str, dict[str, Answer]]
MAIL = {"had_mail": {}, "waiting": {}, "mail_days": {}, "incomplete": ""}


@pytest.fixture
def customer(monkeypatch: pytest.MonkeyPatch) -> tuple[Said, dict[str, bytes]]:
    """What each relay answers to each verb, and what came on stdin of the verbs that were run."""
    said: Said = {
        "status": {"mx1": RelayAnswer(DONE, {"held": {"list": "a" * 64}})},
        "refusals": {"mx1": RelayAnswer(DONE, MAIL)},
        "accept": {"mx1": RelayAnswer(DONE, {"line": "acme: done"})},
    }
    given: dict[str, bytes] = {}

    def ask(_: object, __: str, verb: str, *words: str, stdin: bytes = b"", needs: str = "") -> Answers:
        given[verb] = stdin
        return said[verb]

    scope = CustomerRelays(cast("Customer", SimpleNamespace(upload_relays=("mx1",), unlisted=None)), ())
    monkeypatch.setattr(relay_cli, "ask_relays", ask)
    monkeypatch.setattr(CustomerRelays, "of", lambda _: scope)
    return said, given


def test_relays_that_accept_are_told_who_had_mail_on_any_relay(customer: tuple[Said, dict[str, bytes]]) -> None:
    """A follower takes mail too, and no upload relay knows of that."""
    said, given = customer
    late = {"had_mail": {"late@acme.example": "2026-11-28"}, "mail_days": {"late@acme.example": 1}}
    said["refusals"]["mx9"] = RelayAnswer(DONE, {**MAIL, **late})
    assert accept("acme", FIRST) == DONE
    assert json.loads(given["accept"]) == {"late@acme.example": ["2026-11-28", 1]}


@pytest.mark.parametrize("holds", [False, True], ids=["a follower", "one of two that accept"])
@pytest.mark.parametrize(
    ("mail", "why"),
    [
        (HostError("no connection to 192.0.2.9 port 22"), "mx9: no connection to 192.0.2.9 port 22"),
        (RelayAnswer(DONE, {**MAIL, "incomplete": "the mail log has gaps"}), "mx9: the mail log has gaps"),
    ],
    ids=["it is down now", "its log was lost since the review"],
)
def test_mail_that_a_relay_cannot_tell_of_any_more_may_have_been_missed(
    customer: tuple[Said, dict[str, bytes]], mail: Answer, why: str, holds: bool
) -> None:
    said, given = customer
    said["refusals"]["mx9"] = mail
    if holds:  # it refuses for itself alone, and the other one would accept
        said["status"]["mx9"] = said["status"]["mx1"]
    with pytest.raises(Refused) as error:
        accept("acme", FIRST)
    assert str(error.value) == (
        f"acme: there may have been more mail since the review: {why}; --log-incomplete takes the list all the same"
    )
    assert "accept" not in given
    assert accept("acme", FIRST._replace(log_incomplete=True)) == DONE


@pytest.mark.parametrize("frozen", [False, True], ids=["alone", "beside one that is frozen, as it is"])
def test_a_relay_that_no_other_goes_by_judges_by_its_own_log(
    customer: tuple[Said, dict[str, bytes]], frozen: bool
) -> None:
    """It may have other reasons to say first: its release, or that uploads are frozen."""
    said, given = customer
    said["refusals"]["mx1"] = RelayAnswer(DONE, {**MAIL, "incomplete": "the mail log has gaps"})
    if frozen:
        held = RelayAnswer(DONE, {"held": {"list": "a" * 64}, "pinned": {"list": "b" * 64}})
        said["status"] = {"mx1": held, "mx2": held}
        said["refusals"]["mx2"] = said["refusals"]["mx1"]
    assert accept("acme", FIRST) == DONE
    assert "accept" in given
