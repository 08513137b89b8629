"""A domain goes from one customer to another while both upload: never unlisted, never refused, never nobody's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers, export
from tests.support import watching
from tests.support.watching import Server

pytestmark = [pytest.mark.host, pytest.mark.story]

SHARED = "shared.example"
ROUTES = {"old": "relay:[203.0.113.25]:25", "new": "relay:[203.0.113.26]:25"}


class Site(NamedTuple):
    """A relay, and the operator."""

    mx1: LabHost
    operator: AtOnce
    servers: dict[str, Server]

    def has(self, customer: str, *domains: str) -> None:
        """Write down whose a domain is."""
        self.operator.customer(customer, domains=[f"{customer}.example", *domains], next_hop=ROUTES[customer])

    def upload(self, customer: str, *people: str) -> int:
        """Send a list that names the same people in every domain, be it the customer's or not."""
        every = [f"{one}@{domain}" for one in people for domain in (f"{customer}.example", SHARED)]
        return self.servers[customer].upload(export(*every)).code

    def ask(self, *locals_: str) -> list[str]:
        return [*answers(self.mx1, *(f"{one}@{SHARED}" for one in locals_)).values()]

    def route(self) -> str:
        return self.mx1.run("postmap", "-q", SHARED, "hash:/etc/postern/tables/transport").stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two customers, both with accepted lists; the first has the domain."""
    with LabHost("bookworm") as mx1:
        mx1.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", mx1)
        found = Site(mx1, operator, {})
        found.has("old", SHARED)
        found.has("new")
        operator.done("provision --all")
        found.servers.update({one: Server(operator, one) for one in ("old", "new")})
        assert (found.upload("old", "bob", "carol"), found.upload("new", "bob", "anna")) == (3, 3)
        operator.accept("old", "--first 4")
        operator.accept("new", "--first 2")
        yield found


def test_a_domain_moves_while_both_customers_upload_and_is_never_unlisted_or_refused(site: Site) -> None:
    operator = site.operator
    assert site.ask("bob", "carol", "anna", "nobody") == ["250", "250", "550", "550"]
    assert site.route() == ROUTES["old"]
    site.has("old")
    site.has("new", SHARED)
    listed = [f"{one}@{SHARED}" for one in ("bob", "carol")]
    with (
        watching.asked(site.mx1, listed, OUTSIDE) as seen,
        watching.again(lambda: site.upload("old", "bob", "carol")) as old,
        watching.again(lambda: site.upload("new", "bob", "anna")) as new,
    ):
        refused = operator.done("provision old --removing domain:shared.example", code=2)
        assert "mx1: shared.example is new's now: `inv provision new` takes it from old, in one step" in refused.err
        asks = operator.done("provision new", code=2)
        assert "would remove domain:shared.example (old's, for new), route:shared.example" in asks.err
        assert "If that is meant: `inv provision` with --removing domain:shared.example\n" in asks.err
        dry = operator.done("provision new --removing domain:shared.example --dry-run --diff", code=6)
        assert "+shared.example OK" in dry.out
        assert "-shared.example OK" in dry.out
        assert site.ask("anna") == ["550"]
        before = len(old), len(new)
        operator.done("provision new --removing domain:shared.example")
        assert site.ask("bob", "carol", "anna", "nobody") == ["250"] * 4
        assert site.route() == ROUTES["new"]
        _until_both_uploaded_again(old, new)
        assert site.ask("bob", "carol", "anna", "nobody") == ["250"] * 4
    assert seen == {one: {"250"} for one in listed}
    assert (set(old), set(new[: before[1]]), set(new)) == ({0}, {0}, {0, 3})

    held = json.loads(operator.done("review new --json").out)["mx1"]
    assert held["reasons"] == ["first list of shared.example (2)"]
    operator.accept("new", "--first 2")
    assert site.ask("bob", "anna", "carol", "nobody") == ["250", "250", "550", "550"]
    assert site.upload("old", "bob", "carol", "mallory") == 0
    assert site.ask("carol", "mallory") == ["550", "550"]
    operator.done("status")
    assert operator.done("provision --all").out.startswith("mx1: nothing to change")


def _until_both_uploaded_again(*codes: list[int]) -> None:
    counts = [len(each) for each in codes]
    while any(len(each) < count + 2 for each, count in zip(codes, counts, strict=True)):
        time.sleep(0.05)


def test_a_domain_of_somebody_this_checkout_does_not_know_is_not_taken(site: Site) -> None:
    old = site.operator.inventory / "customers" / "old.toml"
    text = old.read_text()
    keys = site.operator.inventory / "keys" / "old"
    old.unlink()
    keys.rename(site.operator.home / "keys-of-old")
    site.has("new", SHARED, "old.example")
    ran = site.operator.done("provision new", code=2)
    assert "old.example is still old's there, of whom this inventory has no file" in ran.err
    old.write_text(text)
    (site.operator.home / "keys-of-old").rename(keys)
    site.has("new", SHARED)


def test_two_customers_who_swap_domains_do_it_one_after_the_other(site: Site) -> None:
    site.operator.customer("old", domains=["old.example", SHARED], next_hop=ROUTES["old"])
    site.operator.customer("new", domains=["new.example", "more.example"], next_hop=ROUTES["new"])
    site.operator.done("provision new", code=2)
    site.operator.customer("old", domains=["more.example", SHARED], next_hop=ROUTES["old"])
    site.operator.customer("new", domains=["new.example", "old.example"], next_hop=ROUTES["new"])
    ran = site.operator.done("provision --all --removing domain:old.example --removing domain:shared.example", code=2)
    assert "new gains one domain and loses another in one change: provision in two steps" in ran.err
    site.has("old")
    site.has("new", SHARED)
    site.operator.done("status", code=0)
