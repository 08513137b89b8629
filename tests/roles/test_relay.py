from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import inventory
from common import settings
from common.main_cf_params import (
    ASKING,
    DOMAINS,
    OTHERS,
    RECIPIENTS,
    REJECT,
    RESTRICTIONS,
    ROUTES,
    TABLE_OF,
    Setting,
    is_ours,
    members,
    our_member,
    our_members,
    unlisted_member,
    with_ours,
    with_unlisted,
    without_unlisted,
)
from common.paths import LIBRARY, Places
from common.release import RELEASE
from common.settings import load_settings
from deploy.items import Item
from deploy.plan import Blank, Change, Plan
from deploy.remote_session import MAIN, ROOT, sent_modules
from inventory import Customer, Key, Relay
from inventory.exchange import Take
from receiver.tables import lookup
from roles import relay as relay_role
from roles.relay import Facts
from roles.relay.facts import BLANK

GOLDEN = Path(__file__).parent.parent / "golden" / "postfix.plan"
UNSET_DOMAINS = "${{$compatibility_level} <level {2} ? {$mydestination} : {}}"
UNSET = {
    DOMAINS: Setting(False, UNSET_DOMAINS),
    ROUTES: Setting(False, ""),
    RECIPIENTS: Setting(False, ""),
    RESTRICTIONS: Setting(False, ""),
    REJECT: Setting(False, "550"),
    **{name: Setting(False, "") for name in ASKING},
}
FRESH = BLANK._replace(has_postfix=True, table_type="lmdb", types=("hash", "lmdb"), settings=UNSET)
OURS, ODD, PLUS = our_members(RECIPIENTS, "lmdb")


def relay(**more: object) -> Relay:
    return Relay.model_validate({"name": "mx1", "address": "mx1.provider.example", **more})


def customer(id_: str = "acme", **changes: Any) -> Customer:
    demo = inventory.find(inventory.load(Path(inventory.__file__).parent), "demo")
    addresses = {"addresses": changes.pop("addresses", ("198.51.100.7", "2001:db8::/48"))}
    own: dict[str, object] = {
        "id": id_,
        "domains": (f"{id_}.example",),
        "next_hop": "relay:[203.0.113.25]:25",
        "keys": (Key("k1", "ssh-ed25519 AAAAC3Nz"),),
        **dict.fromkeys(("partial", "exclude", "include", "canaries"), ()),
    }
    return demo.model_copy(update={**own, "exchange": demo.exchange.model_copy(update=addresses), **changes})


def only(kind: str, *customers: Customer, facts: Facts = FRESH, of: Relay | None = None, **more: Any) -> Item:
    (found,) = (item for item in relay_role.items(of or relay(), customers, facts, **more) if item.kind == kind)
    return found


def tree_item(one: Customer) -> Item:
    return next(item for item in relay_role.items(relay(), (one,), FRESH) if item.about == one.id)


def tree_of(one: Customer) -> dict[str, str]:
    return dict((tree_item(one).wanted or {})["files"])


def lists(facts: Facts = FRESH, *customers: Customer, of: Relay | None = None) -> dict[str, Any]:
    return dict(only("main.cf", *(customers or (customer(),)), facts=facts, of=of).wanted or {})


def with_lists(values: dict[str, str], facts: Facts = FRESH) -> Facts:
    return facts._replace(settings={**facts.settings, **{name: Setting(True, value) for name, value in values.items()}})


def after(facts: Facts, **more: Any) -> Facts:
    """The machine once what is wanted of it has been done."""
    wanted = lists(facts, **more)
    first = {
        name: setting for name, setting in facts.settings.items() if setting.value != wanted.get(name, setting.value)
    }
    set_ = {name: Setting(True, value) for name, value in wanted.items() if name in facts.settings}
    return facts._replace(settings={**facts.settings, **set_}, record={**first, **facts.record}, customers=("acme",))


# ---- what a relay must have


def test_a_plan_for_a_fresh_relay_is_the_one_a_person_has_read() -> None:
    """POSTERN_GOLDEN=write writes it anew; read the difference first. The receiver's source is left out."""
    two = customer("bolt", domains=("bolt.example", "xn--bcher-kva.example"), next_hop=None, addresses=("any",))
    one = customer(exclude=("administrator", "*-internal@*"), include=("helpdesk@acme.example",))
    items = [item for item in relay_role.items(relay(), (two, one), FRESH) if item.name != LIBRARY]
    text = Plan.of(Blank(), items).text()
    if os.environ.get("POSTERN_GOLDEN") == "write":
        GOLDEN.write_text(text, "utf-8")
    assert GOLDEN.read_text("utf-8") == text


def test_the_story_of_a_relay_is_told_in_the_order_in_which_each_thing_needs_the_last() -> None:
    kinds = [(item.kind, item.about) for item in relay_role.items(relay(), (customer(),), FRESH)]
    assert [kind for place, (kind, _) in enumerate(kinds) if not place or kinds[place - 1][0] != kind] == [
        *("package", "account", "file", "tree", "file", "tree", "derived", "sudo", "main.cf", "routes")
    ]


