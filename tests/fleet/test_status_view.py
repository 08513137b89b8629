"""What `inv status` shows of 150 customers on 6 relays: what needs somebody first, and nothing folded at 80 columns."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

import inventory
from common import exit_codes
from common.release import RELEASE
from console import terminal
from fleet import problems, status_view
from fleet.key_state import key_problems
from fleet.problems import Problem
from fleet.status_view import BRIEF_COLUMNS, Overview, Row
from inventory import Inventory
from inventory.model import Key
from receiver.formatting import format_age
from roles.relay.facts import BLANK

NOW = 1_800_000_000
RELAYS = tuple(f"mx{number}" for number in range(1, 7))
HELD = Problem("held", "held since 2027-01-14 08:00 UTC: 41.2 % would go (7 of 17), limit 10 %; see `inv review`")
ROTATION = Problem("rotation", "a key rotation is open (k1, k2); k2 has not been used here yet", urgent=False)
DOWN = Problem("not reached", "not reached: Connection refused")


def row(customer: str, relay: str, *needs: Problem) -> Row:
    return Row(customer, relay, needs, 250, "aa", NOW - 180, NOW - 5 * 3600, "published", "k1", 40, NOW - 180)


def fleet(*special: Row, **relays: Problem) -> Overview:
    """150 customers on 6 relays, all well but for the rows that are given."""
    given = {(one.customer, one.relay): one for one in special}
    names = [f"customer-{number:03}" for number in range(150)]
    rows = [given.get((name, relay)) or row(name, relay) for name in names for relay in RELAYS]
    return Overview({name: (relays[name],) if name in relays else () for name in RELAYS}, rows)


def test_the_summary_counts_what_needs_somebody_and_what_is_only_noticed() -> None:
    found = fleet(
        row("customer-149", "mx5", HELD),
        row("customer-149", "mx6", HELD),
        row("customer-003", "mx1", ROTATION),
        mx2=DOWN,
    )
    assert status_view.summary(found) == (
        "900 lists of 150 customers on 5 of 6 relays; needs somebody: 2 lists of 1 customer and 1 relay (mx2); "
        "with a notice: 1 list"
    )
    assert status_view.summary(fleet()) == "900 lists of 150 customers on 6 relays; nothing needs somebody"


def test_a_frozen_list_is_called_so_in_each_column() -> None:
    needs = Problem("pinned", "frozen since 2027-01-14 08:00 UTC by bob; `inv resume acme` ends it")
    frozen = row("acme", "mx1", needs)._replace(did="pinned")
    found = Overview({"mx1": ()}, [frozen])
    (brief,), (piped,) = status_view.brief_rows(found, NOW), status_view.pipe_rows(found)
    assert (brief[5], brief[7], piped[5]) == ("frozen", "frozen", "frozen")
    many = Overview({"mx1": ()}, [frozen._replace(customer=f"c{number}") for number in range(9)])
    assert status_view.sentences(many)[-1].startswith("frozen: 6 more like these")


def test_a_database_that_is_down_is_one_sentence_of_a_whole_fleet() -> None:
    names = [f"mx{number}" for number in range(200)]
    facts = BLANK._replace(release=RELEASE, customers=("acme",), clock=NOW, has_store=True)
    silent = facts._replace(followed={"why": "it is down", "reached": NOW - 3_700, "tried": NOW - 30})
    needs = {name: [*problems.relay_problems(name, Inventory({}, {}), silent, NOW, ())] for name in names}
    found = Overview({name: [one for one in each if one.kind == "store"] for name, each in needs.items()}, [])
    (text,) = status_view.sentences(found)
    assert text.endswith(": does not follow the store: it is down")
    assert text.startswith("mx0, mx1, mx2, mx3, mx4, mx5 and 194 more: ")
    assert len(text) < 200
    assert len(status_view.summary(found)) < 200
    soon = silent._replace(followed={**silent.followed, "reached": NOW - 300})
    (notice,) = (one for one in problems.relay_problems("mx1", Inventory({}, {}), soon, NOW, ()) if one.kind == "store")
    assert not notice.urgent


def test_a_relay_whose_minutely_run_has_ended_for_good_is_told() -> None:
    facts = BLANK._replace(release=RELEASE, customers=("acme",), clock=NOW, has_store=True)
    dead = facts._replace(followed={"why": "", "reached": NOW - 7_200, "tried": NOW - 7_200})
    (told,) = (one for one in problems.relay_problems("mx1", Inventory({}, {}), dead, NOW, ()) if one.kind == "store")
    assert "has not tried to follow the store for 2 h" in told.text
    assert told.urgent


def test_what_needs_somebody_stands_first_then_notices_then_the_rest() -> None:
    found = fleet(row("customer-003", "mx1", ROTATION), row("customer-149", "mx5", HELD))
    shown = [(one[0], one[1], one[-1]) for one in status_view.brief_rows(found, NOW)]
    assert shown[:2] == [("customer-149", "mx5", "held"), ("customer-003", "mx1", "rotation")]
    assert len(shown) == 148 + 2 * 6
    assert shown[2] == ("customer-000", "on 6", "")
    assert len([*status_view.brief_rows(found, NOW, only_problems=True)]) == 2


def test_an_open_rotation_is_no_outage_until_the_new_key_is_used() -> None:
    keys = tuple(Key(name, "ssh-ed25519 AAAA", date(2027, 1, 1)) for name in ("k1", "k2"))
    demo = inventory.find(inventory.load(Path(inventory.__file__).parent), "demo")
    one = demo.model_copy(update={"keys": keys})
    waiting, used = ([*key_problems(one, seen, (), date(2027, 1, 2))] for seen in (("k1",), ("k1", "k2")))
    assert ([need.urgent for need in waiting], [need.urgent for need in used]) == ([False], [True])
    assert fleet(row("customer-000", "mx1", *waiting)).code() == exit_codes.DONE
    assert fleet(row("customer-000", "mx1", *used)).code() == exit_codes.PERSON


def test_at_80_columns_no_row_is_folded_and_times_are_ages() -> None:
    found = fleet(row("customer-149", "mx5", HELD, ROTATION), mx2=DOWN)
    lines = terminal.layout(BRIEF_COLUMNS, [*status_view.brief_rows(found, NOW)], 80)
    assert max(map(len, lines)) <= 80
    assert len(lines) == 1 + 1 + 149 + 6 + 1  # the header, the relay, the customers, and a second line of problems
    assert re.fullmatch(r"customer-000  on 6   250 +3 min  5 h +published  k1, 40 days", lines[4])


def test_a_customer_whose_lists_look_alike_has_one_row_and_any_other_one_for_each_relay() -> None:
    rows = [row("acme", "mx1"), row("acme", "mx2"), row("bolt", "mx1"), row("bolt", "mx2", HELD), row("carl", "mx2")]
    shown = [one[:2] for one in status_view.brief_rows(Overview({}, rows), NOW)]
    assert shown == [("bolt", "mx2"), ("acme", "on 2"), ("bolt", "mx1"), ("carl", "mx2")]
    later = [row("acme", "mx1"), row("acme", "mx2")._replace(good=NOW - 60)]
    assert [one[:4] for one in status_view.brief_rows(Overview({}, later), NOW)] == [("acme", "on 2", "250", "3 min")]
    problems = status_view.brief_rows(Overview({}, rows), NOW, only_problems=True)
    assert [one[:2] for one in problems] == [("bolt", "mx2")]


def test_of_a_problem_that_many_have_three_sentences_are_shown_and_the_rest_is_counted() -> None:
    found = fleet(*(row(f"customer-{number:03}", "mx1", HELD) for number in range(7)), mx2=DOWN)
    assert status_view.sentences(found) == [
        f"mx2: {DOWN.text}",
        *(f"customer-00{number} on mx1: {HELD.text}" for number in range(3)),
        "held: 4 more like these; `inv status CUSTOMER` says it in full",
    ]


def test_the_sentences_are_merged_over_relays_and_those_that_need_somebody_come_first() -> None:
    found = fleet(
        row("customer-003", "mx1", ROTATION), row("customer-149", "mx5", HELD), row("customer-149", "mx6", HELD)
    )
    assert status_view.sentences(found) == [
        f"customer-149 on mx5, mx6: {HELD.text}",
        f"customer-003 on mx1: {ROTATION.text}",
    ]


@pytest.mark.parametrize(
    ("found", "code", "first"),
    [
        (fleet(), 0, "POSTERN OK - 900 lists of .* | lists=900 problems=0 notices=0"),
        (fleet(row("customer-003", "mx1", ROTATION)), 1, "POSTERN WARNING - .* | lists=900 problems=0 notices=1"),
        (fleet(mx2=DOWN), 2, "POSTERN CRITICAL - .* | lists=900 problems=1 notices=0"),
    ],
    ids=["all is well", "a notice", "a problem"],
)
def test_a_monitoring_plugin_gets_its_own_code_and_a_first_line(found: Overview, code: int, first: str) -> None:
    said, text = status_view.nagios(found)
    assert said == code
    assert re.fullmatch(first.replace("|", r"\|"), text.splitlines()[0])


def test_a_monitoring_plugin_does_not_know_how_a_customer_stands_whose_file_has_faults() -> None:
    faults = ["customers/delta.toml: domains: must be given", "customers/delta.toml: a|b"]
    for found, code, word in ((fleet(), 3, "UNKNOWN"), (fleet(mx2=DOWN), 2, "CRITICAL")):
        said, text = status_view.nagios(found, faults)
        first, *rest = text.splitlines()
        assert said == code
        assert first.startswith(
            f"POSTERN {word} - not looked at, as files have faults: customers/delta.toml; 900 lists of"
        )
        assert rest[:2] == [faults[0], "customers/delta.toml: a/b"]


def test_a_relay_s_words_cannot_forge_performance_data() -> None:
    _, text = status_view.nagios(fleet(mx2=Problem("not reached", "not reached: x | problems=0\nOK")))
    first, second = text.splitlines()
    assert (first.count("|"), second) == (1, "mx2: not reached: x / problems=0\\nOK")
    assert status_view.nagios_unknown("no customer 'a|b'\nthere") == "POSTERN UNKNOWN - no customer 'a/b' there"


def test_a_fingerprint_is_never_folded_however_narrow_the_terminal() -> None:
    fingerprint = "SHA256:" + "x" * 43
    for width in (20, 60, 80):
        lines = terminal.layout(
            ("type", "fingerprint", "state"),
            [("ecdsa-sha2-nistp256", fingerprint, "NEW, and others are pinned")],
            width,
        )
        assert [fingerprint in line for line in lines].count(True) == 1
    assert lines[-2:] == [f"ecdsa-sha2-nistp256  {fingerprint}", "    NEW, and others are pinned"]


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-1, "ahead"), (0, "0 min"), (3599, "59 min"), (3600, "1 h"), (2 * 86400 - 1, "47 h"), (2 * 86400, "2 d")],
)
def test_an_age_is_given_in_its_largest_unit(seconds: int, age: str) -> None:
    assert format_age(seconds) == age
