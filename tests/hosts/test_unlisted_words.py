"""Customers of one relay with different words for unlisted addresses, whatever else the relay's restrictions say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers, export
from lab.waiting import wait_until
from tests.support import watching
from tests.support.next_hop_server import MailServer, mail_server
from tests.support.policy_service import PolicyService, policy_service

pytestmark = [pytest.mark.host, pytest.mark.story]

TABLES = "/etc/postern/tables"
FORGOTTEN = "new@acme.example"  # the server knows it, and the list does not
LISTED = ("ann@acme.example", "bob@acme.example", "eve@acme.example", "joe@bolt.example", "kim@corp.example")
FOREIGN = {
    "known@old.example": "250",
    "nobody@old.example": "550",
    "known@sub.acme.example": "250",
    "nobody@sub.acme.example": "550",
    "nobody@sub.bolt.example": "454",
    "x@elsewhere.example": "454",
}
WORDS = {
    **dict.fromkeys(LISTED, "250"),
    FORGOTTEN: "250",
    "ann+tag@acme.example": "250",
    "joe+tag@bolt.example": "250",
    "kim+tag@corp.example": "250",
    "nobody@acme.example": "550",
    "nobody+tag@acme.example": "550",
    "new+tag@acme.example": "550",
    "nobody@bolt.example": "450",
    "nobody+tag@bolt.example": "450",
    "nobody@corp.example": "550",
    "nobody+tag@corp.example": "550",
}
RULES = {
    "unset": (),
    "ends in permit": ("smtpd_recipient_restrictions=permit_mynetworks, reject_unauth_destination, permit",),
    "ends in reject": ("smtpd_recipient_restrictions=permit_mynetworks, permit_auth_destination, reject",),
    "policy behind ours": ("smtpd_recipient_restrictions=permit_mynetworks, reject_unauth_destination, POLICY",),
    "policy before ours": ("smtpd_sender_restrictions=POLICY",),
}


class Story(NamedTuple):
    """A relay with a customer of each word, and two foreign domains, one of them below a customer's."""

    host: LabHost
    operator: AtOnce
    server: MailServer
    policy: PolicyService

    def provision(self, acme: str = "ask", code: int = 0, removing: str = "") -> str:
        """Write the customers down, acme with this word, and provision all."""
        for customer, word in (("acme", acme), ("bolt", "defer"), ("corp", "refuse")):
            hop = {"next_hop": self.server.route} if customer == "acme" else {}
            self.operator.customer(customer, unlisted=word, plus_addresses=True, **hop)
        return self.operator.done(f"provision --all{removing}", code=code).text

    def set(self, *settings: str) -> None:
        """Have main.cf as its owner had it, with these settings."""
        self.host.run("postconf", "-X", "smtpd_recipient_restrictions", "smtpd_sender_restrictions")
        if settings:
            said = (each.replace("POLICY", self.policy.restriction) for each in settings)
            self.host.run("postconf", "-e", *said)
        self.host.reload_postfix()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    people = (*(name for name in LISTED if "acme" in name), FORGOTTEN, "postmaster@acme.example")
    with LabHost("bookworm") as host, mail_server(people) as server, policy_service("bob@acme.example") as policy:
        own = "known@old.example OK\nknown@sub.acme.example OK\n"
        (host.root / "etc/postfix/own").write_text(own)
        host.run("postmap", "hash:/etc/postfix/own")
        foreign = "relay_domains=old.example, sub.acme.example"
        host.run("postconf", "-e", foreign, "relay_recipient_maps=hash:/etc/postfix/own", "recipient_delimiter=")
        host.start_postfix()
        assert answers(host, *FOREIGN) == FOREIGN
        found = Story(host, AtOnce(tmp_path_factory.mktemp("operator")), server, policy)
        found.operator.relay("mx1", host)
        found.provision(acme="refuse")
        for customer in ("acme", "bolt", "corp"):
            names = [name.partition("@")[0] for name in LISTED if customer in name]
            assert found.operator.upload(export(*names, domain=f"{customer}.example"), customer).code == 3
            found.operator.accept(customer, f"--first {len(names)}")
        assert answers(host, *FOREIGN) == FOREIGN
        found.provision()
        yield found


