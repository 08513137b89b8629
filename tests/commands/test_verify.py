"""What `inv verify` says beyond each relay's answers: domains of which relays list different addresses."""

from __future__ import annotations

from commands.verify import find_differences
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
