"""What `inv verify` makes of relays' answers, whatever their shape: domains that relays list differently."""

from __future__ import annotations

from typing import Any

import pytest

from commands.verify import check_shape, find_differences
from deploy.plan import HostError


def test_customers_on_different_relays_are_compared_where_both_have_them() -> None:
    """One relay of two has bolt alone, a third does not answer."""
    answers = {
        "mx1": {"listed": {"acme.example": (3, "aa"), "bolt.example": (2, "bb")}},
        "mx2": {"listed": {"bolt.example": (1, "cc")}},
        "mx3": HostError("no connection"),
    }
    assert [*find_differences(answers)] == [
        "bolt.example: its relays list different addresses (mx1 2, mx2 1); see `inv status`"
    ]


ANSWER: dict[str, Any] = {
    "asked": {"acme.example": [["bob@acme.example", "250", "250 2.1.5 Ok"]]},
    "listed": {"acme.example": [1, "aa"]},
    "refused": {"bolt.example": "it comes to `reject`"},
    "caller": {"is": "an outsider (192.0.2.2)", "outside": True, "why": ""},
}


@pytest.mark.parametrize("name", ANSWER)
@pytest.mark.parametrize("shape", [None, -7, "x", [[{}], 5], {"x": {"x": [None]}}, {"x": None}, {"x": [5]}, {"is": 5}])
def test_attack_an_answer_of_recipients_of_another_shape_is_that_relay_s_failure(name: str, shape: Any) -> None:
    assert check_shape(ANSWER) == ANSWER
    with pytest.raises(HostError, match="not of the shape"):
        check_shape({**ANSWER, name: shape})
