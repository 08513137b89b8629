from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from common.opened import Opened
from common.settings import RelaySettings, Settings
from receiver.outcome import Busy, Failed
from receiver.system.account import Owner
from receiver.tables import (
    adopted_domains,
    authorized_keys,
    build,
    customer_recipients,
    customer_tree,
    directories,
    inputs,
    install,
    lost_trees,
    table_contents,
)
from receiver.tables.inputs import SpoolFiles
from receiver.tables.table import Table
from roles import relay as relay_role
from tests.roles.test_relay import FRESH
from tests.roles.test_relay import customer as role_customer
from tests.roles.test_relay import relay as role_relay
from tests.support.built_relay import DAY, ROUTE, BuiltRelay, key_line

NOW = time.time()


@pytest.fixture
def relay(tmp_path: Path) -> BuiltRelay:
    found = BuiltRelay(tmp_path, Owner(os.getuid(), os.getgid()))
    found.var.mkdir(parents=True)
    return found


def parts(relay: BuiltRelay) -> list[customer_recipients.CustomerRecipients]:
    read = [
        inputs.read_customer(relay.places, name, relay.owner)[0] for name in customer_tree.list_customers(relay.places)
    ]
    return [customer_recipients.check_recipients(source, NOW) for source in read if source]


def tables(relay: BuiltRelay, routes: dict[str, str] | None = None) -> dict[str, list[str]]:
    found = table_contents.compose_tables(parts(relay), routes or {})
    return {table.name: table.text.decode().splitlines() for table in found}


def recipients(relay: BuiltRelay) -> list[str]:
    return [line.removesuffix(" OK") for line in tables(relay)["exchange_recipients"]]


def why(relay: BuiltRelay, customer: str = "acme") -> str:
    source, reason = inputs.read_customer(relay.places, customer, relay.owner)
    return customer_recipients.check_recipients(source, NOW).source.why if source else reason


def good_copy(relay: BuiltRelay, customer: str = "acme") -> None:
    """Write root's copy, as a build does after putting the customer's part in force."""
    source, reason = inputs.read_customer(relay.places, customer, relay.owner)
    assert source
    assert not reason
    relay.tables.joinpath("good").mkdir(parents=True, exist_ok=True)
    assert not source.copy.keep(source.tree, source.files)


# ---- what the tables say