def test_the_timer_looks_for_the_very_tables_that_main_cf_is_given() -> None:
    assert lookup.LISTS == TABLE_OF


def test_the_receiver_is_installed_whole_and_stamped() -> None:
    (library,) = (item for item in relay_role.items(relay(), (), FRESH) if item.name == LIBRARY)
    files = (library.wanted or {})["files"]
    assert files["release"] == f"{RELEASE}\n"
    assert files["common/settings.py"] == Path(settings.__file__).read_text("utf-8")
    assert {"receiver/__init__.py", "receiver/upload/formats/__init__.py", "receiver/tables/build.py"} <= set(files)


def test_nothing_but_the_standard_library_and_what_is_sent_before_it_is_imported_there() -> None:
    """And by full names alone: the packages they are in are not there."""
    sent = {"remote.main"}
    for path in sent_modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] not in sys.stdlib_module_names:
                assert node.module in sent, path
        sent.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    there = {path for path in (ROOT / "remote").rglob("*.py") if path.name != "__init__.py"}
    assert there - {MAIN} <= {*sent_modules()}


def test_customers_come_in_one_order_whatever_order_they_are_given_in() -> None:
    acme, bolt = customer("acme"), customer("bolt")
    assert [*relay_role.items(relay(), (acme, bolt), FRESH)] == [*relay_role.items(relay(), (bolt, acme), FRESH)]


def test_the_receiver_reads_of_a_tree_what_the_inventory_says(tmp_path: Path) -> None:
    one = customer(exclude=("administrator",), canaries=("ceo@acme.example",), domains=("xn--bcher-kva.example",))
    for name, content in tree_of(one).items():
        path = tmp_path / "customers" / "acme" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    settings = load_settings(Places(etc=str(tmp_path)), "acme")
    assert settings.format == one.exchange.source
    assert (settings.exclude, settings.canaries) == (("administrator",), ("ceo@acme.example",))
    assert (settings.domains, settings.unicode) == (one.domains, {"xn--bcher-kva.example": "bücher.example"})
    assert settings.max_megabytes == one.guard.max_megabytes


def test_an_internationalised_domain_is_relayed_and_routed_in_both_its_forms() -> None:
    files = tree_of(customer(domains=("xn--bcher-kva.example",)))
    assert files["relay_domains"] == "xn--bcher-kva.example OK\nbücher.example OK\n"
    assert [line.split()[0] for line in files["transport"].splitlines()] == ["xn--bcher-kva.example", "bücher.example"]
    routes = only("routes", customer(domains=("xn--bcher-kva.example",))).wanted
    assert set(routes or {}) == {"xn--bcher-kva.example", "bücher.example"}


def test_a_key_opens_the_gate_for_its_customer_alone_and_from_its_addresses_alone() -> None:
    rotating = customer(keys=(Key("k1", "ssh-ed25519 AAAA1"), Key("k2", "ssh-rsa AAAA2")))
    command = 'command="/usr/local/sbin/postern-receive acme'
    assert tree_of(rotating)["authorized_keys"].splitlines() == [
        f'restrict,from="198.51.100.7,2001:db8::/48",{command} k1" ssh-ed25519 AAAA1 acme k1',
        f'restrict,from="198.51.100.7,2001:db8::/48",{command} k2" ssh-rsa AAAA2 acme k2',
    ]


def test_a_key_that_may_come_from_anywhere_has_no_from() -> None:
    line = tree_of(customer(addresses=("any",)))["authorized_keys"]
    assert line.startswith('restrict,command="')


def test_a_customer_whose_way_on_the_relay_knows_already_gets_no_route_of_ours() -> None:
    one = customer(next_hop=None)
    assert tree_of(one)["transport"] == ""
    assert "routes" not in {item.kind for item in relay_role.items(relay(), (one,), FRESH)}


def test_mail_goes_by_mx_where_a_customer_says_so_whatever_relayhost_is() -> None:
    one = customer(next_hop="mx", domains=("acme.example", "xn--bcher-kva.example"))
    assert tree_of(one)["transport"] == (
        "acme.example relay:acme.example\n"
        "xn--bcher-kva.example relay:xn--bcher-kva.example\n"
        "b\u00fccher.example relay:xn--bcher-kva.example\n"
    )


def test_a_known_customer_without_a_next_hop_is_warned_of_and_not_refused() -> None:
    facts = FRESH._replace(customers=("acme",))
    unsaid = customer(next_hop=None)
    (item,) = relay_role.unsaid_routes(relay(), (unsaid, customer("bolt")))
    assert item.wanted == {"acme.example": ""}
    by_mx, by_relayhost = {"acme.example": "relay:acme.example"}, {"acme.example": "smtp:[192.0.2.1]"}
    (said,) = relay_role.unsaid_route_warnings((unsaid,), facts, by_mx)
    assert "acme: mail for acme.example goes where its MX records say" in said
    assert not [*relay_role.unsaid_route_warnings((unsaid,), facts, by_relayhost)]
    assert not [*relay_role.unsaid_route_warnings((unsaid,), FRESH, by_mx)]
    assert refusals({"by mx": ["acme.example"]}, facts) == []


