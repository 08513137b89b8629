"""Addresses that RFC 5321 does not know, or a table cannot hold: from export to SMTP, on each Postfix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, answers, export
from tests.support.built_relay import HostRelay
from tests.support.releases import releases

pytestmark = pytest.mark.host

KINDS = {"bookworm": "hash", "trixie": "lmdb", "forky": "cdb"}
LONG = f"{'d' * 60}.{'e' * 60}.{'f' * 60}.{'g' * 60}.example"  # with 315 octets before it no key of lmdb's
LISTED = (
    *("#Sales@acme.example", "#@acme.example", "John..Doe@acme.example", ".first@acme.example", "last.@acme.example"),
    *("Sales Dept@acme.example", f"{'x' * 315}@acme.example", f"{'y' * 314}/@{LONG}", f"#b@{LONG}"),
)
TAKEN = (
    *("#sales@acme.example", "#SALES@ACME.example", '"#sales"@acme.example', "#@acme.example", f"#b@{LONG}"),
    *("john..doe@acme.example", '"john..doe"@acme.example', ".first@acme.example", "last.@acme.example"),
    *('"sales dept"@acme.example', f"{'x' * 315}@acme.example", f"{'Y' * 314}/@{LONG}", "#helpdesk@acme.example"),
    "two..dots@acme.example",
)
REFUSED = (
    *("x#sales@acme.example", "#sale@acme.example", "#sales@sub.acme.example", f"#sales@{LONG}", "sales@acme.example"),
    *("john.doe@acme.example", "first@acme.example", f"{'x' * 314}@acme.example", f"{'y' * 315}@{LONG}"),
    f"z{'y' * 314}/@{LONG}",
)


@pytest.mark.parametrize("release", releases(*KINDS))
def test_an_odd_address_is_taken_and_one_like_it_is_not(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str
) -> None:
    host, operator = lab_host(release), AtOnce(tmp_path)
    host.start_postfix()
    operator.relay("mx1", host, table_type=KINDS[release])
    include = ["#helpdesk@acme.example", "two..dots@acme.example"]
    operator.customer("acme", domains=["acme.example", LONG], include=include)
    operator.done("provision acme")
    operator.upload(export("anna", f"anna@{LONG}"))
    operator.accept("acme", "--first 2")
    uploaded = operator.upload(export("anna", f"anna@{LONG}", *LISTED))
    assert uploaded.code == 0, uploaded.text
    assert answers(host, *TAKEN) == dict.fromkeys(TAKEN, "250")
    said = answers(host, *REFUSED)
    assert said.pop("#sales@sub.acme.example") == "454"
    assert set(said.values()) == {"550"}
    operator.done("verify acme")
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")


def test_a_domain_that_no_table_holds_costs_its_own_customer_alone(lab_host: Callable[..., LabHost]) -> None:
    relay = HostRelay(lab_host("bookworm"), "lmdb")
    relay.tree("acme")
    relay.upload("acme", "ann@acme.example")
    relay.build()
    u_label = ".".join(["例" * 50] * 4)
    a_label = ".".join(["xn--" + ("例" * 50).encode("punycode").decode()] * 4)
    relay.tree("bolt", a_label, unicode={a_label: u_label})
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    assert relay.build().stdout.startswith("bolt: postmap refuses its domains")
    assert relay.closed("ann@acme.example", "bob@acme.example")
    relay.leaves("bolt")
    assert relay.build().stdout == ""


def test_a_list_that_postmap_refuses_costs_its_own_customer_alone(lab_host: Callable[..., LabHost]) -> None:
    """As it would one that a later release of Postfix takes for something else: here, any with `evil` in it."""
    relay = HostRelay(lab_host("bookworm"))
    for customer in ("acme", "bolt", "cork"):
        relay.tree(customer)
        relay.upload(customer, f"ann@{customer}.example")
    relay.build()
    relay.host.run("mv", "/usr/sbin/postmap", "/usr/sbin/postmap.real")
    asked = 'case "$*" in *" -q "*|*" -d "*) exec postmap.real "$@" ;; esac\n'
    refuses = (
        'for file; do :; done; if grep -qs evil "${file#hash:}"; then echo "postmap: fatal: evil" >&2; exit 1; fi\n'
    )
    fussy = relay.host.root / "usr/sbin/postmap"
    fussy.write_text(f'#!/bin/sh\n{asked}{refuses}exec postmap.real "$@"\n')
    fussy.chmod(0o755)
    relay.upload("acme", "ann@acme.example", "bob@acme.example")
    relay.upload("bolt", "ann@bolt.example", "evil@bolt.example")
    relay.upload("cork", "ann@cork.example", "bob@cork.example")
    assert relay.build().stdout == "bolt: postmap refuses its list: postmap: fatal: evil\n"
    assert relay.closed("ann@acme.example", "bob@acme.example")
    assert relay.closed("ann@cork.example", "bob@cork.example", domain="cork.example")
    assert relay.closed("ann@bolt.example", domain="bolt.example")
    relay.upload("bolt", "ann@bolt.example", "eve@bolt.example")
    assert relay.build().stdout == ""
    assert relay.closed("ann@bolt.example", "eve@bolt.example", domain="bolt.example")
