"""From no store to a store and back, while strangers and customers' servers go on asking and sending."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers, export, people
from tests.support import postgres
from tests.support.postgres import STORE, Postgres
from tests.support.watching import Server, again, asked

pytestmark = [
    pytest.mark.host,
    pytest.mark.story,
    pytest.mark.long,
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
]

EVERYBODY = people(20)
LISTED, STRANGER, LATE = f"{EVERYBODY[0]}@acme.example", "stranger@acme.example", "late@acme.example"


class Site(NamedTuple):
    """Three relays, two of which take uploads; the operator, and the customer's server with the first kit."""

    hosts: dict[str, LabHost]
    operator: AtOnce
    server: Server
    database: Postgres

    def relays(self, third: str) -> None:
        """Write the relays down, the third with this role."""
        (self.operator.inventory / "relays.toml").write_text("")
        for name, host in self.hosts.items():
            role = {"role": third} if name == "mx3" else {}
            self.operator.relay(name, host, trusted=False, **role)

    def kit(self) -> dict[str, bytes]:
        """The kit as it lies with the operator, without the key, which leaves it once it is used."""
        files = (self.operator.kits / "acme").iterdir()
        return {path.name: path.read_bytes() for path in files if path.suffix != ".ppk"}

    def store(self) -> None:
        url = f"postgresql://localhost:{self.database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        (self.operator.inventory / "store-ca.pem").write_text((self.database.folder / "ca.pem").read_text())
        (self.operator.inventory / "provider.toml").write_text(f'[store]\nurl = "{url}"\nid = "{STORE}"\n')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = Postgres()
    with LabHost("bookworm") as one, LabHost("bookworm") as two, LabHost("bookworm") as three:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        hosts = {"mx1": one, "mx2": two, "mx3": three}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=["mx1", "mx2"])
        operator.done("provision acme")
        server = Server(operator, "acme")
        for relay in (0, 1):
            assert server.upload(export(*EVERYBODY), relay).code == 3
        operator.accept("acme", f"--first {len(EVERYBODY)}")
        assert server.upload(export(*EVERYBODY, "late"), 1).code == 0, "mx1 was down, say"
        yield Site(hosts, operator, server, database)
    database.remove()


def test_a_store_comes_and_nobody_is_refused_nor_a_closed_domain_open(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.relays("follower")
    site.store()
    site.operator.customer(relays=["mx1", "mx2", "mx3"])
    for name, secret in {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}.items():
        monkeypatch.setenv(f"POSTERN_STORE_{name}", secret)
    first, second = site.hosts["mx1"], site.hosts["mx2"]
    kit = site.kit()
    with (
        asked(first, [LISTED, STRANGER], OUTSIDE) as at_first,
        asked(second, [LISTED, STRANGER, LATE], OUTSIDE) as at_second,
        again(lambda: site.server.upload(export(*EVERYBODY, "late"), 1).code) as codes,
    ):
        shown = site.operator.run("provision acme --dry-run").text
        assert "acme: its first list in the store has 21 recipients, whom any of mx1, mx2 lists" in shown
        assert f"acme: mx1 lists 0 that not every relay lists, and lacks {LATE}" in shown
        site.operator.done("provision acme")
    assert at_first == {LISTED: {"250"}, STRANGER: {"550"}}
    assert at_second == {LISTED: {"250"}, STRANGER: {"550"}, LATE: {"250"}}
    assert {*codes} <= {0, 75}
    assert site.kit() == kit, "none is carried for a follower"
    for host in site.hosts.values():
        host.run("/usr/local/sbin/postern", "follow")
        assert answers(host, LISTED, LATE, STRANGER) == {LISTED: "250", LATE: "250", STRANGER: "550"}
    shown = site.operator.done("store --json").out
    heads = [each["customers"]["acme"]["here"] for each in json.loads(shown).values()]
    assert len({head["point"] for here in heads for head in here}) == 1, "all have the same"


def test_the_store_does_not_go_while_a_relay_has_heard_of_no_upload(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.relays("upload")
    monkeypatch.setenv("POSTERN_STORE_WRITER", "w secret")
    site.operator.done("provision acme")
    assert site.server.upload(export(*EVERYBODY, "late"), 0).code == 0
    (site.operator.inventory / "provider.toml").unlink()
    assert "would remove store" in site.operator.done("provision acme", code=2).text
    refused = site.operator.done("provision acme --removing store", code=2).text
    assert "acme's server has not sent to this relay" in refused
    assert "mx3: the store cannot go yet" in refused
    assert (site.hosts["mx3"].root / "etc/postern/store/store.json").exists()


def test_the_store_goes_and_nobody_is_refused_nor_a_closed_domain_open(site: Site) -> None:
    shutil.copytree(site.operator.kits / "acme", site.server.folder, dirs_exist_ok=True)
    carried = site.server
    site.store()
    assert carried.upload(export(*EVERYBODY, "late"), 2).code == 0, "the new kit names it"
    (site.operator.inventory / "provider.toml").unlink()
    third = site.hosts["mx3"]
    with (
        asked(third, [LISTED, STRANGER, LATE], OUTSIDE) as at_third,
        again(lambda: carried.upload(export(*EVERYBODY, "late"), 2).code) as codes,
    ):
        site.operator.done("provision acme --removing store")
    assert at_third == {LISTED: {"250"}, STRANGER: {"550"}, LATE: {"250"}}
    assert {*codes} <= {0, 75}
    site.database.stop()
    for relay, host in enumerate(site.hosts.values()):
        assert not (host.root / "etc/postern/store").exists()
        assert carried.upload(export(*EVERYBODY[1:], "late", "newcomer"), relay).code in (0, 3), "judged by itself"
        assert answers(host, "newcomer@acme.example", STRANGER) == {"newcomer@acme.example": "250", STRANGER: "550"}
    assert "nothing to change" in site.operator.done("provision acme").out
    site.database.start()