@pytest.mark.parametrize(
    ("changes", "losses"),
    [
        ({"domains": ("acme.example",)}, ["domain:acme.co.example", "route:acme.co.example"]),
        ({"next_hop": None}, ["route:acme.co.example", "route:acme.example"]),
        ({"keys": (Key("k2", "ssh-ed25519 BBBB"),)}, ["key:k1"]),
        ({"keys": (Key("k1", "ssh-ed25519 BBBB"),)}, ["key:k1"]),  # made by a checkout that does not know the first
        ({"next_hop": "relay:[203.0.113.26]:25"}, []),
        ({"partial": ()}, ["partial:acme.example"]),  # who has a mailbox elsewhere would be refused
        ({"include": ("info@acme.example",)}, ["include:helpdesk@acme.example"]),
    ],
)
def test_what_would_go_from_a_customer_must_be_named(changes: dict[str, Any], losses: list[str]) -> None:
    domains = ("acme.example", "acme.co.example")
    usual = {"domains": domains, "partial": ("acme.example",), "include": ("helpdesk@acme.example",)}
    before, after = (tree_item(customer(**{**usual, **more})) for more in ({}, changes))
    assert [*Change(after, before.wanted).removals()] == losses


@pytest.mark.parametrize(("taker", "order"), [("bolt", ["bolt", "acme"]), ("acme", ["acme", "bolt"])])
def test_who_takes_a_domain_over_comes_before_who_gives_it_away(taker: str, order: list[str]) -> None:
    """Killed in between, the domain is two's, and not nobody's."""
    both = [
        customer(one, domains=(f"{one}.example", *(["shared.example"] * (one == taker)))) for one in ("acme", "bolt")
    ]
    facts = FRESH._replace(others={"shared.example": "acme" if taker == "bolt" else "bolt"})
    found = relay_role.items(relay(), both, facts)
    assert [item.about for item in found if item.kind == "tree" and item.about] == order


def test_all_of_a_customer_who_leaves_is_a_loss() -> None:
    gone = next(item for item in relay_role.items_without(relay(), "acme", FRESH) if item.about == "acme")
    losses = [*Change(gone, tree_item(customer()).wanted).removals()]
    assert losses == ["key:k1", "domain:acme.example", "route:acme.example"]


def test_trees_of_customers_whom_this_checkout_does_not_know_are_not_touched() -> None:
    facts = FRESH._replace(customers=("acme", "bolt"))
    assert [item.about for item in relay_role.items(relay(), (customer(),), facts) if item.about] == ["acme"]


# ---- programs


@pytest.mark.parametrize(
    ("facts", "more", "wanted"),
    [
        (FRESH, {}, ["postfix", "make", "sudo", "cron", "passwd", "tzdata"]),
        (FRESH._replace(manager="dnf"), {}, ["postfix", "make", "sudo", "cronie", "shadow-utils", "tzdata"]),
        (FRESH, {"table_type": "cdb"}, ["postfix", "postfix-cdb", "make", "sudo", "cron", "passwd", "tzdata"]),
        (
            FRESH._replace(types=("hash", "cdb")),
            {"table_type": "cdb"},
            ["postfix", "make", "sudo", "cron", "passwd", "tzdata"],
        ),
        (
            FRESH._replace(types=("cdb",)),
            {"table_type": "hash"},
            ["postfix", "make", "sudo", "cron", "passwd", "tzdata"],
        ),
        (BLANK, {}, ["postfix", "make", "sudo", "cron", "passwd", "tzdata"]),
        (BLANK, {"table_type": "lmdb"}, ["postfix", "postfix-lmdb", "make", "sudo", "cron", "passwd", "tzdata"]),
    ],
)
def test_the_packages_are_those_the_machine_has_not(facts: Facts, more: dict[str, str], wanted: list[str]) -> None:
    found = [item.name for item in relay_role.packages(relay(**more), facts) if item.kind == "package"]
    assert found == wanted


def test_only_a_postfix_that_is_installed_now_is_started() -> None:
    assert "service" in {item.kind for item in relay_role.packages(relay(), BLANK)}
    assert "service" not in {item.kind for item in relay_role.packages(relay(), FRESH)}


# ---- main.cf


@pytest.mark.parametrize(
    ("value", "cut"),
    [
        ("", []),
        (" a.example , b.example\tc.example,,", ["a.example", "b.example", "c.example"]),
        (UNSET_DOMAINS, [UNSET_DOMAINS]),
        (f"{UNSET_DOMAINS}, hash:/x", [UNSET_DOMAINS, "hash:/x"]),
        ("inline:{a=OK, {b c}=OK}, hash:/x", ["inline:{a=OK, {b c}=OK}", "hash:/x"]),
        ("$mydestination ${x?{a, b}:{c}}", ["$mydestination", "${x?{a, b}:{c}}"]),
        ("hash:/x, unionmap:{a, b", ["hash:/x", "unionmap:{a, b"]),
    ],
)
def test_a_list_is_cut_as_postfix_cuts_it(value: str, cut: list[str]) -> None:
    assert members(value) == cut


