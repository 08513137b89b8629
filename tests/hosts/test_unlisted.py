"""What an unlisted address gets by a customer's word: over SMTP, as an outsider, on each Postfix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers, export
from tests.support.next_hop_server import MailServer, mail_server
from tests.support.releases import releases

pytestmark = pytest.mark.host

TABLES = "/etc/postern/tables"
TAKEN = (
    *("joe@acme.example", "joe+tag@acme.example", "JOE+Tag@ACME.example", '"joe"@acme.example', "#sales@acme.example"),
    *('"john..doe"@acme.example', "john..doe@acme.example", "postmaster@acme.example"),
    *("alias@acme.example", "known@acme.example"),
)
UNLISTED = (
    *("nobody@acme.example", "nobody+tag@acme.example", '"no body"@acme.example', '"\\"nobody"@acme.example'),
    *('"nobody"@acme.example', "#nobody@acme.example", f"{'x' * 300}@acme.example"),
)
OTHERS = {
    "ann@bolt.example": "250",
    "nobody@bolt.example": "550",
    "x@old.example": "250",
    "nobody@sub.acme.example": "454",
    "x@elsewhere.example": "454",
    '"x@elsewhere.example"@acme.example': "454",
}


@pytest.mark.parametrize(("release", "kind"), releases(("bookworm", "hash"), ("trixie", "lmdb"), ("forky", "cdb")))
def test_unlisted_addresses_are_deferred_and_nobody_else_notices(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str, kind: str
) -> None:
    host, operator = lab_host(release), AtOnce(tmp_path)
    set_up(host)
    operator.relay("mx1", host, table_type=kind)
    customers(operator)
    operator.done("provision --all")
    upload(operator, "acme", "joe", "#sales", "john..doe")
    upload(operator, "bolt", "ann")
    assert "smtpd_recipient_restrictions" not in host.run("postconf", "-n").stdout
    assert answers(host, *UNLISTED) == dict.fromkeys(UNLISTED, "550")
    before = answers(host, *OTHERS)
    customers(operator, unlisted="defer")
    operator.done("provision acme")
    assert answers(host, *TAKEN) == dict.fromkeys(TAKEN, "250")
    assert answers(host, *UNLISTED) == dict.fromkeys(UNLISTED, "450")
    assert before == answers(host, *OTHERS) == OTHERS
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")
    assert "all answered as they should be" in operator.done("verify --all").text
    a_table_of_ours_may_be_missing(host)
    back_to_refuse(host, operator)


def a_table_of_ours_may_be_missing(host: LabHost) -> None:
    """Nobody else's mail notices, and the timer's next run builds it anew."""
    for name in ("unlisted_domains", "unlisted_answers", "plus", "odd", "asked"):
        host.run("mv", f"{TABLES}/{name}", f"{TABLES}/.away")
        host.reload_postfix()
        found = answers(host, "x@elsewhere.example", "ann@bolt.example")
        outbound = host.ask("x@elsewhere.example")[:3]
        if name != "asked":
            assert (found, outbound) == ({"x@elsewhere.example": "454", "ann@bolt.example": "250"}, "250"), name
        host.run("sh", "-c", "postern tick")
        host.run("rm", f"{TABLES}/.away")
        both = answers(host, "joe@acme.example", "nobody@acme.example", "nobody@bolt.example")
        assert both == {"joe@acme.example": "250", "nobody@acme.example": "450", "nobody@bolt.example": "550"}, name


def back_to_refuse(host: LabHost, operator: AtOnce) -> None:
    customers(operator)
    assert "--removing unlisted:defer" in operator.done("provision acme", code=2).text
    assert answers(host, "nobody@acme.example") == {"nobody@acme.example": "450"}
    operator.done("provision acme --removing unlisted:defer")
    assert answers(host, *UNLISTED) == dict.fromkeys(UNLISTED, "550")
    assert answers(host, *TAKEN) == dict.fromkeys(TAKEN, "250")
    assert "smtpd_recipient_restrictions" not in host.run("postconf", "-n").stdout


LISTED = ("joe@acme.example", "ann@acme.example", "bob@acme.example")
FORGOTTEN = "new@acme.example"
ASKS = (
    "unverified_recipient_reject_code",
    "unverified_recipient_reject_reason",
    "address_verify_negative_refresh_time",
    "smtpd_recipient_restrictions",
)


@pytest.mark.parametrize(("release", "kind"), releases(("bookworm", "hash"), ("trixie", "lmdb"), ("forky", "lmdb")))
def test_the_customers_server_has_the_last_word_about_unlisted_addresses(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str, kind: str
) -> None:
    host, operator = lab_host(release), AtOnce(tmp_path)
    set_up(host)
    operator.relay("mx1", host, table_type=kind)
    with mail_server((*LISTED, FORGOTTEN, "postmaster@acme.example")) as server:
        ask_for(operator, server)
        operator.done("provision --all")
        upload(operator, "acme", *(name.partition("@")[0] for name in LISTED))
        upload(operator, "bolt", "ann")
        before = answers(host, *OTHERS)
        what_stands_in_the_way(operator, server)
        ask_for(operator, server, unlisted="ask")
        operator.done("provision acme")
        assert answers(host, *LISTED, FORGOTTEN, "alias@acme.example") == dict.fromkeys(
            (*LISTED, FORGOTTEN, "alias@acme.example"), "250"
        )
        refused = ("nobody@acme.example", '"no body"@acme.example', f"{'x' * 510}@acme.example")
        assert answers(host, *refused) == dict.fromkeys(refused, "550")
        assert "inner.acme.example" not in host.ask("nobody@acme.example", from_address=OUTSIDE)
        assert before == answers(host, *OTHERS) == OTHERS
        assert operator.done("provision acme").out.startswith("mx1: nothing to change")
        assert "all answered as they should be" in operator.done("verify acme").text
        why = operator.done("explain nobody@acme.example").text
        assert "is asked about at the customer's own server" in why
        assert "verify_cache: a no that is older than 15m is asked again" in " ".join(why.split())
        whatever_the_server_does(host, operator, server)
        ask_for(operator, server)
        assert "--removing unlisted:ask" in operator.done("provision acme", code=2).text
        operator.done("provision acme --removing unlisted:ask")
        assert answers(host, FORGOTTEN, *LISTED) == {FORGOTTEN: "550", **dict.fromkeys(LISTED, "250")}
        assert not [name for name in ASKS if name in host.run("postconf", "-n").stdout]


def what_stands_in_the_way(operator: AtOnce, server: MailServer) -> None:
    """A server that cannot say who is there: asking it is refused."""
    ask_for(operator, server, unlisted="ask")
    taken = server.taken
    server.takes_everybody = True
    assert "of an address that nobody has, where a 5xx is needed" in operator.done("provision acme", code=2).text
    server.takes_everybody, server.taken = False, frozenset()
    assert "who is listed" in operator.done("provision acme", code=2).text
    server.taken, server.refuses_senders = taken, True
    assert "550 5.7.68" in operator.done("provision acme", code=2).text
    server.refuses_senders = False


def whatever_the_server_does(host: LabHost, operator: AtOnce, server: MailServer) -> None:
    """Listed people are taken throughout; the others as the server says, or put off while it does not."""
    server.stop()
    for name in ("one", "two"):
        assert unlisted_is(host, f"down-{name}", "450")
        host.run("postern", "tick")
    assert "now defer" not in operator.run("status acme").text
    server.start_again()
    server.refuses_senders = True
    host.run("postern", "tick")
    host.run("postern", "tick")
    assert unlisted_is(host, "not-asked", "450")
    assert "now defer" in operator.done("status acme", code=1).text
    server.refuses_senders, server.takes_everybody = False, True
    host.run("postern", "tick")
    assert unlisted_is(host, "still-not-asked", "450")
    server.takes_everybody, server.is_busy = False, True
    host.run("postern", "tick")
    assert unlisted_is(host, "busy", "450")
    server.is_busy = False
    host.run("postern", "tick")
    assert unlisted_is(host, "asked-again", "550")
    server.takes_everybody = True
    host.run("postern", "tick")
    assert unlisted_is(host, "whoever", "250")
    server.takes_everybody = False


def unlisted_is(host: LabHost, name: str, code: str) -> bool:
    """Ask about somebody new, as answers are kept, and about who is listed."""
    return answers(host, f"{name}@acme.example", LISTED[0]) == {f"{name}@acme.example": code, LISTED[0]: "250"}


def ask_for(operator: AtOnce, server: MailServer, **acme: str) -> None:
    """Write the customers down, acme with its own server."""
    customers(operator, next_hop=server.route, **acme)


OBSTACLES = {
    "what refuses to relay stands behind it": (
        ("smtpd_relay_restrictions=", "smtpd_recipient_restrictions=permit_mynetworks, reject_unauth_destination"),
        "reject_unauth_destination or defer_unauth_destination does not come before smtpd_recipient_restrictions",
    ),
    "relay restrictions come later": (
        ("smtpd_relay_before_recipient_restrictions=no",),
        "does not come before smtpd_recipient_restrictions",
    ),
    "routing in addresses is allowed": (("allow_untrusted_routing=yes",), "allow_untrusted_routing = yes"),
    "unlisted recipients are refused before": (
        ("smtpd_sender_restrictions=reject_unlisted_recipient",),
        "which refuses before our member is reached",
    ),
}


def test_deferring_is_refused_where_strangers_would_hear_of_it_or_it_would_not_hold(
    bookworm: LabHost, tmp_path: Path
) -> None:
    host, operator = bookworm, AtOnce(tmp_path)
    set_up(host)
    operator.relay("mx1", host)
    customers(operator, unlisted="defer")
    for about, (settings, said) in OBSTACLES.items():
        host.run("sh", "-c", "cp /etc/postfix/main.cf /root/main.cf")
        host.run("postconf", "-e", *settings)
        host.reload_postfix()
        ran = operator.run("provision acme")
        assert (ran.code, said in " ".join(ran.text.split())) == (2, True), about
        host.run("cp", "/root/main.cf", "/etc/postfix/main.cf")
        host.reload_postfix()
    host.run("postconf", "-Pe", "smtp/inet/smtpd_recipient_restrictions=permit")
    host.reload_postfix()
    assert "our member of main.cf is not reached there" in operator.done("provision acme", code=2).text


def set_up(host: LabHost) -> None:
    """Have an alias, a table of its own and a relay domain of somebody else on a relay."""
    files = {"aliases_": "alias@acme.example root@localhost", "own": "known@acme.example OK\nx@old.example OK"}
    for name, text in files.items():
        (host.root / f"etc/postfix/{name}").write_text(f"{text}\n")
        host.run("postmap", f"hash:/etc/postfix/{name}")
    maps = ("virtual_alias_maps=hash:/etc/postfix/aliases_", "relay_recipient_maps=hash:/etc/postfix/own")
    host.run("postconf", "-e", *maps, "relay_domains=old.example", "recipient_delimiter=")
    host.start_postfix()


def customers(operator: AtOnce, **acme: str) -> None:
    operator.customer("acme", domains=["acme.example"], plus_addresses=True, **acme)
    operator.customer("bolt", domains=["bolt.example"])


def upload(operator: AtOnce, customer: str, *locals_: str) -> None:
    """Upload a first list and accept it."""
    assert operator.upload(export(*locals_, domain=f"{customer}.example"), customer).code == 3
    operator.accept(customer, f"--first {len(locals_)}")
