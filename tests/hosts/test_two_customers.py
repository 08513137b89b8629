"""Two customers on one relay: no list of one, and no operator who knows but one of them, harms the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers, export

pytestmark = [pytest.mark.host, pytest.mark.story]

BOTH = ("acme", "bolt")
ACME = ("bob@acme.example", "nobody@acme.example", "postmaster@acme.example")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator, Operator]]:
    """A relay, the operator of acme, and one whose checkout knows bolt alone; both customers have a list in force."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        anna, bert = (AtOnce(tmp_path_factory.mktemp(name)) for name in ("anna", "bert"))
        for operator, customer in zip((anna, bert), BOTH, strict=True):
            operator.relay("mx1", host)
            operator.customer(customer)
        anna.done("provision acme")
        anna.upload(export("bob"))
        anna.accept("acme", "--first 1")
        yield host, anna, bert


def main_cf(host: LabHost) -> tuple[bytes, int, int]:
    path = host.root / "etc/postfix/main.cf"
    return path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino


def test_a_second_customer_changes_no_main_cf_and_nothing_of_the_first(
    relay: tuple[LabHost, Operator, Operator],
) -> None:
    """Its own checkout knows nothing of the first."""
    host, anna, bert = relay
    before, said = main_cf(host), answers(host, *ACME)
    tree = host.root / "etc/postern/customers/acme"
    first = tree.readlink()
    ran = bert.done("provision bolt")
    assert "acme" not in ran.text
    assert main_cf(host) == before
    assert tree.readlink() == first
    assert answers(host, *ACME) == said == dict(zip(ACME, ("250", "550", "250"), strict=True))
    assert answers(host, "anybody@bolt.example") == {"anybody@bolt.example": "250"}
    for operator, customer in ((anna, "acme"), (bert, "bolt")):
        assert operator.done(f"provision {customer}").out.startswith("mx1: nothing to change")


def test_attack_a_customer_cannot_list_an_address_in_another_s_domain(
    relay: tuple[LabHost, Operator, Operator],
) -> None:
    host, anna, bert = relay
    bert.done("provision bolt")
    theirs = ("mallory@acme.example", "mallory@ACME.example", "mallory@sub.acme.example", "mallory@bolt.example")
    ran = bert.upload(export(*theirs, "@acme.example", "*@acme.example"), customer="bolt")
    assert "first list of bolt.example (1): held; 1 added" in ran.out
    assert "5 other domain" in ran.out
    bert.accept("bolt", "--first 1")
    assert answers(host, "mallory@bolt.example", "x@bolt.example", "mallory@acme.example", *ACME) == {
        "mallory@bolt.example": "250",
        "x@bolt.example": "550",
        "mallory@acme.example": "550",
        **dict(zip(ACME, ("250", "550", "250"), strict=True)),
    }
    anna.upload(export("bob", "mallory@bolt.example", "eve@bolt.example"))
    assert answers(host, "eve@bolt.example") == {"eve@bolt.example": "550"}
