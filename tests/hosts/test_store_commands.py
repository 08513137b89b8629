"""Two upload relays and a follower with a store: accept, explain, rotation, a domain that moves, retirement."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import MARK, OUTSIDE, AtOnce, answers, export
from tests.support import postgres, watching
from tests.support.postgres import STORE, Postgres
from tests.support.servers import Server

pytestmark = [
    pytest.mark.host,
    pytest.mark.story,
    pytest.mark.long,
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
]

NAMES = ("mx1", "mx2", "mx3")
SHARED = "shared.example"


class Site(NamedTuple):
    """The relays, of which the last follows; the operator, the customers' servers, and the database."""

    hosts: dict[str, LabHost]
    operator: AtOnce
    servers: dict[str, Server]
    database: Postgres

    def has(self, customer: str, *domains: str) -> None:
        """Write down whose a domain is."""
        self.operator.customer(customer, domains=[f"{customer}.example", *domains], relays=[*NAMES])

    def upload(self, customer: str, *people: str) -> set[int]:
        """Send a list that names the same people in every domain to both upload relays."""
        every = [f"{one}@{domain}" for one in people for domain in (f"{customer}.example", SHARED)]
        server, sent = self.servers[customer], export(*every) + MARK
        lines = [server.line(self.hosts[name].address) for name in NAMES[:2]]
        return {server.call([*line, server.verb], sent).code for line in lines}

    def follow(self) -> None:
        for name in NAMES:
            self.hosts[name].run("/usr/local/sbin/postern", "follow")

    def ask(self, *addresses: str) -> set[str]:
        """What all relays answer once they have followed: a word for each address, joined."""
        self.follow()
        return {" ".join(answers(host, *addresses).values()) for host in self.hosts.values()}

    def keys_of(self, name: str, customer: str) -> list[str]:
        text = self.hosts[name].run("cat", "/var/lib/postern/.ssh/authorized_keys").stdout
        return re.findall(rf" {customer} (k[0-9]+)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = Postgres()
    with LabHost("bookworm") as one, LabHost("bookworm") as two, LabHost("bookworm") as three:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        found = Site(dict(zip(NAMES, (one, two, three), strict=True)), operator, {}, database)
        for name, host in found.hosts.items():
            host.start_postfix()
            operator.relay(name, host, role="follower" if name == "mx3" else "upload")
        url = f"postgresql://localhost:{database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        (operator.inventory / "store-ca.pem").write_text((database.folder / "ca.pem").read_text())
        (operator.inventory / "provider.toml").write_text(f'[store]\nurl = "{url}"\nid = "{STORE}"\n')
        found.has("old", SHARED)
        found.has("new")
        with pytest.MonkeyPatch.context() as patch:
            for name, secret in {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}.items():
                patch.setenv(f"POSTERN_STORE_{name}", secret)
            operator.done("provision --all")
        found.servers.update({each: Server(operator, each) for each in ("old", "new")})
        yield found
    database.remove()


def test_accept_asks_all_upload_relays_and_ends_with_0(site: Site) -> None:
    assert site.upload("old", "bob", "carol") == {3}
    assert site.upload("new", "bob", "anna") == {3}
    site.operator.accept("old", "--first 4")
    site.operator.accept("new", "--first 2")
    assert site.ask("bob@old.example", "anna@new.example", "stranger@old.example") == {"250 250 550"}


def test_explain_asks_upload_relays_and_followers(site: Site) -> None:
    found: dict[str, Any] = json.loads(site.operator.done("explain carol@old.example --json").out)
    assert sorted(found["relays"]) == [*NAMES]
    said = [each["list"] for each in found["relays"].values()]
    assert all(each["listed"] for each in said), said
    assert {each["since"]["key"] for each in said} == {"k1"}, "each knows by which key, and since when at the least"


def test_a_key_is_rotated_and_the_follower_has_none(site: Site) -> None:
    site.operator.done("rotate-key old")
    assert [site.keys_of(name, "old") for name in NAMES] == [["k1", "k2"], ["k1", "k2"], []]
    site.servers["old"].carry()
    assert site.upload("old", "bob", "carol") == {0}
    said = site.operator.run("status old").out
    assert "has not been used here yet" not in said, "of a follower, which no key opens"
    site.operator.done("rotate-key old --finish")
    assert [site.keys_of(name, "old") for name in NAMES] == [["k2"], ["k2"], []]
    assert site.upload("old", "bob", "carol", "dora") == {0}
    assert site.ask("dora@old.example", "stranger@old.example") == {"250 550"}


def test_a_domain_moves_and_nobody_in_it_is_refused_on_any_relay(site: Site) -> None:
    site.has("old")
    site.has("new", SHARED)
    listed = [f"bob@{SHARED}", f"carol@{SHARED}"]
    with (
        watching.asked(site.hosts["mx1"], listed, OUTSIDE) as at_first,
        watching.asked(site.hosts["mx3"], listed, OUTSIDE) as at_follower,
    ):
        site.operator.done(f"provision new --removing domain:{SHARED}")
        assert site.ask(*listed, f"nobody@{SHARED}") == {"250 250 250"}, "it is open until its first list is accepted"
        assert site.upload("old", "bob", "carol", "dora") == {0}
        assert site.upload("new", "bob", "anna") == {3}
        assert site.ask(*listed, f"nobody@{SHARED}") == {"250 250 250"}
    assert at_first == at_follower == {one: {"250"} for one in listed}
    site.operator.accept("new", "--first 2")
    assert site.ask(f"bob@{SHARED}", f"carol@{SHARED}") == {"250 550"}
    assert "nothing to change" in site.operator.done("provision --all").out
    site.operator.done("status")


def test_retiring_writes_nothing_to_the_store(site: Site) -> None:
    before = site.database.sql("SELECT head FROM postern.heads WHERE customer = 'new'")
    site.operator.done("retire new --yes --force")
    site.follow()
    assert site.database.sql("SELECT head FROM postern.heads WHERE customer = 'new'") == before
    assert not any((host.root / "etc/postern/customers/new").exists() for host in site.hosts.values())
    assert site.upload("old", "bob", "carol", "dora", "emil") == {0}
    assert site.ask("emil@old.example") == {"250"}
