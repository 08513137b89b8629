"""Relays that took a customer's mail by lists of somebody else are taken over, and nobody is refused on the way."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import ACCEPT, OUTSIDE, AtOnce, answers, export
from lab.smtp import Conversation, Refused
from tests.support.found_relays import NAMES, FoundRelay, become, fingerprint

pytestmark = pytest.mark.host

HOP = "relay:[127.78.1.1]:2525"


@pytest.fixture(scope="module")
def relay() -> Iterator[LabHost]:
    with LabHost("bookworm") as host:
        yield host


@pytest.fixture
def operator(relay: LabHost, tmp_path: Path) -> Iterator[AtOnce]:
    """An operator who has just written the customer down; what the last one had put on the relay is gone."""
    person = AtOnce(tmp_path)
    person.customer("acme", next_hop=HOP, include=[])
    person.relay("mx1", relay)
    yield person
    relay.run("sh", "-c", "rm -rf /etc/postern /var/lib/postern /etc/cron.d/postern")


class Traffic(threading.Thread):
    """Strangers who ask for some addresses all the time; what each was told is kept."""

    def __init__(self, host: LabHost, addresses: list[str]) -> None:
        super().__init__(daemon=True)
        self.told: dict[str, set[str]] = {address: set() for address in addresses}
        self.rounds = 0
        self._host, self._ends = host, threading.Event()

    def __enter__(self) -> Traffic:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join()

    def run(self) -> None:
        while not self._ends.is_set():
            with (
                suppress(Refused, OSError),  # Postfix is reloaded now and then
                Conversation(self._host.address, from_address=OUTSIDE) as session,
            ):
                for address in self.told:
                    self.told[address].add(session.ask(address, "probe@outside.test")[:3])
                self.rounds += 1


USUAL = ("1-two-tables-of-the-recipe", "2-catch-all-beside-the-list", "5-half-of-a-union-cannot-be-listed")
CASES = [pytest.param(name, marks=[] if name in USUAL else [pytest.mark.long]) for name in NAMES]


@pytest.mark.parametrize("name", CASES)
def test_a_found_relay_is_taken_over_as_it_answers_today(relay: LabHost, operator: AtOnce, name: str) -> None:
    case = FoundRelay.read(name)
    become(relay, name)
    before = fingerprint(relay)
    said = json.loads(operator.done("adopt acme --dry-run --json", code=2 if case.want["refuses"] else 6).out)
    text = "\n".join([*said["relays"]["mx1"]["lines"], said["refuses"] or ""])
    missing = [word for named in case.want["named"] for word in named["say"] if word not in text]
    assert not missing, text
    assert bool(said["refuses"]) is bool(case.want["refuses"]), text
    if said["refuses"]:
        assert operator.done("adopt acme", code=2).err
        assert fingerprint(relay) == before
        return
    assert case.lists <= {*said["lists"]} <= case.lists | {*case.want.get("either", ())}

    asked = [address for address in case.want["before"] if address.isascii()]
    with Traffic(relay, [*asked, "q1w2e3@acme.example"]) as traffic:
        assert "`inv review acme` shows the list" in operator.done("adopt acme", code=3).out
        (command,) = {*ACCEPT.findall(operator.done("review acme").out)}
        operator.done(command)
        operator.done("provision acme --dry-run", code=6)
        plan = operator.done("provision acme")
        (planned,) = re.findall(r"^mx1: (\d+ changes?)$", plan.out, re.MULTILINE)
        assert f"mx1: {planned} made" in plan.out, plan.text
        assert operator.done("provision acme").out.startswith("mx1: nothing to change"), plan.text
    assert traffic.rounds > 3
    wanted = {address: {str(code)} for address, code in case.want["before"].items()}
    told = {address: codes for address, codes in traffic.told.items() if address in wanted}
    refused = {address: told[address] for address in told if wanted[address] == {"250"} and told[address] != {"250"}}
    taken = {address: codes for address, codes in traffic.told.items() if codes != {"250"} and "250" in codes}
    assert (refused, taken) == ({}, {}), plan.text
    assert "250" not in traffic.told["q1w2e3@acme.example"]
    assert fingerprint(relay) == before
    assert "acme.example" in relay.run("cat", "/etc/postern/tables/transport").stdout
    assert "\n@acme.example" not in "\n" + relay.run("cat", "/etc/postern/tables/exchange_recipients").stdout


def test_a_table_that_cannot_be_listed_closes_its_domain_until_a_first_list_is_accepted(
    relay: LabHost, operator: AtOnce
) -> None:
    """And where its member goes before, the domain opens: our list alone would refuse whom nobody has judged."""
    become(relay, "5-half-of-a-union-cannot-be-listed")
    operator.customer("acme", next_hop=HOP, include=[])
    plan = operator.done("provision acme")
    assert "acme.example: stays closed; who answers: today relay_recipient_maps (hash:/etc/postfix/staff, " in plan.out
    people = ("joe@acme.example", "ann.lee@acme.example", "new@acme.example", "nobody@acme.example")
    assert [*answers(relay, *people).values()] == ["250", "250", "550", "550"]
    assert operator.upload(export("joe", "new")).code == 3
    assert [*answers(relay, *people).values()] == ["250", "250", "250", "550"]

    member = "unionmap:{hash:/etc/postfix/staff, regexp:/etc/postfix/vanity.re}"
    value = relay.run("postconf", "-h", "relay_recipient_maps").stdout.strip()
    relay.run("postconf", "-e", f"relay_recipient_maps = {value.replace(f', {member}', '')}")
    relay.reload_postfix()
    said = relay.run("postern", "tick", "--json").stdout
    assert "vanity.re, which closed acme.example, is no longer in relay_recipient_maps" in said
    assert [*answers(relay, *people).values()] == ["250"] * 4
    relay.run("postconf", "-e", f"relay_recipient_maps = {value}")
    relay.reload_postfix()
    relay.run("postern", "tick")
    assert [*answers(relay, *people).values()] == ["250", "250", "250", "550"]

    operator.accept("acme", "--first 2")
    assert "stays closed; who answers: today relay_recipient_maps" in operator.done("provision acme").out
    assert [*answers(relay, *people).values()] == ["250", "250", "250", "550"]
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")


def test_a_list_given_by_hand_is_held_where_no_list_is_in_force(relay: LabHost, operator: AtOnce) -> None:
    become(relay, "2-catch-all-beside-the-list")
    (operator.home / "theirs").write_text("joe@acme.example OK\nann@acme.example\nkim@bolt.example OK\n")
    said = operator.done(f"adopt acme --from {operator.home / 'theirs'}", code=3)
    assert "@acme.example in hash:/etc/postfix/domains_without_list takes every address" in said.err
    assert "held" in operator.done("review acme").out
    assert [*answers(relay, "joe@acme.example", "nobody@acme.example").values()] == ["250", "250"]


def test_a_domain_that_comes_to_a_customer_later_stays_closed_by_the_relay_s_own_table(
    relay: LabHost, operator: AtOnce
) -> None:
    become(relay, "1-two-tables-of-the-recipe")
    operator.done("adopt acme", code=3)
    operator.done(*ACCEPT.findall(operator.done("review acme").out)[:1])
    operator.done("provision acme")
    operator.customer("acme", domains=["acme.example", "bolt.example"], next_hop=HOP, include=[])
    people = ("kim@bolt.example", "new@bolt.example", "nobody@bolt.example", "joe@acme.example")
    with Traffic(relay, [*people]) as traffic:
        plan = operator.done("provision acme")
        assert "bolt.example: stays closed; who answers: today relay_recipient_maps (hash:/etc/postfix/" in plan.out
        listed = ("joe", "anna.berg", "sales", "ceo", "kim@bolt.example", "new@bolt.example")
        assert operator.upload(export(*listed)).code in (0, 3)
        (command,) = {*ACCEPT.findall(operator.done("review acme").out)}
        operator.done(command)
        operator.done("provision acme")
    assert traffic.rounds > 3
    assert traffic.told["kim@bolt.example"] == traffic.told["joe@acme.example"] == {"250"}
    assert "250" not in traffic.told["nobody@bolt.example"]
    assert [*answers(relay, *people).values()] == ["250", "250", "550", "250"]
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")


BELOW = {
    "nothing": (":", "open: nobody is refused", ["250", "250"]),
    "a relayhost": ("postconf -e relayhost=[127.78.1.9]", "open: nobody is refused", ["250", "250"]),
    "a pattern": (
        "echo '/example$/ x' > /etc/postfix/any; postconf -e 'relay_domains = regexp:/etc/postfix/any'",
        "open: nobody is refused",
        ["250", "250"],
    ),
    "its people": (
        "echo 'ann@mail.acme.example x' >> /etc/postfix/relay_recipients; postmap /etc/postfix/relay_recipients",
        "stays closed",
        ["250", "550"],
    ),
    "a route": (
        (
            "echo '.acme.example relay:[127.78.1.8]' > /etc/postfix/below; postmap /etc/postfix/below;"
            ' postconf -e "transport_maps = $(postconf -h transport_maps), hash:/etc/postfix/below"'
        ),
        "stays closed",
        ["550", "550"],
    ),
}


@pytest.mark.parametrize("known", BELOW)
def test_a_later_domain_of_which_only_one_above_is_known_opens_with_its_route(
    relay: LabHost, operator: AtOnce, known: str
) -> None:
    """Postfix refuses it for want of a list (parent_domain_matches_subdomains), though nobody has made one for it."""
    more, says, told = BELOW[known]
    become(relay, "1-two-tables-of-the-recipe")
    relay.run("sh", "-ec", more)
    relay.reload_postfix()
    operator.done("adopt acme", code=3)
    operator.done(*ACCEPT.findall(operator.done("review acme").out)[:1])
    operator.done("provision acme")
    operator.customer("acme", domains=["acme.example", "mail.acme.example"], next_hop=HOP, include=[])
    people = ("ann@mail.acme.example", "nobody@mail.acme.example")
    before = answers(relay, *people)
    plan = operator.done("provision acme").out
    assert re.search(f"mail.acme.example: .*{says}", plan), plan
    assert [*answers(relay, *people).values()] == told
    assert "open" in says or answers(relay, *people) == before
    routed = re.findall(r"(?m)^mail.acme.example (.*)$", (relay.root / "etc/postern/tables/transport").read_text())
    assert routed == [HOP] * ("open" in says)
