"""What is printed of plans: a few lines however many customers and relays there are, and what matters first."""

from __future__ import annotations

from typing import Any

import pytest

import inventory
from common import exit_codes
from common.main_cf_params import PARAMETERS, Setting
from console.grouping import CUSTOMER, Sentence, group_names, merge_sentences
from deploy.items import Item, State
from deploy.plan import Blank, Change, Plan
from fleet import plan_view
from inventory.model import Customer, Key, Relay
from roles import relay as relay_role
from roles.relay import Facts
from roles.relay.facts import BLANK

RELAY = Relay.model_validate({"name": "mx1", "address": "mx1.provider.example"})
SETTINGS = {**dict.fromkeys(PARAMETERS, Setting(False, "")), "relay_domains": Setting(True, "old.example")}
FRESH = BLANK._replace(has_postfix=True, table_type="lmdb", types=("hash", "lmdb"), settings=SETTINGS)


def customer(id_: str = "acme", **changes: Any) -> Customer:
    demo = inventory.find(inventory.load(inventory.inventory_path()), "demo")
    own: dict[str, Any] = {"id": id_, "domains": (f"{id_}.example",), "keys": (Key("k1", "ssh-ed25519 AAAAC3Nz"),)}
    return demo.model_copy(update={**own, "partial": (), "include": (), "canaries": (), "exclude": (), **changes})


def first_plan(*customers: Customer, facts: Facts = FRESH) -> Plan:
    return Plan.of(Blank(), relay_role.items(RELAY, customers, facts))


def change_of_tree(before: Customer, after: Customer) -> Plan:
    was, wanted = relay_role.customer_tree(before), relay_role.customer_tree(after)
    return Plan(Blank(), (wanted,), (Change(wanted, was.wanted),))


def change(kind: str, before: State, wanted: State) -> Plan:
    item = Item(kind, "x", wanted)
    return Plan(Blank(), (item,), (Change(item, before),))


def test_a_first_plan_says_which_domain_comes_and_what_is_added_to_main_cf() -> None:
    lines = plan_view.summary_lines(first_plan(customer(next_hop="relay:[203.0.113.25]:25")))
    assert lines[:3] == [
        "acme.example: becomes a relay domain, open until its first list is accepted",
        "acme: key k1 may upload",
        "acme.example: mail goes on to relay:[203.0.113.25]:25",
    ]
    assert "main.cf: relay_domains +2, transport_maps +1, relay_recipient_maps +4 members" in lines
    assert lines[-1].startswith("files: ")


def test_the_plan_of_150_new_customers_fits_a_screen() -> None:
    customers = [customer(f"c{number:03}", next_hop=f"relay:[10.0.0.{number}]:25") for number in range(150)]
    lines = plan_view.summary_lines(first_plan(*customers))
    assert len(lines) < 24
    assert lines[0] == (
        "c000.example, c001.example, c002.example and 147 more: "
        "becomes a relay domain, open until its first list is accepted"
    )
    assert "and 140 more lines like these: --diff shows all" in lines
    assert all(len(line) < 400 for line in lines)


CLOSED = customer(domains=("acme.example", "sold.example"), partial=("acme.example",))


@pytest.mark.parametrize(
    ("after", "first"),
    [
        (customer(), ["removes domain:sold.example", "sold.example: is no relay domain any more"]),
        (
            CLOSED.model_copy(update={"partial": ()}),
            [
                "removes partial:acme.example",
                "acme.example: closes, who is not listed is refused: no longer partial",
            ],
        ),
        (
            CLOSED.model_copy(update={"partial": CLOSED.domains}),
            ["sold.example: opens, nobody is refused: partial"],
        ),
        (
            CLOSED.model_copy(update={"keys": ()}),
            ["removes key:k1", "acme: key k1 can upload no longer"],
        ),
        (CLOSED.model_copy(update={"open_after_days": 10}), ["acme: open_after_days: 30 -> 10"]),
    ],
    ids=["a domain goes", "a domain closes", "a domain opens", "a key goes", "a setting changes"],
)
def test_what_goes_closes_or_opens_stands_first(after: Customer, first: list[str]) -> None:
    lines = plan_view.summary_lines(change_of_tree(CLOSED, after))
    assert [line for line in lines if line.partition(", ")[0] in {one.partition(", ")[0] for one in first}] == lines[
        : len(first)
    ]


def test_a_domain_that_goes_to_another_customer_stays_a_relay_domain() -> None:
    bolt = customer("bolt")
    taken = bolt.model_copy(update={"domains": ("bolt.example", "sold.example")})
    both = [change_of_tree(CLOSED, customer()), change_of_tree(bolt, taken)]
    lines = plan_view.summary_lines(Plan(Blank(), (), tuple(one for plan in both for one in plan.changes)))
    assert [line for line in lines if "relay domain" in line] == []


def test_a_changed_comment_of_a_file_is_named() -> None:
    wanted = relay_role.customer_tree(customer())
    files = dict((wanted.wanted or {})["files"])
    before = {"files": {**files, "relay_domains": f"# by hand\n{files['relay_domains']}"}}
    assert plan_view.summary_lines(Plan(Blank(), (), (Change(wanted, before),))) == ["acme: relay_domains changes"]


def test_a_reject_code_that_changes_for_the_whole_relay_stands_first() -> None:
    name = "unknown_relay_recipient_reject_code"
    plan = change("main.cf", {name: "550", "relay_domains": "a"}, {name: "450", "relay_domains": "a, hash:b"})
    assert plan_view.summary_lines(plan) == [f"main.cf: {name} 550 -> 450", "main.cf: relay_domains +1 members"]


def test_a_link_where_a_file_belongs_is_named() -> None:
    plan = change("file", {"content": "a", "mode": "0644", "odd": ["is a link"]}, {"content": "a", "mode": "0644"})
    assert plan_view.summary_lines(plan) == ["! x is a link", "files: 1 changed"]


def test_the_recap_names_the_relays_that_somebody_has_to_see_to() -> None:
    fates = {"mx1": "changed", "mx2": "changed", "mx3": "unchanged", "mx4": "refused", "mx5": "not reached"}
    assert plan_view.recap(fates, [True] * 148 + [False] * 2, dry_run=False) == (
        "5 relays: 2 changed, 1 unchanged, 1 refused (mx4), 1 not reached (mx5); "
        "kits and servers of 150 customers: 148 changed, 2 unchanged"
    )


def test_the_recap_counts_no_kit_where_none_is_there() -> None:
    assert plan_view.recap({"mx1": "refused"}, [], dry_run=False) == "1 relay: 1 refused (mx1); no kit and no server"


def test_the_same_sentence_about_150_customers_is_one_line() -> None:
    said = [Sentence(f"c{number}", f"carry kits/{CUSTOMER} to its server") for number in range(150)]
    assert merge_sentences(said) == [("c0, c1, c2 and 147 more: carry kits/CUSTOMER to its server", False)]
    assert merge_sentences(said[:1]) == [("c0: carry kits/c0 to its server", False)]


def test_relays_with_the_same_plan_are_named_together() -> None:
    assert group_names([("mx1", "a"), ("mx2", "b"), ("mx3", "a")]) == {"a": ["mx1", "mx3"], "b": ["mx2"]}


def test_of_several_exit_codes_the_worst_stands_for_all() -> None:
    order = [4, 5, 2, 3, 75, 1, 6, 0]
    assert [exit_codes.worst(order[number:]) for number in range(len(order))] == order