@pytest.mark.parametrize(
    ("parameter", "member", "ours"),
    [
        (RECIPIENTS, "hash:/etc/postern/tables/exchange_recipients", True),
        (RECIPIENTS, "proxy:cdb:/etc/postern/tables/exchange_recipients", True),
        (RECIPIENTS, "$default_database_type:/etc/postern/tables/exchange_recipients", True),
        (RECIPIENTS, "hash:/etc/postern/tables/exchange_recipients2", False),
        (RECIPIENTS, "hash:/home/etc/postern/tables/exchange_recipients", False),
        (RECIPIENTS, "hash:/etc/postern/tables/relay_domains", False),
        (RECIPIENTS, "unionmap:{hash:/etc/postern/tables/exchange_recipients, hash:/own}", False),
        (RECIPIENTS, "pipemap:{regexp:/etc/postern/tables/odd, cdb:/etc/postern/tables/exchange_recipients}", True),
        (RECIPIENTS, "pipemap:{regexp:/etc/postern/tables/plus,cdb:/etc/postern/tables/exchange_recipients}", True),
        (RECIPIENTS, "pipemap:{regexp:/etc/postfix/odd, cdb:/etc/postern/tables/exchange_recipients}", False),
        (RECIPIENTS, "pipemap:{regexp:/etc/postern/tables/odd, hash:/own}", False),
        (RECIPIENTS, "pipemap:{regexp:/etc/postfix/plus, cdb:/etc/postern/tables/exchange_recipients}", False),
        (RECIPIENTS, "pipemap:{regexp:/etc/postern/tables/plus, hash:/own}", False),
        (DOMAINS, "unionmap:{regexp:/dev/null, lmdb:/etc/postern/tables/relay_domains}", True),
        (DOMAINS, "hash:/etc/postern/tables/relay_domains", True),
    ],
)
def test_a_member_is_ours_by_its_path_whatever_its_type(parameter: str, member: str, ours: bool) -> None:
    assert is_ours(parameter, member) is ours


def test_an_unset_relay_domains_keeps_its_default_as_one_word() -> None:
    """Written back in pieces it would make every later postconf fail."""
    assert lists()[DOMAINS] == f"{UNSET_DOMAINS}, {our_member(DOMAINS, 'lmdb')}"
    assert members(lists()[DOMAINS])[0] == UNSET_DOMAINS


def test_where_nobody_had_a_list_of_recipients_other_domains_are_let_pass() -> None:
    """A first recipient map would reject every other relay domain."""
    assert members(lists()[RECIPIENTS]) == [OURS, ODD, PLUS, OTHERS]


def test_our_tables_stand_first_and_hand_kept_members_stay_behind_them() -> None:
    """Behind a table that cannot be read, people on our lists would be put off."""
    facts = with_lists({RECIPIENTS: "hash:/etc/postfix/relay_recipients", ROUTES: "hash:/etc/postfix/transport"})
    assert lists(facts)[RECIPIENTS] == f"{OURS}, {ODD}, {PLUS}, hash:/etc/postfix/relay_recipients"
    assert lists(facts)[ROUTES] == f"{our_member(ROUTES, 'lmdb')}, hash:/etc/postfix/transport"


LISTS = [
    "",
    "hash:/a",
    "hash:/a  hash:/b",
    f"hash:/a {OURS}",
    f"{OTHERS}, hash:/a",
    OURS.replace("lmdb", "hash"),
    f"{OURS}, {ODD}, {PLUS}, hash:/a",
]


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("value", LISTS)
@pytest.mark.parametrize("parameter", [DOMAINS, ROUTES, RECIPIENTS])
def test_a_list_that_is_right_is_left_as_it_is_letter_by_letter(parameter: str, value: str, others: bool) -> None:
    value = value.replace("exchange_recipients", "relay_domains" if parameter == DOMAINS else "exchange_recipients")
    once = with_ours(parameter, value, "lmdb", others)
    assert with_ours(parameter, once, "lmdb", others) == once
    spaced = once.replace(", ", "  ,")
    if "{" not in once:  # blanks within one are a member's own
        assert with_ours(parameter, spaced, "lmdb", others) == spaced


def test_the_second_customer_of_a_relay_changes_no_main_cf() -> None:
    facts = after(FRESH)
    assert lists(facts, customer("acme"), customer("bolt")) == lists(FRESH, customer("acme"))


def test_a_hand_kept_map_that_comes_after_us_does_not_shut_out_other_domains() -> None:
    facts = after(FRESH)
    facts = with_lists({RECIPIENTS: facts.settings[RECIPIENTS].value + ", hash:/etc/postfix/relay_recipients"}, facts)
    assert members(lists(facts)[RECIPIENTS]) == [OURS, ODD, PLUS, OTHERS, "hash:/etc/postfix/relay_recipients"]


