"""What was read of spools on a relay: whatever lies there."""

from __future__ import annotations

from common.spool_files import LATEST
from fleet import spool_data


def test_keys_seen_are_told_of_whatever_a_spool_says() -> None:
    """What lies in a spool may be anybody's work."""
    spools = {
        "acme": {"keys": {"k1": {"first": 1, "last": 2}}},
        "bolt": {"keys": ["k1"]},
        "cork": "bolt cannot be read",
        "dune": None,
    }
    assert spool_data.keys_seen(spools) == {
        "acme": frozenset({"k1"}),
        **dict.fromkeys(("bolt", "cork", "dune"), frozenset()),
    }


def test_lists_seen_are_told_of_whatever_a_spool_says() -> None:
    some = {"bytes": 10, "changed": 1}
    spools = {
        "acme": {"accepted": {"domains": {"a.example": 5, "b.example": 7}}, "list": some},
        "held": {"accepted": None, "list": some},
        "empty": {"accepted": None, "list": None},
        "new": {"accepted": {"domains": {}}, "list": None},
        "far": {"accepted": {"domains": {"a.example": 10**19, "b.example": "x"}}, "list": some},
        "odd": {"accepted": {"domains": 7}, "list": None},
        "damaged": "damaged cannot be read",
        "gone": None,
    }
    assert spool_data.lists_seen(spools) == {"acme": 7, "held": 0, "far": LATEST, "odd": 0, "damaged": 0}
    assert spool_data.lists_seen(None) == {}
