"""What is brought of the lists that relays have, and when none is."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.existing_lists import describe, unite

CLOSED = {"state": "closed", "by": "relay_recipient_maps", "tables": ["hash:/r"], "kind": "relay", "reply": "550 x"}
OPEN = {**CLOSED, "state": "open", "entry": "@acme.example"}
PUT_OFF = {**CLOSED, "state": "put off", "reply": "451 4.3.0", "tables": ["hash:/gone"]}


def relay(*taken: str, one: dict[str, Any] = CLOSED, fault: str = "", **more: Any) -> dict[str, Any]:
    tables = [{"table": "hash:/r", "parameter": "relay_recipient_maps", "fault": fault}]
    return {"domains": {"acme.example": one}, "tables": tables, "taken": [*taken], "kept": [], **more}


def test_what_is_brought_is_the_union_of_what_the_relays_take() -> None:
    found = unite({"mx1": relay("a@acme.example"), "mx2": relay("b@acme.example", kept=[["c@acme.example", ""]])})
    assert found.recipients == ("a@acme.example", "b@acme.example", "c@acme.example")
    assert (found.reasons, found.notes) == ((), ())


def test_a_relay_that_has_the_domain_open_makes_it_a_first_list() -> None:
    found = unite({"mx1": relay("a@acme.example"), "mx2": relay(one=OPEN)})
    assert found.recipients == ("a@acme.example",)
    assert "mx2: acme.example is open today: @acme.example in hash:/r" in found.notes[0]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (relay(one=OPEN), "is open today"),
        (relay("a@acme.example", fault="tables of type regexp cannot be listed"), "not known in full"),
        (relay(), "no relay has a list of people"),
        (relay(one=PUT_OFF), "hash:/gone"),
        (relay(one={**CLOSED, "kind": "virtual alias"}), "class virtual alias"),
        ({"fault": "Postfix is stopped"}, "Postfix is stopped"),
    ],
)
def test_no_list_is_brought_without_the_whole_of_it_and_the_reason_is_said(state: dict[str, Any], reason: str) -> None:
    found = unite({"mx1": state})
    assert found.recipients == ()
    assert reason in "; ".join(found.reasons)


def test_a_domain_that_our_own_table_alone_closes_says_so() -> None:
    one = {**CLOSED, "tables": [], "is_outside": True}
    state = relay(one=one, twice=[], dropped=[], delimiter="", feeds=[]) | {"tables": [], "own routes": {}}
    first = describe(state)[0]
    assert first == "acme.example is closed today by relay_recipient_maps (our own table): a stranger is told '550 x'"


def test_a_list_given_by_hand_is_brought_beside_what_is_taken_of_an_open_domain_too() -> None:
    assert unite({"mx1": relay(one=OPEN)}, ["a@acme.example"]).recipients == ("a@acme.example",)
    assert unite({"mx1": relay("b@acme.example")}, ["a@acme.example"]).recipients == (
        "a@acme.example",
        "b@acme.example",
    )
    assert unite({"mx1": relay(one=PUT_OFF)}, ["a@acme.example"]).recipients == ()