def test_other_domains_are_let_pass_again_where_somebody_removed_that_member() -> None:
    facts = with_lists({RECIPIENTS: OURS}, after(FRESH))
    assert members(lists(facts)[RECIPIENTS]) == [OURS, ODD, PLUS, OTHERS]


def test_a_new_table_type_changes_our_members_in_their_places() -> None:
    facts = after(with_lists({DOMAINS: "a.example", RECIPIENTS: "hash:/own"}))
    facts = with_lists({DOMAINS: facts.settings[DOMAINS].value + ", b.example"}, facts)
    changed = lists(facts, of=relay(table_type="cdb"))
    assert members(changed[DOMAINS]) == ["a.example", our_member(DOMAINS, "cdb"), "b.example"]
    assert members(changed[RECIPIENTS]) == [*our_members(RECIPIENTS, "cdb"), "hash:/own"]


def test_when_the_last_customer_goes_main_cf_is_as_it_was() -> None:
    for facts in (FRESH, with_lists({DOMAINS: "a.example  b.example", RECIPIENTS: "hash:/own", ROUTES: ""})):
        before = {name: setting.value for name, setting in facts.settings.items() if setting.is_set}
        *_, last = relay_role.items_without(relay(), "acme", after(facts))
        assert last.wanted == {**before, "reloaded": True}


def test_what_was_written_by_hand_meanwhile_stays_when_the_last_customer_goes() -> None:
    facts = after(FRESH)
    facts = with_lists({DOMAINS: facts.settings[DOMAINS].value + ", new.example"}, facts)
    wanted = list(relay_role.items_without(relay(), "acme", facts))[-1].wanted or {}
    assert wanted[DOMAINS] == f"{UNSET_DOMAINS}, new.example"
    assert RECIPIENTS not in wanted


def test_main_cf_stays_while_any_tree_is_left_even_one_this_checkout_does_not_know() -> None:
    facts = after(FRESH)._replace(customers=("acme", "bolt"))
    assert "main.cf" not in {item.kind for item in relay_role.items_without(relay(), "acme", facts)}


def test_nobody_s_leaving_is_done_by_what_is_not_there() -> None:
    """A relay that was never set up, or that has lost its Postfix."""
    assert [item.kind for item in relay_role.items_without(relay(), "acme", BLANK)] == ["tree"]


def test_soft_is_set_and_recorded_and_stays_while_a_customer_says_nothing_of_unlisted() -> None:
    soft = relay(reject="soft")
    assert lists(of=soft)[REJECT] == "450"
    softened = after(FRESH, of=soft)
    assert lists(softened, of=soft)[REJECT] == "450"
    assert lists(softened)[REJECT] == "450"
    there = softened._replace(customers=("acme", "bolt"), unlisted={"acme": "", "bolt": "defer"})
    assert lists(there, customer("bolt", unlisted="defer"), of=soft)[REJECT] == "450"


@pytest.mark.parametrize("word", ["refuse", "defer"])
def test_soft_is_taken_back_at_once_when_every_tree_says_what_unlisted_gets(word: str) -> None:
    soft = relay(reject="soft")
    there = after(FRESH, of=soft)._replace(customers=("acme", "bolt"), unlisted={"acme": "", "bolt": "defer"})
    assert REJECT not in lists(there, customer("acme", unlisted=word), of=soft)


def test_a_relay_that_was_soft_by_hand_stays_so() -> None:
    assert lists(with_lists({REJECT: "450"}))[REJECT] == "450"


# ---- unlisted


RESTRICTED = [
    "",
    "permit_mynetworks, reject_unauth_destination",
    "check_client_access hash:/a,\n  reject_rbl_client zen.example",
    "check_recipient_access pipemap:{regexp:/etc/own, hash:/a}, permit",
]


@pytest.mark.parametrize("value", RESTRICTED)
def test_our_restriction_goes_first_and_comes_out_again_letter_by_letter(value: str) -> None:
    once = with_unlisted(value, "lmdb")
    assert once.startswith(unlisted_member("lmdb"))
    assert with_unlisted(once, "lmdb") == once
    assert without_unlisted(once) == value
    assert with_unlisted(once.replace("lmdb:", "hash:"), "lmdb") == once


def test_a_restriction_of_ours_that_somebody_moved_is_put_first_again() -> None:
    moved = f"permit_mynetworks, {unlisted_member('lmdb')}, reject_unauth_destination"
    assert with_unlisted(moved, "lmdb") == with_unlisted("permit_mynetworks, reject_unauth_destination", "lmdb")


def test_restrictions_are_edited_for_a_customer_who_defers_and_for_nobody_else() -> None:
    facts = with_lists({RESTRICTIONS: "reject_rbl_client zen.example"})
    assert lists(facts)[RESTRICTIONS] == "reject_rbl_client zen.example"
    deferring = customer(unlisted="defer")
    edited = f"{unlisted_member('lmdb')}, reject_rbl_client zen.example"
    assert lists(facts, customer("bolt"), deferring)[RESTRICTIONS] == edited
    there = facts._replace(customers=("acme", "bolt"), unlisted={"acme": "defer"})
    assert lists(there, customer("bolt"))[RESTRICTIONS] == edited
    assert lists(there, customer("acme"))[RESTRICTIONS] == "reject_rbl_client zen.example"


