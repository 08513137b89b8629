"""One review of what several relays say: who goes on any of them, who had mail on any, and what could not be seen."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.plan import HostError
from fleet import reviews
from fleet.relay_answers import RelayAnswer
from receiver.lists.review_record import MailSeen, Numbers, ReviewRecord

NAME, OLDER = "a" * 64, "b" * 64
SALES, ANNA, BOB = "sales@acme.example", "anna@acme.example", "bob@acme.example"
NOTHING = RelayAnswer(0, {"postern": 1, "customer": "acme", "list": "", "numbers": None, "lines": ["acme: nothing"]})


def holds(**fields: Any) -> RelayAnswer:
    """What a relay says that holds a first list of anna."""
    record = {
        "customer": "acme",
        "list": NAME,
        "total": 1,
        "in_force": 3,
        "reasons": ["first list of acme.example (1)"],
        "left_out": {},
        "named": [],
        "since": 1_790_000_000,
        "pinned": False,
        "when": 1_790_000_000,
        "key": "k1",
        "client": "198.51.100.7",
        "by": "",
        "first": [ANNA],
        "coming": [],
        "going": [],
        "closing": ["acme.example"],
        "always": ["postmaster@acme.example"],
        "takes_plus": False,
        "numbers": {},
        "mail": {},
        "mail_days": 14,
        "unseen": [],
        "next_hop": "",
        "lines": [],
        "command": "accept acme",
    }
    return RelayAnswer(0, {**record, **fields})


def mail(incomplete: str = "", **days: int) -> RelayAnswer:
    """What a relay says of who had mail."""
    seen = {f"{name}@acme.example": count for name, count in days.items()}
    had = dict.fromkeys(seen, "2026-11-28")
    return RelayAnswer(0, {"had_mail": had, "waiting": {}, "mail_days": seen, "incomplete": incomplete})


def united(answers: dict[str, Any], mails: dict[str, Any]) -> ReviewRecord:
    record = reviews.unite("acme", answers, mails)
    assert record is not None
    return record


def test_mail_on_any_relay_counts_also_where_nothing_is_held() -> None:
    record = united({"mx1": holds(), "mx2": NOTHING}, {"mx1": mail(sales=1, anna=3), "mx2": mail(sales=3, bob=1)})
    assert record.mail == {SALES: MailSeen("2026-11-28", 3), BOB: MailSeen("2026-11-28", 1)}
    assert record.command("acme") == f"accept acme --first 1 --although-mail 2 --list {NAME}"


def test_mail_that_waits_on_one_relay_is_mail() -> None:
    waits = RelayAnswer(0, {"had_mail": {}, "waiting": {BOB: "2026-11-27"}, "mail_days": {BOB: 1}, "incomplete": ""})
    assert united({"mx1": holds()}, {"mx1": waits}).mail == {BOB: MailSeen("2026-11-27", 1)}


def test_who_would_go_on_any_relay_is_counted_once() -> None:
    answers = {"mx1": holds(going=[BOB]), "mx2": holds(going=[BOB, SALES])}
    assert united(answers, {"mx1": mail(bob=1), "mx2": mail()}).numbers == Numbers(1, 0, 2, 1)


def test_the_newest_list_names_the_review_where_relays_hold_different_ones() -> None:
    answers = {"mx1": holds(list=OLDER, when=1_780_000_000, first=[ANNA, BOB]), "mx2": holds()}
    record = united(answers, {"mx1": mail(bob=1), "mx2": mail()})
    assert (record.list, record.first) == (NAME, 2)
    assert record.mail.keys() == {BOB}, "he is refused where the newer list is taken"
    shown = reviews.with_review("acme", answers, record, {})["mx1"]
    assert isinstance(shown, RelayAnswer)
    assert "mx1 holds another list, of 2026-05-28 20:26 UTC: there accept takes that list" in shown.text


@pytest.mark.parametrize(
    ("said", "unseen"),
    [
        (HostError("no connection to 192.0.2.1 port 22"), "mx3: no connection to 192.0.2.1 port 22"),
        (mail(incomplete="the mail log is known since 2026-11-27"), "mx3: the mail log is known since 2026-11-27"),
        (RelayAnswer(4, {"line": "acme: failed: mail-log.json: no"}), "mx3: acme: failed: mail-log.json: no"),
        (RelayAnswer(0, {"had_mail": 5}), "mx3: what it says of its mail log cannot be understood"),
    ],
    ids=["not reached", "begins too late", "cannot be read", "another shape"],
)
def test_what_one_relay_of_three_could_not_see_is_said_and_wants_a_word(said: Any, unseen: str) -> None:
    answers = {"mx1": holds(), "mx2": NOTHING, "mx3": said if isinstance(said, HostError) else NOTHING}
    record = united(answers, {"mx1": mail(), "mx2": mail(), "mx3": said})
    assert record.unseen == (unseen,)
    assert record.command("acme") == f"accept acme --first 1 --log-incomplete --list {NAME}"
    shown = reviews.with_review("acme", answers, record, {})["mx1"]
    assert isinstance(shown, RelayAnswer)
    assert f"there may have been more mail: {unseen}" in shown.text


def test_a_relay_that_cannot_keep_the_review_says_so_in_its_row() -> None:
    answers = {"mx1": holds(), "mx2": NOTHING}
    record = united(answers, {"mx1": mail(), "mx2": mail()})
    error = HostError("the disk is full")
    assert reviews.with_review("acme", answers, record, {"mx1": RelayAnswer(0, {}), "mx2": error})["mx2"] is error


def test_a_review_that_is_not_in_the_store_says_so() -> None:
    answers = {"mx1": holds(), "mx2": NOTHING}
    record = united(answers, {"mx1": mail(), "mx2": mail()})
    noted = {
        "mx1": RelayAnswer(0, {"unshared": "the store is not reached\x1b"}),
        "mx2": RelayAnswer(0, {"unshared": ""}),
    }
    shown = reviews.with_review("acme", answers, record, noted)["mx1"]
    assert isinstance(shown, RelayAnswer)
    assert "mx1 could not record this review in the store, and a relay that was not asked" in shown.text
    assert "\x1b" not in shown.text
    assert "mx2 could not" not in shown.text


def test_a_relay_of_the_first_release_is_named_and_gets_no_command() -> None:
    old = RelayAnswer(0, {"list": NAME, "number": {}, "lines": ["acme: held", "inv accept acme --first 1"]})
    answers = {"mx1": holds(), "mx2": old}
    record = united(answers, {"mx1": mail(), "mx2": HostError("it does not know that yet")})
    assert any(each.startswith("mx2: its release of Postern keeps no record") for each in record.unseen)
    shown = reviews.with_review("acme", answers, record, {})["mx2"]
    assert isinstance(shown, RelayAnswer)
    assert "inv accept acme" not in shown.text
    assert "`inv provision acme` comes before `inv accept`" in shown.text


@pytest.mark.parametrize(
    "damage", [{"going": 5}, {"in_force": "many"}, {"when": "x"}, {"first": None}, {"mail": []}, {"reasons": 1}]
)
def test_attack_a_review_of_another_shape_is_that_relay_s_error(damage: dict[str, Any]) -> None:
    checked = reviews.check({"mx1": holds(**damage), "mx2": holds()})
    assert isinstance(checked["mx1"], HostError)
    assert isinstance(checked["mx2"], RelayAnswer)
