"""Which problems of a list `inv status` shows."""

from __future__ import annotations

from typing import Any

from common.release import RELEASE
from common.settings import Settings
from fleet.list_state import read_list_state
from fleet.problems import list_problems, relay_problems
from inventory import Inventory
from remote import list_status
from roles.relay.facts import BLANK
from tests.roles.test_relay import customer

NOW = 1_800_000_000
HELD = {
    "list": "ab",
    "since": NOW - 60,
    "reasons": ["99.6 % would go (231 of 232), limit 10 %"],
    "origin": {"when": NOW - 60, "key": "k1", "client": "192.0.2.1"},
}


def problems_of(**files: Any) -> dict[str, str]:
    one = customer(domains=("acme.example", "new.example"))
    settings = Settings(one.id, "exchange-5.5", one.domains)
    spool = {**dict.fromkeys(list_status.FILES), "list": None, "opened": None, **files}
    return {each.kind: each.text for each in list_problems(one, read_list_state(settings, spool, NOW))}


def accepted(*domains: str) -> dict[str, Any]:
    return {"domains": dict.fromkeys(domains, NOW - 60), "list": "ab"}


def test_a_domain_that_is_open_is_told_beside_a_list_that_is_held() -> None:
    """After `inv open --end`, and where a domain was added while another's list is held."""
    both = "acme.example, new.example"
    ended = problems_of(held=HELD, accepted=accepted())
    assert list(ended) == ["held", "first list"]
    assert ended["first list"] == f"open until a list is accepted: {both}"
    added = problems_of(held=HELD, accepted=accepted("acme.example"))
    assert added["first list"] == "open until a list is accepted: new.example"
    assert list(problems_of(held=HELD, accepted=accepted("acme.example", "new.example"))) == ["held"]


def problems_of_relay(**timer: Any) -> list[tuple[str, str]]:
    relay = BLANK._replace(customers=("acme",), release=RELEASE, clock=NOW, timer=timer)
    everything = Inventory({}, {"acme": customer(relays=("mx1",))})
    return [(each.kind, each.text) for each in relay_problems("mx1", everything, relay, NOW, [])]


def test_a_relay_whose_timer_runs_no_more_is_named() -> None:
    assert problems_of_relay(ran=NOW - 1_700, alarms=[]) == []
    ((kind, text),) = problems_of_relay(ran=NOW - 7_200, alarms=[["mail log", "long ago"]])
    assert kind == "timer"
    assert text.startswith("its timer has not run for 2 h: it raises no alarm, and opens no domain; does cron ")
    assert problems_of_relay() == [], "a relay that was just set up, or of an older release"


def test_what_a_relay_s_timer_found_of_the_relay_is_shown() -> None:
    said = "no mail log is found, nor a journal: refusals are not watched"
    assert problems_of_relay(ran=NOW - 60, alarms=[["mail", said]]) == [("mail", said)]


def test_domains_that_a_person_has_opened_are_named_once() -> None:
    opened = {"customer": "acme", "since": NOW - 60, "by": "ann@desk"}
    assert list(problems_of(opened=opened, accepted=accepted())) == ["open"]