def test_unset_restrictions_are_unset_again_when_nobody_defers_any_more() -> None:
    facts = with_lists({RESTRICTIONS: unlisted_member("lmdb")})._replace(record={RESTRICTIONS: Setting(False, "")})
    assert RESTRICTIONS not in lists(facts)
    assert RESTRICTIONS not in lists(facts._replace(record={}))


def test_who_defers_and_then_refuses_names_it_on_the_command_line() -> None:
    deferring, refusing = tree_item(customer(unlisted="defer")), tree_item(customer())
    assert [*Change(refusing, deferring.wanted).removals()] == ["unlisted:defer"]
    assert [*Change(deferring, refusing.wanted).removals()] == []


def test_what_asking_needs_of_main_cf_is_set_and_taken_back() -> None:
    asking = lists(FRESH, customer(unlisted="ask"))
    assert {name: asking[name] for name in ASKING} == ASKING
    facts = with_lists(ASKING)._replace(record={name: Setting(False, "") for name in ASKING})
    assert not ASKING.keys() & lists(facts).keys()


@pytest.mark.parametrize(
    ("delimiter", "plus", "is_refused"), [("", None, False), ("+", True, False), ("+", None, True), ("+-", True, True)]
)
def test_asking_is_refused_where_postfix_takes_addresses_that_would_be_asked_about(
    delimiter: str, plus: bool | None, is_refused: bool
) -> None:
    asking = customer(unlisted="ask", plus_addresses=plus)
    said = relay_role.blockers(relay(), [asking], FRESH._replace(delimiter=delimiter), [FINE])
    assert bool(said) is is_refused


@pytest.mark.parametrize("word", [None, "refuse", "defer"])
def test_who_has_the_server_asked_and_then_not_names_it_on_the_command_line(word: str | None) -> None:
    asking, other = tree_item(customer(unlisted="ask")), tree_item(customer(unlisted=word))
    assert [*Change(other, asking.wanted).removals()] == ["unlisted:ask"]
    assert [*Change(asking, other.wanted).removals()] == []


# ---- what an operator is told beside the plan


def test_soft_names_who_says_nothing_of_unlisted_and_the_domains_of_others_it_touches() -> None:
    facts, soft = FRESH._replace(foreign=("old.example", "other.example"), unlisted={"bolt": ""}), relay(reject="soft")
    changes = [(tree_item(customer()), None), (only("main.cf", customer(), facts=facts, of=soft), {DOMAINS: "x"})]
    silent, touched = relay_role.notes(soft, facts, changes)[:2]
    assert silent.endswith("these do not: acme, bolt")
    assert touched.endswith("old.example, other.example")
    assert relay_role.notes(relay(), facts, [(only("main.cf", customer(), facts=facts), {DOMAINS: "x"})]) == []


def test_reject_that_says_nothing_any_more_is_told() -> None:
    assert "take it out" in relay_role.notes(relay(reject="hard"), FRESH, [])[0]
    said = FRESH._replace(unlisted={"bolt": "refuse"})
    assert "take it out" in relay_role.notes(relay(reject="soft"), said, [])[0]
    assert relay_role.notes(relay(), FRESH, []) == []


@pytest.mark.parametrize(
    ("value", "is_told"),
    [("", False), ("hash:/own", False), (f"{OURS}, hash:/own", False), (f"hash:/own, {OURS}, {ODD}", True)],
)
def test_a_plan_names_that_our_table_moves_to_the_first_place(value: str, is_told: bool) -> None:
    notes = relay_role.notes(relay(), FRESH, [(only("main.cf", customer()), {RECIPIENTS: value})])
    assert [note for note in notes if "moves to the first place, before hash:/own:" in note] == notes
    assert bool(notes) is is_told


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"exclude": ("sales",)}, 1), ({"include": ("helpdesk@acme.example",)}, 0), ({"open_after_days": 7}, 0)],
)
def test_a_changed_choice_is_said_to_show_with_the_next_list(changes: dict[str, Any], told: int) -> None:
    change = (tree_item(customer(**changes)), tree_item(customer()).wanted)
    assert len(relay_role.notes(relay(), FRESH, [change])) == told
    assert relay_role.notes(relay(), FRESH, [(change[0], None)]) == []


# ---- what stands in the way

SSHD = {
    "pubkeyauthentication": ["yes"],
    "forcecommand": ["none"],
    "chrootdirectory": ["none"],
    "authorizedkeysfile": [".ssh/authorized_keys", ".ssh/authorized_keys2"],
    "authenticationmethods": ["any"],
}
FINE: dict[str, Any] = {
    "sshd": {"198.51.100.7": SSHD},
    "groups": ["postern"],
    "sudoers.d": True,
    "instances": [],
    "running": True,
    "smtp": "",
    "scratch": "",
    "overrides": [],
    "classes": {"acme.example": "other"},
    "by mx": [],
}


