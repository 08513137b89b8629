"""Relays that share a store and took a customer's mail by lists of somebody else are taken over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers
from tests.support import postgres
from tests.support.found_relays import FoundRelay, become, fingerprint
from tests.support.postgres import STORE, Postgres
from tests.support.watching import asked

pytestmark = [
    pytest.mark.host,
    pytest.mark.long,
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
]
CASE = "1-two-tables-of-the-recipe"
NOBODY = "q1w2e3@acme.example"


@pytest.fixture
def database() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


def test_a_list_that_was_there_is_adopted_into_the_store_and_nobody_is_refused(
    tmp_path_factory: pytest.TempPathFactory, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload relay and a follower, each of which closes the domain by a list of its own."""
    want = FoundRelay.read(CASE).want
    with LabHost("bookworm") as upload, LabHost("bookworm") as follower:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        for name, host, role in (("mx1", upload, "upload"), ("mx2", follower, "follower")):
            become(host, CASE)
            operator.relay(name, host, role=role)
        before = fingerprint(upload), fingerprint(follower)
        operator.customer("acme", next_hop="relay:[127.78.1.1]:2525", include=[], relays=["mx1", "mx2"])
        (operator.inventory / "store-ca.pem").write_text((database.folder / "ca.pem").read_text())
        url = f"postgresql://localhost:{database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        (operator.inventory / "provider.toml").write_text(f'[store]\nurl = "{url}"\nid = "{STORE}"\n')
        for name, secret in {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}.items():
            monkeypatch.setenv(f"POSTERN_STORE_{name}", secret)
        people = [address for address in want["before"] if address.isascii()]
        with asked(upload, [*people, NOBODY], OUTSIDE) as at_upload, asked(follower, people, OUTSIDE) as at_follower:
            operator.done("adopt acme", code=3)
            found = operator.done("review acme").out
            (command,) = (line.strip()[4:] for line in found.splitlines() if line.startswith("  inv accept acme"))
            operator.done(command)
            follower.run("/usr/local/sbin/postern", "follow")
            operator.done("provision acme")
            assert "nothing to change" in operator.done("provision acme").out
        wanted = {address: {str(code)} for address, code in want["before"].items() if address.isascii()}
        for told in (at_upload, at_follower):
            wrong = {one: told[one] for one in people if wanted[one] == {"250"} and told[one] - {"250", ""}}
            assert not wrong
        assert "250" not in at_upload[NOBODY]
        for host in (upload, follower):
            table = host.run("cat", "/etc/postern/tables/exchange_recipients").stdout
            assert "\n@acme.example" not in f"\n{table}", "our own list closes it now"
            assert answers(host, NOBODY)[NOBODY] == "550"
        assert (fingerprint(upload), fingerprint(follower)) == before
