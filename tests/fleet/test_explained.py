"""What follows from what a relay says of an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.explained import AddressState, describe
from tests.roles.test_relay import customer

UNLISTED: dict[str, Any] = {
    "address": "new@acme.example",
    "domain": "acme.example",
    "domain_is": "closed",
    "unlisted": "ask",
    "last_good": 1_700_000_000,
    "listed": "",
    "since": None,
    "removed": None,
    "left_out": None,
    "plus": None,
    "excluded": False,
    "held": None,
    "pinned": None,
    "in_table": False,
    "refused": {},
    "refused_days": [],
    "had_mail": "",
    "waiting": "",
    "log_since": "",
}
KEPT = {"map": "btree:/var/lib/postfix/verify_cache", "refresh": "15m", "expire": "3d"}


def lines(folder: Path, **changes: Any) -> str:
    state = AddressState({**UNLISTED, **changes}, {"kept_answers": KEPT})
    return "\n".join(describe(customer(), "new@acme.example", state, folder).lines)


def test_where_a_server_is_asked_its_kept_answers_are_named_with_the_age_of_a_no(tmp_path: Path) -> None:
    said = "kept in btree:/var/lib/postfix/verify_cache: a no that is older than 15m is asked again"
    assert said in lines(tmp_path)
    assert "none is older than 3d" in lines(tmp_path)
    assert "verify_cache" not in lines(tmp_path, unlisted="refuse")


def test_a_server_that_refuses_to_be_asked_is_told_and_not_its_answers_promised(tmp_path: Path) -> None:
    assert "is put off (450) for now, as the customer's own server refuses to be asked" in lines(tmp_path, put_off=True)