def refusals(preflight: dict[str, Any], facts: Facts = FRESH, **more: Any) -> list[str]:
    return relay_role.blockers(relay(), (customer(),), facts, [{**FINE, **preflight}], **more)


def sshd(**options: list[str]) -> dict[str, Any]:
    return {"sshd": {"198.51.100.7": {**SSHD, **options}}}


def test_nothing_stands_in_the_way_of_a_relay_as_it_should_be() -> None:
    assert refusals({}) == []
    assert refusals({"classes": {"acme.example": "relay"}}) == []


@pytest.mark.parametrize(
    ("preflight", "words"),
    [
        (sshd(allowusers=["root", "admin@*"]), "AllowUsers root admin@*: add postern"),
        (sshd(denyusers=["p*"]), "DenyUsers p*"),
        (sshd(allowgroups=["staff"]), "AllowGroups staff"),
        (sshd(denygroups=["postern"]), "DenyGroups"),
        (sshd(allowusers=["*", "!postern"]), "AllowUsers"),
        (sshd(pubkeyauthentication=["no"]), "PubkeyAuthentication no"),
        (sshd(authorizedkeysfile=["/etc/ssh/keys/%u"]), "AuthorizedKeysFile /etc/ssh/keys/%u"),
        (sshd(forcecommand=["internal-sftp"]), "ForceCommand internal-sftp"),
        (sshd(chrootdirectory=["/srv"]), "ChrootDirectory /srv"),
        (sshd(authenticationmethods=["publickey,password"]), "AuthenticationMethods publickey,password"),
        ({"sshd": {"fault": "sshd is not there"}}, "sshd is not there"),
        ({"sudoers.d": False}, "@includedir /etc/sudoers.d"),
        ({"instances": ["/etc/postfix-out"]}, "/etc/postfix, /etc/postfix-out"),
        ({"running": False, "classes": {}}, "Postfix is stopped"),
        ({"smtp": "smtpd on 192.0.2.9 port 25 cannot be asked"}, "192.0.2.9 port 25 cannot be asked\nit is asked"),
        ({"scratch": "unsupported dictionary type: lmdb"}, "unsupported dictionary type: lmdb"),
        ({"overrides": ["main.cf: smtpd_reject_unlisted_recipient = no"]}, "smtpd_reject_unlisted_recipient = no"),
        ({"classes": {"acme.example": "local"}}, "acme.example (acme) is in mydestination"),
        ({"classes": {"acme.example": "virtual alias"}}, "virtual_alias_domains"),
        ({"classes": {"acme.example": "virtual mailbox"}}, "virtual_mailbox_domains"),
        ({"everybody": [["acme.example", "virtual_alias_maps", "hash:/v", "@acme.example"]]}, "hash:/v (virtual_alias"),
        ({"everybody": [["acme.example", RECIPIENTS, "regexp:/r", "for any address"]]}, "regexp:/r (relay_recip"),
        ({"everybody": [["acme.example", "relocated_maps", "hash:/r", "@acme.example"]]}, "all of acme.example"),
        ({"unlisted": ["main.cf: x"]}, 'only unlisted = "refuse" is possible here: main.cf: x'),
        ({"refused": {"acme.example": "it comes to `reject`"}}, "says `acme.example OK` leaves it to our list"),
        ({"references": [["main.cf: relay_domains = $transport_maps", "transport_maps"]]}, "not as $transport_maps"),
        ({"references": [["main.cf: virtual_mailbox_maps = $x", RECIPIENTS]]}, "takes in relay_recipient_maps"),
        ({"dead ends": {"acme.example": "error:5.1.1"}}, "takes its mail to error:5.1.1"),
        ({"unreadable": ["relay_recipient_maps: postmap cannot read mysql:/m"]}, "cannot read mysql:/m: Postfix puts"),
        ({"ground": ["/usr/local/sbin is mounted noexec"]}, "mounted noexec"),
        (sshd(pubkeyacceptedalgorithms=["rsa-sha2-512,rsa-sha2-256"]), "takes no ssh-ed25519 key"),
        (sshd(maxsessions=["0"]), "MaxSessions 0: no key has a command run"),
        (sshd(allowusers=["postern@192.0.2.*"]), "add postern (from 198.51.100.7)"),
        (sshd(denyusers=["postern@198.51.100.0/24"]), "shuts out postern"),
        ({"by mx": ["acme.example"]}, 'say next_hop = "mx" if its mail is to go where its MX records say, which'),
    ],
)
def test_an_obstacle_is_named_with_what_would_help(preflight: dict[str, Any], words: str) -> None:
    (found,) = refusals(preflight)
    assert words in found