def test_a_domain_without_an_accepted_list_is_listed_whole(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example", closes=())
    assert recipients(relay) == ["@acme.example", "ann@acme.example", "postmaster@acme.example"]


def test_a_domain_with_an_accepted_list_holds_its_addresses_and_postmaster(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    assert recipients(relay) == ["ann@acme.example", "postmaster@acme.example"]


def test_a_partial_domain_stays_open_whatever_was_accepted(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "acme.co.example", partial=("acme.co.example",))
    relay.upload("acme", "ann@acme.example", "ann@acme.co.example")
    assert "@acme.co.example" in recipients(relay)
    assert "@acme.example" not in recipients(relay)


@pytest.mark.parametrize(("age_days", "opens"), [(29.9, False), (30.1, True), (-0.9, False), (-1.1, True)])
def test_a_list_nobody_has_refreshed_opens_its_domain_and_so_does_a_date_to_come(
    relay: BuiltRelay, age_days: float, opens: bool
) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example", age_days=age_days)
    assert ("@acme.example" in recipients(relay)) is opens


MAPS, ACCESS = "relay_recipient_maps hash:/etc/postfix/theirs", "smtpd_recipient_restrictions"


@pytest.mark.parametrize(
    ("closer", "accepted", "age_days", "is_open"),
    [
        (MAPS, False, 0, False),
        (MAPS, True, 0, False),
        (MAPS, True, 31, True),
        (ACCESS, False, 0, True),
        (ACCESS, True, 0, True),
        ("transport_maps hash:/etc/postfix/transport", True, 0, True),
    ],
)
def test_a_domain_being_adopted_stays_closed_by_what_closes_it(
    relay: BuiltRelay, closer: str, accepted: bool, age_days: float, is_open: bool
) -> None:
    """Beside tables that close it ours adds people; beside another parameter ours lists everybody, and that refuses."""
    relay.tree("acme", closed_by={"acme.example": closer})
    relay.upload("acme", "ann@acme.example", age_days=age_days, closes=None if accepted else ())
    wanted = ["@acme.example"] * is_open + ["ann@acme.example", "postmaster@acme.example"]
    assert recipients(relay) == wanted


def test_a_domain_whose_closing_table_is_asked_no_more_opens(relay: BuiltRelay) -> None:
    relay.tree("acme", closed_by={"acme.example": MAPS})
    relay.upload("acme", "ann@acme.example", closes=())
    source, _ = inputs.read_customer(relay.places, "acme", relay.owner)
    assert source
    left_open = source._replace(left_open=frozenset({"acme.example"}))
    assert "acme.example" not in customer_recipients.check_recipients(source, NOW).open
    assert "acme.example" in customer_recipients.check_recipients(left_open, NOW).open
    assert inputs.digest_inputs([source], NOW) != inputs.digest_inputs([left_open], NOW)


def test_a_postfix_that_does_not_say_what_it_asks_is_told_while_a_list_is_adopted(relay: BuiltRelay) -> None:
    """There is no Postfix here: it is unknown whether something still closes the domain, so it stays as it was."""
    relay.tree("acme", closed_by={"acme.example": MAPS})
    relay.upload("acme", "ann@acme.example", closes=())
    source, _ = inputs.read_customer(relay.places, "acme", relay.owner)
    assert source
    settings = RelaySettings(str(relay.etc / "no-postfix"), "hash")
    with pytest.raises(Failed, match="postconf"):
        list(adopted_domains.describe_left_open(settings, [source]))
    assert adopted_domains.find_left_open(settings, [source], str(relay.tables)) == [source]


def test_a_domain_without_any_address_is_not_closed_though_its_list_was_accepted(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "acme.co.example")
    relay.upload("acme", "ann@acme.example", closes=("acme.example", "acme.co.example"))
    assert "@acme.co.example" in recipients(relay)


@pytest.mark.parametrize("marker", [Opened("acme", 1, "olga").text(), "no JSON", ""])
def test_a_marker_of_root_s_opens_all_domains_however_damaged_it_is(relay: BuiltRelay, marker: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    assert "@acme.example" not in recipients(relay)
    path = Path(relay.places.opened("acme"))
    path.parent.mkdir()
    path.write_text(marker)
    assert "@acme.example" in recipients(relay)


def test_a_marker_changes_what_the_inputs_of_a_build_are_called(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")

    def digest() -> str:
        source, _ = inputs.read_customer(relay.places, "acme", relay.owner)
        assert source
        return inputs.digest_inputs([source], NOW)

    before = digest()
    Path(relay.places.opened("acme")).parent.mkdir()
    Path(relay.places.opened("acme")).write_text("")
    assert digest() != before


def test_what_is_always_there_is_there_once_even_if_the_list_has_it(relay: BuiltRelay) -> None:
    relay.tree("acme", include=("helpdesk@acme.example", "ann@acme.example"))
    relay.upload("acme", "ann@acme.example", "postmaster@acme.example")
    assert recipients(relay) == ["ann@acme.example", "helpdesk@acme.example", "postmaster@acme.example"]


def test_an_internationalised_domain_stands_in_both_forms_everywhere(relay: BuiltRelay) -> None:
    relay.tree(
        "acme",
        "xn--mller-kva.example",
        unicode={"xn--mller-kva.example": "müller.example"},
        include=("info@müller.example",),
    )
    relay.upload("acme", "jörg@xn--mller-kva.example")
    found = tables(relay)
    both = [f"{local}@{domain}" for local in ("info", "jörg", "postmaster") for domain in _FORMS]
    assert recipients(relay) == sorted(both)
    assert found["relay_domains"] == [f"{domain} OK" for domain in _FORMS]
    assert found["transport"] == [f"{domain} {ROUTE}" for domain in _FORMS]


_FORMS = ("müller.example", "xn--mller-kva.example")


def test_attack_a_domain_that_postfix_folds_into_another_customers_is_listed_as_itself_alone(
    relay: BuiltRelay,
) -> None:
    relay.tree("acme", "strasse.example")
    relay.upload("acme", "ann@strasse.example")
    route = {"xn--strae-oqa.example": "relay:[203.0.113.66]:25"}
    tree = relay.tree("bolt", *route, routes=route, unicode=dict.fromkeys(route, "straße.example"))
    (tree / "relay_domains").write_text("xn--strae-oqa.example OK\n")
    relay.upload("bolt", "bob@xn--strae-oqa.example")
    found = tables(relay)
    assert [line for line in recipients(relay) if "strasse" in line] == [
        "ann@strasse.example",
        "postmaster@strasse.example",
    ]
    assert found["relay_domains"] == ["strasse.example OK", "xn--strae-oqa.example OK"]
    assert found["transport"] == [f"strasse.example {ROUTE}", "xn--strae-oqa.example relay:[203.0.113.66]:25"]
    (tree / "relay_domains").write_text("xn--strae-oqa.example OK\nstraße.example OK\n")
    assert "holds the foreign domain strasse.example" in why(relay, "bolt")


def test_others_lists_every_domain_but_ours(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "a-b.co.example")
    assert tables(relay)["others"] == [r"if !/@(a-b\.co\.example|acme\.example)$/", "/./ OK", "endif"]


def test_no_regular_expression_of_a_relay_of_many_domains_has_more_than_a_hundred_of_them(relay: BuiltRelay) -> None:
    """Each smtpd has all of them, and memory grows with the square of how many names one has."""
    domains = [f"d{number}.example" for number in range(250)]
    relay.tree("acme", *domains, plus_addresses=True, unlisted="ask")
    relay.upload("acme", *(f"ann@{domain}" for domain in domains))
    for name in ("others", "odd", "plus", "unlisted_domains", "asked"):
        lines = [line for line in tables(relay)[name] if "|" in line]
        assert {line.count(".example") for line in lines} == {100, 50}, name
        assert len({found for line in lines for found in re.findall(r"d\d+\\.example", line)}) == 250, name


def test_an_address_that_begins_with_a_hash_is_reached_by_one_line_for_many_domains(relay: BuiltRelay) -> None:
    relay.tree("acme", "xn--mller-kva.example", unicode={"xn--mller-kva.example": "müller.example"})
    relay.upload("acme", "#sales@xn--mller-kva.example")
    found = tables(relay)
    assert found["odd"] == [
        r'/^(#[^"@]*)@(m(ü|Ü)ller\.example|xn--mller-kva\.example)$/ "$1"@$2',
    ]
    assert '"#sales"@müller.example OK' in found["exchange_recipients"]


def test_an_address_too_long_for_a_key_is_a_regular_expression_and_in_no_table_of_keys(relay: BuiltRelay) -> None:
    relay.tree("acme", include=(f"{'ü' * 315}@acme.example",))
    relay.upload("acme", "ann@acme.example", f"{'é' * 250}+/x'y@acme.example")
    found = tables(relay)
    assert recipients(relay) == ["ann@acme.example", "postmaster@acme.example"]
    e, u = "(é|É)" * 250, "(ü|Ü)" * 315
    assert found["odd"][1:] == [
        rf"/^{e}\+\/x'y@acme\.example$/ postmaster@acme.example",
        rf"/^{u}@acme\.example$/ postmaster@acme.example",
    ]


def test_a_domain_of_more_addresses_too_long_than_there_may_be_expressions_stays_open(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "acme.co.example")
    long = [f"{number:03}{'é' * 260}@acme.example" for number in range(101)]
    relay.upload("acme", *long, "ann@acme.co.example")
    (found,) = parts(relay)
    assert found.open == {"acme.example"}
    assert len(found.long) == customer_recipients.LONG
    assert found.told.startswith("101 addresses are longer than 510 octets, the first 000éé")
    assert found.told.endswith("acme.example stays open")
    assert "@acme.example" in recipients(relay)


def test_without_customers_others_lists_everything_and_the_other_tables_nothing(relay: BuiltRelay) -> None:
    assert tables(relay) == {
        "odd": [],
        "plus": [],
        "unlisted_answers": [
            r"/^defer$/ DEFER_IF_REJECT 4.1.1 User unknown in relay recipient table",
            r"/^ask$/ reject_unverified_recipient",
            r"/^long$/ 550 5.1.1 User unknown in relay recipient table",
            "/./ DUNNO",
        ],
        "unlisted_domains": [],
        "asked": [],
        "exchange_recipients": [],
        "transport": [],
        "others": ["/./ OK"],
        "relay_domains": [],
    }


def test_a_customer_without_a_next_hop_has_no_route(relay: BuiltRelay) -> None:
    relay.tree("acme", routes={})
    relay.tree("bolt")
    assert tables(relay)["transport"] == [f"bolt.example {ROUTE}"]


def test_the_tables_do_not_depend_on_the_order_in_which_customers_came(relay: BuiltRelay) -> None:
    for name in ("zoo", "acme", "mid"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    assert recipients(relay) == sorted(recipients(relay))
    assert tables(relay)["relay_domains"] == ["acme.example OK", "mid.example OK", "zoo.example OK"]


def test_a_list_that_comes_between_the_two_files_of_a_spool_closes_no_domain_without_its_addresses(
    relay: BuiltRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After rule 5 a good upload brings an address and closes its domain, and another customer's build reads it."""
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example", age_days=31)
    really, came = os.open, iter((True,))

    def opened(path: str, *arguments: Any, **more: Any) -> int:
        descriptor = really(path, *arguments, **more)
        if path in ("recipients", "accepted.json") and next(came, False):
            relay.upload("acme", "ann@acme.example", "new@acme.example")
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opened)
        source = inputs.read_customer(relay.places, "acme", relay.owner)[0]
    assert source
    found = customer_recipients.check_recipients(source, NOW)
    assert b"new@acme.example" in found.own or "acme.example" in found.open


# ---- a domain that moves


def test_a_domain_that_moved_lists_both_customers_addresses_and_is_open_until_its_new_owner_is_accepted(
    relay: BuiltRelay,
) -> None:
    relay.tree("old", "old.example", "moving.example")
    relay.upload("old", "ann@old.example", "bob@moving.example")
    good_copy(relay, "old")
    relay.tree("old", "old.example")
    relay.tree("new", "new.example", "moving.example")
    relay.upload("new", "cy@moving.example", "cy@new.example", closes=("new.example",))
    assert {"@moving.example", "bob@moving.example", "cy@moving.example"} <= set(recipients(relay))
    assert not why(relay, "old")
    relay.upload("new", "cy@moving.example", "cy@new.example")
    assert not {"@moving.example", "bob@moving.example"} & set(recipients(relay))
    assert {"ann@old.example", "cy@moving.example"} <= set(recipients(relay))


def test_a_domain_that_went_takes_its_addresses_along_and_no_others(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "gone.example")
    relay.upload("acme", "ann@acme.example", "ann@gone.example")
    good_copy(relay)
    relay.tree("acme", "acme.example")
    assert recipients(relay) == ["ann@acme.example", "postmaster@acme.example"]
    assert not why(relay)


def test_a_list_published_just_before_its_domain_went_counts_in_what_stays(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "gone.example")
    relay.upload("acme", "ann@acme.example", "ann@gone.example")
    good_copy(relay)
    relay.upload("acme", "ann@acme.example", "ann@gone.example", "new@acme.example", "new@gone.example")
    relay.tree("acme", "acme.example")
    assert "new@acme.example" in recipients(relay)
    assert not why(relay)


def test_while_two_trees_claim_a_domain_both_lists_count_and_it_closes_only_when_both_are_accepted(
    relay: BuiltRelay,
) -> None:
    relay.tree("acme", "shared.example")
    relay.tree("bolt", "shared.example")
    relay.upload("acme", "ann@shared.example")
    relay.upload("bolt", "bob@shared.example", closes=())
    assert recipients(relay) == [f"{who}@shared.example" for who in ("", "ann", "bob", "postmaster")]
    relay.upload("bolt", "bob@shared.example")
    assert recipients(relay) == [f"{who}@shared.example" for who in ("ann", "bob", "postmaster")]
    assert tables(relay)["relay_domains"] == ["shared.example OK"]


@pytest.mark.parametrize(
    ("in_force", "chosen"), [("relay:[10.0.0.2]", "relay:[10.0.0.2]"), ("relay:[10.0.0.9]", "relay:[10.0.0.1]")]
)
def test_while_two_trees_claim_a_domain_the_route_in_force_stays(relay: BuiltRelay, in_force: str, chosen: str) -> None:
    relay.tree("acme", "shared.example", routes={"shared.example": "relay:[10.0.0.1]"})
    relay.tree("bolt", "shared.example", routes={"shared.example": "relay:[10.0.0.2]"})
    assert tables(relay, {"shared.example": in_force})["transport"] == [f"shared.example {chosen}"]


# ---- the order in which tables are put in force


def names(steps: list[Table]) -> list[tuple[str, str]]:
    return [(step.name, step.text.decode().strip()) for step in steps if step.name in ("relay_domains", "others")]


def order(before: set[str], after: list[str], *, opens: bool = False) -> list[Table]:
    odd, plus = Table("odd", [], built=False), Table("plus", [], built=False)
    recipients, transport = Table("exchange_recipients", []), Table("transport", [])
    others, ours = table_contents.compose_others(after), table_contents.compose_relay_domains(after)
    return install.order_renames(
        (odd, plus, recipients, transport, others, ours),
        before,
        opens,
    )


def test_a_domain_that_opens_is_open_before_a_text_says_so() -> None:
    steps = order({"a.example"}, ["a.example"], opens=True)
    assert [step.name for step in steps[:4]] == ["exchange_recipients", "odd", "plus", "transport"]


def test_a_table_in_force_that_is_no_utf_8_stops_no_build(relay: BuiltRelay) -> None:
    """Somebody has edited it: it is replaced."""
    relay.tables.mkdir(parents=True, exist_ok=True)
    for name in ("transport", "exchange_recipients"):
        (relay.tables / name).write_bytes(b"acme.example relay:[192.0.2.1]\nj\xf6rg@acme.example OK\n")
    assert install.read_installed(str(relay.tables), "transport")["acme.example"] == "relay:[192.0.2.1]"
    assert not adopted_domains._open_in_force(str(relay.tables))


def test_a_domain_that_comes_is_ours_only_after_its_addresses_and_its_route() -> None:
    steps = order({"a.example"}, ["a.example", "b.example"])
    assert [step.name for step in steps] == [
        "odd",
        "plus",
        "exchange_recipients",
        "transport",
        "others",
        "relay_domains",
    ]


def test_a_domain_that_goes_is_not_ours_any_more_before_its_addresses_go() -> None:
    steps = order({"a.example", "b.example"}, ["a.example"])
    assert [step.name for step in steps] == [
        "others",
        "relay_domains",
        "odd",
        "plus",
        "exchange_recipients",
        "transport",
    ]


def test_when_one_comes_and_one_goes_only_what_stays_is_ours_in_between() -> None:
    steps = order({"a.example", "b.example"}, ["b.example", "c.example"])
    assert [step.name for step in steps[2:6]] == ["odd", "plus", "exchange_recipients", "transport"]
    assert names(steps) == [
        ("others", "if !/@(b\\.example)$/\n/./ OK\nendif"),
        ("relay_domains", "b.example OK"),
        ("others", "if !/@(b\\.example|c\\.example)$/\n/./ OK\nendif"),
        ("relay_domains", "b.example OK\nc.example OK"),
    ]


# ---- what is damaged


BAD_LISTS = {
    "not sorted": b"bob@acme.example\nann@acme.example\n",
    "an address twice": b"ann@acme.example\nann@acme.example\n",
    "not folded": b"Ann@acme.example\n",
    "not folded beyond ASCII": "JÖRG@acme.example\n".encode(),
    "cut off": b"ann@acme.example\nbob@acme.exam",
    "its last line without an end": b"ann@acme.example",
    "not UTF-8": b"j\xf6rg@acme.example\n",
    "a NUL": b"ann\x00@acme.example\n",
    "zeros, as a crash leaves them": b"\x00" * 40,
    "a CR": b"ann@acme.example\r\n",
    "a tab": b'"a\tb"@acme.example\n',
    "a blank line": b"\nann@acme.example\n",
    "a blank": b"ann smith@acme.example\n",
    "a value of its own": b"ann@acme.example OK\n",
    "a blank in front, which continues the line before": b" ann@acme.example\n",
    "a wildcard": b"@acme.example\n",
    "a star": b"*@acme.example\n",
    "an empty quoted name": b'""@acme.example\n',
    "a quote that does not end": b'"ann@acme.example\n',
    "a backslash that takes the quote's end": b'"ann\\"@acme.example\n',
    "a bare name": b"ann\n",
    "two at-signs": b"ann@bolt.example@acme.example\n",
    "a foreign domain": b"ann@bolt.example\n",
    "a domain that ends in one of its own": b"ann@evil-acme.example\n",
    "a subdomain": b"ann@sub.acme.example\n",
    "its domain as U-label": "ann@müller.example\n".encode(),
    "a line longer than any address": b"a" * 1_100 + b"@acme.example\n",
    "another kind of line end": "ann\u2028@acme.example\n".encode(),
    "a blank of another kind": "ann\u00a0@acme.example\n".encode(),
    "a character not assigned yet": "ann\U000e0fff@acme.example\n".encode(),
    "a control of the second set": "ann\u0085@acme.example\n".encode(),
}


@pytest.mark.parametrize("damage", BAD_LISTS)
def test_of_a_damaged_list_roots_last_good_copy_counts_and_it_is_told(relay: BuiltRelay, damage: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "old@acme.example")
    good_copy(relay)
    relay.put("acme", "recipients", BAD_LISTS[damage])
    assert recipients(relay) == ["old@acme.example", "postmaster@acme.example"]
    assert why(relay).startswith("recipients")


@pytest.mark.parametrize("damage", BAD_LISTS)
def test_of_a_damaged_list_without_a_copy_nothing_counts_and_its_domains_are_open(
    relay: BuiltRelay, damage: str
) -> None:
    relay.tree("acme")
    relay.upload("acme", "old@acme.example")
    relay.put("acme", "recipients", BAD_LISTS[damage])
    assert recipients(relay) == ["@acme.example", "postmaster@acme.example"]


BAD_DATES = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[]",
    "no domains": b'{"postern": 1}',
    "domains of no object": b'{"postern": 1, "domains": 3}',
    "nested beyond measure": b"[" * 200_000,
    "not UTF-8": b'{"domains": {"\xff": 1}}',
}


@pytest.mark.parametrize("damage", BAD_DATES)
def test_of_damaged_dates_roots_copy_counts_with_its_list(relay: BuiltRelay, damage: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "old@acme.example")
    good_copy(relay)
    relay.upload("acme", "new@acme.example")
    relay.put("acme", "accepted.json", BAD_DATES[damage])
    assert recipients(relay) == ["old@acme.example", "postmaster@acme.example"]
    assert why(relay) == "accepted.json is damaged"


@pytest.mark.parametrize("date", ["true", '"yesterday"', "null", "1e9999", "-1", "1.5", "{}", "9" * 5000])
def test_a_date_that_is_none_leaves_its_domain_open(relay: BuiltRelay, date: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.put("acme", "accepted.json", b'{"postern": 1, "domains": {"acme.example": %b}}' % date.encode())
    assert "@acme.example" in recipients(relay)


def costs_of_digits(count: int) -> float:
    """Return the seconds of processor time that reading a number of so many digits takes here."""
    digits, limit = "9" * count, sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    began = time.process_time()
    int(digits)
    took = time.process_time() - began
    sys.set_int_max_str_digits(limit)
    return took


def test_attack_a_number_of_a_million_digits_takes_no_time(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.put("acme", "accepted.json", b'{"domains": {"acme.example": %b}}' % (b"9" * 1_000_000))
    began = time.process_time()
    recipients(relay)
    took = time.process_time() - began
    assert took < costs_of_digits(300_000), "it was read as a number, or taken to pieces otherwise"


@pytest.mark.parametrize("name", ["recipients", "accepted.json"])
def test_a_file_that_went_is_replaced_by_roots_copy(relay: BuiltRelay, name: str) -> None:
    relay.tree("acme")
    relay.upload("acme", "old@acme.example")
    good_copy(relay)
    (relay.folder("acme") / name).unlink()
    assert recipients(relay) == ["old@acme.example", "postmaster@acme.example"]
    assert why(relay) == f"{name} is gone"


def test_a_customer_who_has_not_uploaded_yet_is_no_fault(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.folder("acme").mkdir(parents=True)
    assert why(relay) == ""


def spoiled(relay: BuiltRelay, file: str, text: str | None) -> None:
    path = relay.etc / "customers/acme" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


BAD_TREES = {
    "no settings": ("settings.json", None, "No such file"),
    "settings of half a file": ("settings.json", '{"postern": 1, "cust', "settings.json"),
    "settings of a later release": ("settings.json", '{"postern": 99}', "provision this relay again"),
    "settings of another customer": ("settings.json", "BOLT", "is that of customer bolt"),
    "settings with a domain of one label": ("settings.json", "LABEL", "'example' is no domain"),
    "settings with a regular expression": ("settings.json", "REGEXP", "is no domain"),
    "settings with the wrong U-label": ("settings.json", "FORM", "is no domain"),
    "settings that include a foreign address": ("settings.json", "INCLUDE", "'x@bolt.example' is in none"),
    "no exclusions": ("exclude-users.txt", None, "No such file"),
    "no relay_domains": ("relay_domains", None, "No such file"),
    "a foreign domain": ("relay_domains", "acme.example OK\nbolt.example OK\n", "foreign domain bolt.example"),
    "a lacking domain": ("relay_domains", "", "lacks acme.example"),
    "a foreign route": ("transport", "bolt.example relay:[203.0.113.66]\n", "no route of a domain of its own"),
    "a route for all": ("transport", "* relay:[203.0.113.66]\n", "no route of a domain of its own"),
    "a route of three words": ("transport", "acme.example relay:x y\n", "two words"),
    "a route without a transport": ("transport", "acme.example [203.0.113.25]\n", "no route"),
    "the key line of another customer": ("authorized_keys", key_line("bolt") + "\n", "no key line of acme"),
    "a key line with a name that differs": (
        "authorized_keys",
        key_line("acme").replace('k1" ssh', 'k2" ssh') + "\n",
        "no key line of acme",
    ),
    "a key without its forced command": ("authorized_keys", "ssh-ed25519 AAAA acme k1\n", "no key line"),
    "a key that may do more": (
        "authorized_keys",
        key_line("acme").replace("restrict", "restrict,pty") + "\n",
        "no key",
    ),
    "a certificate authority": ("authorized_keys", "cert-authority," + key_line("acme") + "\n", "no key line"),
    "another command behind the first": (
        "authorized_keys",
        key_line("acme").replace('",command', '",command="/bin/sh",command') + "\n",
        "no key line",
    ),
}
SPOILT: dict[str | None, dict[str, Any]] = {
    "BOLT": {"customer": "bolt", "domains": ("acme.example",)},
    "LABEL": {"domains": ("acme.example", "example")},
    "REGEXP": {"domains": ("acme.example", ".*")},
    "FORM": {"domains": ("acme.example",), "unicode": {"acme.example": "bolt.example"}},
    "INCLUDE": {"domains": ("acme.example",), "include": ("x@bolt.example",)},
}


@pytest.mark.parametrize("damage", BAD_TREES)
def test_of_a_damaged_tree_roots_copy_counts_and_nobody_else_notices(relay: BuiltRelay, damage: str) -> None:
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
        good_copy(relay, name)
    before = tables(relay)
    file, text, reason = BAD_TREES[damage]
    if text in SPOILT:
        text = Settings(**{"customer": "acme", "format": "exchange-5.5", **SPOILT[text]}).text()
    spoiled(relay, file, text)
    assert tables(relay) == before
    assert reason in why(relay)
    assert not why(relay, "bolt")


def test_of_a_tree_that_is_lost_with_its_copy_the_domains_in_force_stay_and_are_open(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.tree("bolt")
    spoiled(relay, "relay_domains", None)
    sources = [part.source for part in parts(relay)]
    assert [source.tree.customer for source in sources] == ["bolt"]
    relay.tables.mkdir()
    assert lost_trees.keep_domains(str(relay.tables), {"acme": "damaged"}, sources) == []
    (relay.tables / "relay_domains").write_text("acme.example OK\nbolt.example OK\n")
    (relay.tables / "transport").write_text(f"acme.example {ROUTE}\nbolt.example {ROUTE}\n")
    (kept,) = lost_trees.keep_domains(str(relay.tables), {"acme": "damaged"}, sources)
    assert kept.open == {"acme.example"}
    assert kept.source.why == "damaged"
    assert kept.source.tree.routes == {"acme.example": ROUTE}
    assert lost_trees.keep_domains(str(relay.tables), {}, sources) == []


def test_trees_that_all_went_while_tables_are_in_force_are_a_fault_and_no_retirement(relay: BuiltRelay) -> None:
    relay.tables.mkdir()
    (relay.tables / "built.json").write_text("{}")
    (relay.etc / "customers").rmdir()
    with pytest.raises(Failed, match="is gone"):
        customer_tree.list_customers(relay.places)


def test_names_that_are_no_customers_are_left_alone(relay: BuiltRelay) -> None:
    relay.tree("acme")
    for name in (".acme.x7", "lost+found", "Acme"):
        (relay.etc / "customers" / name).mkdir()
    assert customer_tree.list_customers(relay.places) == ["acme"]


ROLE_CUSTOMERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "from anywhere": {"addresses": ("any",)},
    "without a next hop": {"next_hop": None},
    "without a key": {"keys": ()},
    "with domains in two forms": {
        "domains": ("xn--mller-kva.example", "acme.example"),
        "include": ("info@xn--mller-kva.example",),
        "partial": ("acme.example",),
    },
    "with a domain that Postfix would fold": {"domains": ("xn--strae-oqa.example",), "include": ()},
}


@pytest.mark.parametrize("case", ROLE_CUSTOMERS)
def test_what_the_role_writes_is_a_tree_the_build_takes(relay: BuiltRelay, case: str) -> None:
    customer = role_customer("acme", **ROLE_CUSTOMERS[case])
    where = relay.etc / "customers/acme"
    where.mkdir()
    for item in relay_role.items(role_relay(), [customer], FRESH):
        if item.kind == "tree" and item.about == "acme" and item.wanted:
            for name, text in item.wanted["files"].items():
                (where / name).write_text(text)
    tree = customer_tree.read_tree(relay.places, "acme")
    assert tuple(tree.domains) == customer.domains
    assert len(tree.keys) == len(customer.keys)
    assert bool(tree.routes) == bool(customer.next_hop)
    assert list(tree.include) == list(customer.include)


# ---- directories, keys, copies


def test_ground_is_made_once_and_then_as_it_must_be(relay: BuiltRelay) -> None:
    metrics = str(relay.var / "metrics")
    assert directories.make_directories(relay.places, metrics, ["acme"], relay.owner, NOW) == {}
    assert directories.check_directories(relay.places, metrics, ["acme"], relay.owner) == []
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (*relay.var.iterdir(), relay.folder("acme"))}
    assert modes == {
        ".ssh": 0o755,
        "customers": 0o755,
        "retired": 0o700,
        "run": 0o700,
        "metrics": 0o755,
        "acme": 0o700,
    }


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_do_not_depend_on_the_umask(relay: BuiltRelay, umask: int) -> None:
    before = os.umask(umask)
    try:
        directories.make_directories(relay.places, "/elsewhere", ["acme"], relay.owner, NOW)
    finally:
        os.umask(before)
    assert directories.check_directories(relay.places, "/elsewhere", ["acme"], relay.owner) == []


def test_a_spool_without_a_tree_is_moved_away_by_its_day_and_kept_for_thirty(relay: BuiltRelay) -> None:
    relay.upload("acme", "ann@acme.example")
    assert directories.check_directories(relay.places, "/elsewhere", [], relay.owner)[-1].endswith(
        "acme is of no customer"
    )
    directories.make_directories(relay.places, "/elsewhere", [], relay.owner, 1_790_000_000)
    assert relay.retired() == ["acme-2026-09-21"]
    directories.delete_retired(relay.places, 1_790_000_000 + 30 * DAY)
    assert (relay.var / "retired/acme-2026-09-21/recipients").read_text() == "ann@acme.example\n"
    directories.delete_retired(relay.places, 1_790_000_000 + 31 * DAY)
    assert relay.retired() == []


def test_a_customer_who_leaves_twice_in_a_day_is_kept_twice(relay: BuiltRelay) -> None:
    for address in ("ann@acme.example", "bob@acme.example"):
        relay.upload("acme", address)
        directories.make_directories(relay.places, "/elsewhere", [], relay.owner, 1_790_000_000)
    assert relay.retired() == ["acme-2026-09-21", "acme-2026-09-21.1"]


def test_what_is_retired_under_a_name_of_another_make_is_never_removed(relay: BuiltRelay) -> None:
    directories.make_directories(relay.places, "/elsewhere", [], relay.owner, NOW)
    (relay.var / "retired/by-hand").mkdir()
    directories.delete_retired(relay.places, NOW + 1000 * DAY)
    assert relay.retired() == ["by-hand"]


def test_keys_of_all_trees_are_joined_and_what_was_added_by_hand_is_named_and_goes(relay: BuiltRelay) -> None:
    relay.tree("acme", keys=[key_line("acme", "k1"), key_line("acme", "k2")])
    relay.tree("bolt")
    directories.make_directories(relay.places, "/elsewhere", [], relay.owner, NOW)
    found = [customer_tree.read_tree(relay.places, name) for name in ("acme", "bolt")]
    authorized_keys.write_authorized_keys(relay.places, found)
    path = relay.var / ".ssh/authorized_keys"
    lines = path.read_text().splitlines()
    assert lines[1:] == [key_line("acme", "k1"), key_line("acme", "k2"), key_line("bolt")]
    assert authorized_keys.check_authorized_keys(relay.places, found) == []
    path.write_text(path.read_text().replace(key_line("bolt") + "\n", "ssh-ed25519 AAAA mallory laptop\n"))
    assert authorized_keys.check_authorized_keys(relay.places, found) == [
        f"{path} holds what is in no tree: mallory laptop",
        f"{path} lacks bolt k1",
    ]
    authorized_keys.write_authorized_keys(relay.places, found)
    assert path.read_text().splitlines() == lines


def test_a_key_file_that_others_may_write_is_put_right(relay: BuiltRelay) -> None:
    directories.make_directories(relay.places, "/elsewhere", [], relay.owner, NOW)
    authorized_keys.write_authorized_keys(relay.places, [])
    path = relay.var / ".ssh/authorized_keys"
    path.chmod(0o666)
    assert "0644" in authorized_keys.check_authorized_keys(relay.places, [])[0]
    authorized_keys.write_authorized_keys(relay.places, [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_list_that_was_never_accepted_comes_back_from_roots_copy_too(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.put("acme", "recipients", b"ann@acme.example\n")
    good_copy(relay)
    relay.put("acme", "recipients", b"broken")
    assert recipients(relay) == ["@acme.example", "ann@acme.example", "postmaster@acme.example"]


def test_a_copy_torn_by_a_power_cut_is_none(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    good_copy(relay)
    good = relay.tables / "good/acme"
    (good / "tree.json").write_bytes(b"\x00" * 300)
    (good / "recipients").write_bytes(b"")
    (good / "accepted.json").write_bytes(b"\x00" * 60)
    copy = inputs.GoodCopy(str(good))
    assert copy.read_tree() is None
    assert copy.read_files() == SpoolFiles()


def test_a_build_that_waits_too_long_is_busy_and_has_done_nothing(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.tables.mkdir()
    with (relay.tables / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another rebuild-relay-recips"):
            build.build(relay.places, relay.owner, wait=0.1)
    assert not relay.folder("acme").exists()


def test_attack_nobody_but_root_can_open_the_lock_and_hold_it_for_ever(relay: BuiltRelay) -> None:
    relay.tables.mkdir()
    (relay.tables / ".lock").touch(mode=0o666)
    build.check(relay.places, relay.owner)
    assert stat.S_IMODE((relay.tables / ".lock").stat().st_mode) == 0o600


def test_a_check_before_the_first_build_writes_nothing(relay: BuiltRelay) -> None:
    relay.tree("acme")
    assert build.check(relay.places, relay.owner) == [f"{relay.tables} is not there"]
    assert sorted(path.name for path in relay.etc.iterdir()) == ["customers", "relay.json"]
    assert not list(relay.var.iterdir())


# ---- user+tag@


def plus_lines(relay: BuiltRelay) -> list[str]:
    return tables(relay)["plus"]


@pytest.mark.parametrize(
    ("word", "said", "taken"),
    [(True, False, True), (None, True, True), (None, None, False), (None, False, False), (False, True, False)],
)
def test_plus_addresses_are_taken_as_the_tree_says_else_as_an_export_has(
    relay: BuiltRelay, word: bool | None, said: bool | None, taken: bool
) -> None:
    relay.tree("acme", plus_addresses=word)
    relay.put("acme", "last-export.json", f'{{"plus_addresses": {str(said).lower().replace("none", "null")}}}'.encode())
    assert (
        plus_lines(relay)
        == [
            r'/^([^+"@]+)\+[^@]*@(acme\.example)$/ $1@$2',
            r'/^("[^+"\\]+)\+([^"\\]|\\.)*"@(acme\.example)$/ $1"@$3',
        ]
        * taken
    )


@pytest.mark.parametrize("later", [b'{"plus_addresses": false}', b"{}", b"[[", b"7"])
def test_what_an_export_said_of_plus_addresses_stays_whatever_lies_there_later(relay: BuiltRelay, later: bytes) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.put("acme", "last-export.json", b'{"plus_addresses": true}')
    good_copy(relay)
    relay.put("acme", "last-export.json", later)
    assert len(plus_lines(relay)) == 2
    assert not why(relay)


def test_a_domain_in_two_forms_has_plus_addresses_in_both(relay: BuiltRelay) -> None:
    domain = "xn--mller-kva.example"
    relay.tree("acme", domain, unicode={domain: "müller.example"}, plus_addresses=True)
    assert any("xn--mller-kva" in line for line in plus_lines(relay))
    assert any("m(ü|Ü)ller" in line for line in plus_lines(relay))


# ---- unlisted


def test_only_the_closed_domains_of_who_wants_it_are_asked_about(relay: BuiltRelay) -> None:
    relay.tree("acme", "acme.example", "acme.co.example", "new.example", unlisted="defer", partial=("acme.co.example",))
    relay.tree("bolt")
    relay.upload("acme", "ann@acme.example", "ann@acme.co.example")
    relay.upload("bolt", "ann@bolt.example")
    found = tables(relay)
    assert found["asked"] == [r"/^(.+@(acme\.example))$/ $1"]
    assert found["unlisted_domains"] == [r'/^"\\".*@(acme\.example)$/ defer', r'/^[^"].*@(acme\.example)$/ defer']
    assert "@acme.example" not in recipients(relay)


def test_a_domain_that_is_being_adopted_is_not_asked_about(relay: BuiltRelay) -> None:
    relay.tree("acme", unlisted="defer", closed_by={"acme.example": "relay_recipient_maps: hash:/etc/postfix/own"})
    relay.upload("acme", "ann@acme.example")
    assert tables(relay)["asked"] == []


def test_nobody_is_asked_about_where_everybody_refuses(relay: BuiltRelay) -> None:
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    found = tables(relay)
    assert found["asked"] == found["unlisted_domains"] == []
    assert found["unlisted_answers"][-1] == "/./ DUNNO"


def test_a_domain_in_two_forms_is_deferred_in_both(relay: BuiltRelay) -> None:
    relay.tree("acme", "xn--mller-kva.example", unicode={"xn--mller-kva.example": "müller.example"}, unlisted="defer")
    relay.upload("acme", "ann@xn--mller-kva.example")
    assert tables(relay)["asked"] == [r"/^(.+@(m(ü|Ü)ller\.example|xn--mller-kva\.example))$/ $1"]


def test_an_unknown_word_for_unlisted_is_a_damaged_tree(relay: BuiltRelay) -> None:
    relay.tree("acme", unlisted="perhaps")
    assert "unlisted 'perhaps' is none of refuse, defer, ask" in why(relay)


def test_a_domain_whose_server_is_asked_is_listed_whole_as_the_server_has_the_last_word(relay: BuiltRelay) -> None:
    relay.tree("acme", unlisted="ask")
    relay.upload("acme", "ann@acme.example")
    assert recipients(relay) == ["@acme.example", "ann@acme.example", "postmaster@acme.example"]
    assert tables(relay)["unlisted_domains"] == [
        r"/^.{255,}@(acme\.example)$/ long",
        r'/^"\\".*@(acme\.example)$/ ask',
        r'/^[^"].*@(acme\.example)$/ ask',
    ]


@pytest.mark.parametrize(("said", "word"), [(b'{"put_off": true}', "defer"), (b'{"put_off": 1}', "ask"), (b"{", "ask")])
def test_a_server_that_refuses_to_be_asked_has_unlisted_addresses_deferred(
    relay: BuiltRelay, said: bytes, word: str
) -> None:
    relay.tree("acme", unlisted="ask")
    relay.upload("acme", "ann@acme.example")
    relay.put("acme", "asking.json", said)
    assert tables(relay)["unlisted_domains"][-1] == rf'/^[^"].*@(acme\.example)$/ {word}'
    assert ("@acme.example" in recipients(relay)) is (word == "ask")
