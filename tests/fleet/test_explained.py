"""What follows from what a relay says of an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.explained import AddressState, advise, describe
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


TAGGED = {
    **UNLISTED,
    "address": "anna+x@acme.example",
    "unlisted": "refuse",
    "plus": {"base": "anna@acme.example", "is_listed": True, "is_taken": False},
}
KNOWN = {"member": "hash:/etc/postern/tables/exchange_recipients", "key": "anna@acme.example", "caller": "an outsider"}


def description(folder: Path, **mails: dict[str, Any]) -> tuple[str, list[str]]:
    """What is said of an address with a tag, and what is to be done, by what each relay's Postfix does with it."""
    one, name = customer(), "anna+x@acme.example"
    states = {relay: describe(one, name, AddressState(TAGGED, mail), folder) for relay, mail in mails.items()}
    return "\n".join(line for state in states.values() for line in state.lines), advise(one, states)


def test_an_address_with_a_tag_that_the_relay_takes_by_its_delimiter_wants_nothing(tmp_path: Path) -> None:
    said, advice = description(tmp_path, mx1={**KNOWN, "answer": "250 2.1.5 Ok"})
    assert "taken with its tag: recipient_delimiter of this relay makes it anna@acme.example" in said
    assert "not taken" not in said
    assert advice == ["nothing here: its mail is taken. If it does not arrive, look where mail for it goes"]


def test_an_address_with_a_tag_is_refused_where_the_relay_says_so_whatever_its_table_knows(tmp_path: Path) -> None:
    """Where unlisted addresses are put off, the answer is given before recipient_delimiter is looked at."""
    for answer in ("550 5.1.1 User unknown", "450 4.1.1 unlisted", ""):
        said, advice = description(tmp_path, mx1={**KNOWN, "answer": answer})
        assert "taken with its tag" not in said
        assert advice[0] == "`plus_addresses = true` in customers/acme.toml takes it with its tag"


def test_relays_of_other_delimiters_list_the_same(tmp_path: Path) -> None:
    taken = {**KNOWN, "answer": "250 2.1.5 Ok"}
    _, advice = description(tmp_path, mx1=taken, mx2={**KNOWN, "member": "", "answer": "550 5.1.1 User unknown"})
    assert advice[0] == "`plus_addresses = true` in customers/acme.toml takes it with its tag"
    assert not any("do not list the same" in line for line in advice)
