"""user+tag@ where user@ is listed: over SMTP, on each Postfix, from the inventory or from what an export says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, answers, export
from tests.support.releases import releases

pytestmark = pytest.mark.host

LISTED = ("joe", "x+y")
TAKEN = (
    *("joe@acme.example", "joe+tag@acme.example", "joe+t+u@acme.example", "joe+@acme.example", "JOE+Tag@ACME.example"),
    *('"joe+tag"@acme.example', "x+y@acme.example", "postmaster+x@acme.example"),
)
SPOOL = "/var/lib/postern/customers/acme"
UNLISTED = ("nobody@acme.example", "nobody+x@acme.example", "+joe@acme.example", "+@acme.example")
REFUSED = (*UNLISTED, "x+y+z@acme.example", "ann+x@acme.example", "joe+x@bolt.example", "ann+x@bolt.example")
WITHOUT = {"joe+tag@acme.example": "550", '"joe+tag"@acme.example': "550", "x+y@acme.example": "250"}


@pytest.mark.parametrize(("release", "kind"), releases(("bookworm", "hash"), ("trixie", "lmdb"), ("forky", "cdb")))
def test_a_plus_address_is_taken_where_its_name_is_listed_and_nowhere_else(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str, kind: str
) -> None:
    host, operator = lab_host(release), AtOnce(tmp_path)
    host.run("postconf", "-e", "recipient_delimiter =")
    host.start_postfix()
    operator.relay("mx1", host, table_type=kind)
    operator.customer("acme", domains=["acme.example"])
    operator.customer("bolt", domains=["bolt.example"])
    operator.done("provision --all")
    upload(operator, "acme", *LISTED)
    upload(operator, "bolt", "ann")
    assert answers(host, *WITHOUT) == WITHOUT
    operator.customer("acme", domains=["acme.example"], plus_addresses=True)
    assert "acme: user+tag@ is taken where user@ is" in operator.done("provision acme").text
    assert answers(host, *TAKEN) == dict.fromkeys(TAKEN, "250")
    assert answers(host, *REFUSED) == dict.fromkeys(REFUSED, "550")
    assert answers(host, "joe+x@sub.acme.example") == {"joe+x@sub.acme.example": "454"}
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")
    operator.customer("acme", domains=["acme.example"])
    assert "--removing plus" in operator.done("provision acme", code=2).text
    assert answers(host, "joe+tag@acme.example") == {"joe+tag@acme.example": "250"}
    operator.done("provision acme --removing plus")
    assert answers(host, *WITHOUT) == WITHOUT


@pytest.mark.long
def test_an_export_that_says_so_has_plus_addresses_taken_until_the_inventory_says_no(
    bookworm: LabHost, tmp_path: Path
) -> None:
    host, operator = bookworm, AtOnce(tmp_path)
    host.run("postconf", "-e", "recipient_delimiter =")
    host.start_postfix()
    operator.relay("mx1", host)
    operator.customer("acme", domains=["acme.example"])
    operator.done("provision acme")
    upload(operator, "acme", "joe")
    for said in (True, False):
        host.run("sh", "-c", f"echo '{json.dumps({'plus_addresses': said})}' >{SPOOL}/last-export.json", user="postern")
        host.run("sudo", "-n", "/usr/local/sbin/rebuild-relay-recips", user="postern")
        assert answers(host, "joe+tag@acme.example", "nobody+x@acme.example") == {
            "joe+tag@acme.example": "250",
            "nobody+x@acme.example": "550",
        }
    operator.customer("acme", domains=["acme.example"], plus_addresses=False)
    assert "--removing plus" in operator.done("provision acme", code=2).text
    operator.done("provision acme --removing plus")
    assert answers(host, "joe+tag@acme.example") == {"joe+tag@acme.example": "550"}


def upload(operator: AtOnce, customer: str, *locals_: str) -> None:
    """Upload a first list and accept it."""
    assert operator.upload(export(*locals_, domain=f"{customer}.example"), customer).code == 3
    operator.accept(customer, f"--first {len(locals_)}")