def test_each_customer_of_a_relay_has_its_own_word_and_nobody_else_notices(story: Story) -> None:
    assert answers(story.host, *WORDS) == WORDS
    assert answers(story.host, *FOREIGN) == FOREIGN


def test_a_customer_changes_from_ask_to_refuse_and_back_while_mail_flows(story: Story) -> None:
    """Who is listed is taken all the while, and what others are answered does not change."""
    asked = [*LISTED, *FOREIGN, "nobody@corp.example", "nobody@bolt.example"]
    with watching.asked(story.host, asked, OUTSIDE) as seen:
        wait_until(lambda: all(seen.values()))
        assert "--removing unlisted:ask" in story.provision(acme="refuse", code=2)
        story.provision(acme="refuse", removing=" --removing unlisted:ask")
        assert answers(story.host, FORGOTTEN) == {FORGOTTEN: "550"}
        story.provision(acme="ask")
        assert answers(story.host, FORGOTTEN) == {FORGOTTEN: "250"}
    assert seen == {name: {{**WORDS, **FOREIGN}[name]} for name in asked}


@pytest.mark.long
def test_another_user_of_address_verification_has_asking_refused(story: Story) -> None:
    rule = "smtpd_data_restrictions has reject_unverified_recipient, whose answers would change"
    story.provision(acme="refuse", removing=" --removing unlisted:ask")
    story.host.run("postconf", "-e", "smtpd_data_restrictions=Reject_Unverified_Recipient")
    assert f"main.cf: {rule}" in " ".join(story.provision(acme="ask", code=2).split())
    story.host.run("postconf", "-X", "smtpd_data_restrictions")
    story.provision()
    story.host.run("postconf", "-e", "smtpd_data_restrictions=reject_unverified_recipient")
    assert rule in story.host.run("postern", "tick", "--json").stdout
    story.host.run("postconf", "-X", "smtpd_data_restrictions")


@pytest.mark.long
@pytest.mark.parametrize("rules", RULES)
def test_the_words_hold_whatever_the_relay_s_own_restrictions_are(story: Story, rules: str) -> None:
    """A policy service keeps its effect on who is listed."""
    story.set(*RULES[rules])
    story.provision()
    wanted = {**WORDS, "bob@acme.example": "450" if "policy" in rules else "250"}
    assert answers(story.host, *wanted) == wanted
    assert answers(story.host, *FOREIGN) == FOREIGN
    assert story.host.ask("x@elsewhere.example")[:3] == "250", "outbound mail"


@pytest.mark.long
def test_a_server_that_is_silent_or_slow_has_unlisted_addresses_put_off_until_it_answers(story: Story) -> None:
    story.set()
    story.provision()
    story.server.is_silent = True
    put_off = {"silent@acme.example": "450", LISTED[0]: "250"}
    assert answers(story.host, *put_off) == put_off
    for _ in range(2):
        story.host.run("postern", "tick")
    assert "now defer" not in story.operator.run("status acme").text
    story.server.is_silent, story.server.seconds = False, 15
    put_off = {"slow@acme.example": "450", LISTED[0]: "250"}
    assert answers(story.host, *put_off) == put_off
    wait_until(lambda: answers(story.host, "slow@acme.example") == {"slow@acme.example": "550"})
    story.server.seconds = 0


HARMS = {
    "its built file is gone": "rm {table}.db",
    "its built file is cut to nothing": ": >{table}.db",
    "its text is gone": "rm {table}",
    "it is empty": ": >{table}; postmap {table}",
}


@pytest.mark.long
@pytest.mark.parametrize("table", ["exchange_recipients", "relay_domains", "transport"])
@pytest.mark.parametrize("harm", HARMS)
def test_a_main_table_that_is_missing_or_empty_refuses_nobody_for_longer_than_the_timer_takes(
    story: Story, table: str, harm: str
) -> None:
    """Only an empty table refuses: what cannot be read puts off."""
    story.set()
    story.provision()
    story.host.run("sh", "-ec", f"cd {TABLES}; {HARMS[harm].format(table=table)}")
    story.host.reload_postfix()
    if harm != "it is empty":
        assert {code[0] for code in answers(story.host, *LISTED).values()} <= {"2", "4"}
    story.host.run("postern", "tick")
    assert answers(story.host, *WORDS) == WORDS
    assert answers(story.host, *FOREIGN) == FOREIGN