@pytest.mark.parametrize(
    "options",
    [
        {"allowusers": ["root", "post*"]},
        {"allowusers": ["postern@198.51.100.*"]},
        {"allowusers": ["postern@198.51.100.0/24"]},
        {"allowusers": ["postern@*.acme.example"], "usedns": ["yes"]},
        {"denyusers": ["postern@192.0.2.0/24"]},
        {"pubkeyacceptedalgorithms": ["ssh-ed25519,rsa-sha2-512"]},
        {"denyusers": ["root"]},
        {"allowgroups": ["postern"]},
        {"authorizedkeysfile": ["%h/.ssh/authorized_keys"]},
        {"authorizedkeysfile": ["/var/lib/%u/.ssh/authorized_keys"]},
        {"authenticationmethods": ["publickey,password", "publickey"]},
        {"maxsessions": ["10"], "requiredrsasize": ["1024"]},
    ],
)
def test_what_lets_the_account_in_is_no_obstacle(options: dict[str, list[str]]) -> None:
    assert refusals(sshd(**options)) == []


@pytest.mark.parametrize(("least", "count"), [("2048", 0), ("2049", 1), ("3072", 1)])
def test_an_rsa_key_that_is_too_short_for_sshd_is_named(least: str, count: int) -> None:
    public = generate_private_key(65537, 2048).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    acme = customer(keys=(Key("k1", public.decode()),))
    found = relay_role.blockers(relay(), (acme,), FRESH, [{**FINE, **sshd(requiredrsasize=[least])}])
    assert (
        len([each for each in found if f"RequiredRSASize {least}: it takes no RSA key of 2048 bits" in each]) == count
    )


def test_all_blockers_are_named_at_once() -> None:
    preflight = {"running": False, "sudoers.d": False, **sshd(forcecommand=["/bin/false"], denyusers=["postern"])}
    assert len(refusals(preflight)) == 4


def test_an_older_receiver_replaces_a_newer_one_only_when_that_is_said() -> None:
    newer = FRESH._replace(release="999.0")
    assert "999.0" in refusals({}, newer)[0]
    assert refusals({}, newer, downgrade=True) == []
    assert refusals({}, FRESH._replace(release=RELEASE)) == []


def test_where_there_is_no_postfix_yet_only_what_needs_none_is_judged() -> None:
    preflight = {name: FINE[name] for name in ("sshd", "groups", "sudoers.d")}
    assert relay_role.blockers(relay(), (customer(),), BLANK, [preflight]) == []


# ---- what is chosen from an export


def of_source(source: str, **take: bool) -> Customer:
    one = customer()
    changes = {"source": source, "basepoint": None, "take": Take.model_validate(take)}
    return one.model_copy(update={"exchange": one.exchange.model_copy(update=changes)})


def test_the_kinds_that_are_left_out_are_in_the_settings_of_a_source_that_tells_kinds() -> None:
    told = json.loads(tree_of(of_source("csvde", internal_only=True, contacts=False))["settings.json"])
    assert told["format"] == "csvde"
    assert "internal only" not in told["leave_out"]
    assert {"system objects", "contacts"} <= set(told["leave_out"])
    assert json.loads(tree_of(customer())["settings.json"])["leave_out"] == []


@pytest.mark.parametrize("other", [of_source("csvde", hidden=False), customer(exclude=("x",))])
def test_what_shows_with_the_next_list_only_is_said_to(other: Customer) -> None:
    before, after = tree_item(of_source("csvde")), tree_item(other)
    assert relay_role.notes(relay(), FRESH, [(after, before.wanted)]) == [
        "acme: a changed exclude or take takes effect with the next list"
    ]
    assert relay_role.notes(relay(), FRESH, [(after, after.wanted)]) == []


# ---- user+tag@


PLUS_WORDS: list[bool | None] = [None, True, False]


@pytest.mark.parametrize("before", PLUS_WORDS)
@pytest.mark.parametrize("after", PLUS_WORDS)
def test_only_a_named_loss_ends_that_plus_addresses_are_taken(before: bool | None, after: bool | None) -> None:
    ranks = (False, None, True)
    fewer = ranks.index(after) < ranks.index(before)
    change = Change(tree_item(customer(plus_addresses=after)), tree_item(customer(plus_addresses=before)).wanted)
    assert list(change.removals()) == ["plus"] * fewer


def test_what_becomes_of_plus_addresses_is_said_for_each_relay() -> None:
    unset, wanted = tree_item(customer()), tree_item(customer(plus_addresses=True))
    assert relay_role.notes(relay(), FRESH, [(unset, None), (unset, unset.wanted)]) == []
    assert relay_role.notes(relay(), FRESH, [(wanted, unset.wanted)]) == ["acme: user+tag@ is taken where user@ is"]
    assert relay_role.notes(relay(), FRESH, [(tree_item(customer(plus_addresses=False)), None)]) == [
        "acme: user+tag@ is unlisted unless the list has it"
    ]
    assert relay_role.notes(relay(), FRESH._replace(delimiter="-+"), [(wanted, None)]) == [
        "acme: user+tag@ is taken there where user@ is, whatever we say: recipient_delimiter has a +"
    ]
