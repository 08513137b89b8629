"""An upload relay, a follower and a real PostgreSQL: what is accepted at the one is what the other answers by SMTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import MARK, AtOnce, answers, export, people
from tests.support import postgres
from tests.support.postgres import STORE, Postgres

pytestmark = [
    pytest.mark.host,
    pytest.mark.story,
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
]

EVERYBODY = people(20)
CREDENTIALS = {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}


class Fleet(NamedTuple):
    """Where uploads go, who follows, what they share, and the operator."""

    upload: LabHost
    follower: LabHost
    database: Postgres
    operator: AtOnce

    def ask(self, *locals_: str) -> list[str]:
        """What the follower answers, once it has followed."""
        self.follower.run("/usr/local/sbin/postern", "follow")
        return [answers(self.follower, f"{one}@acme.example")[f"{one}@acme.example"] for one in locals_]

    def send(self, *locals_: str) -> int:
        client = [*self.operator.client("ssh", self.upload), f"postern@{self.upload.address}", "receive"]
        return self.operator.call(client, export(*locals_) + MARK).code


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    database = Postgres()
    with LabHost("bookworm") as upload, LabHost("bookworm") as follower, pytest.MonkeyPatch.context() as patch:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        upload.start_postfix()
        follower.start_postfix()
        operator.relay("mx1", upload)
        operator.relay("mx2", follower, role="follower")
        operator.customer(relays=["mx1", "mx2"])
        authority = (database.folder / "ca.pem").read_text()
        (operator.inventory / "store-ca.pem").write_text(authority)
        url = f"postgresql://localhost:{database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        (operator.inventory / "provider.toml").write_text(f'[store]\nurl = "{url}"\nid = "{STORE}"\n')
        for name, secret in CREDENTIALS.items():
            patch.setenv(f"POSTERN_STORE_{name}", secret)
        printed = operator.done("provision acme").text
        assert not any(secret in printed for secret in ("o-secret", "w secret", "r secret"))
        for name in CREDENTIALS:
            patch.delenv(f"POSTERN_STORE_{name}")
        yield Fleet(upload, follower, database, operator)
    database.remove()


def test_what_is_accepted_on_the_upload_relay_is_what_the_follower_answers(fleet: Fleet) -> None:
    assert fleet.ask("stranger") == ["250"], "no list is accepted yet"
    assert fleet.send(*EVERYBODY) == 3
    fleet.operator.accept("acme", f"--first {len(EVERYBODY)}")
    assert fleet.ask(EVERYBODY[0], "stranger") == ["250", "550"]
    assert fleet.send(*EVERYBODY, "newcomer") == 0
    assert fleet.ask("newcomer", "stranger") == ["250", "550"]


def test_a_second_provision_changes_nothing_and_the_store_is_shown(fleet: Fleet) -> None:
    assert "nothing to change" in fleet.operator.done("provision acme").out
    shown = fleet.operator.done("store").out
    assert [line.split("\t")[1] for line in shown.splitlines()[1:]] == ["(store)", "mx1", "mx2"]


def test_without_the_database_the_upload_relay_adds_and_nobody_is_refused(fleet: Fleet) -> None:
    fleet.database.stop()
    assert fleet.send(*EVERYBODY, "newcomer", "another") == 75
    assert answers(fleet.upload, "another@acme.example") == {"another@acme.example": "250"}
    assert fleet.ask("newcomer", "another", "stranger") == ["250", "550", "550"]
    fleet.operator.done("sync acme --from mx1")
    assert fleet.ask("another", "stranger") == ["250", "550"]
    fleet.database.start()
    assert fleet.send(*EVERYBODY, "newcomer", "another") == 0
    assert fleet.ask("another", "stranger") == ["250", "550"]


def test_an_opened_customer_is_open_on_the_follower_and_the_end_closes_nothing(fleet: Fleet) -> None:
    fleet.operator.done("open acme")
    assert fleet.ask("stranger") == ["250"]
    ended = json.loads(fleet.operator.done("open acme --end --json").out)
    assert sorted(ended) == ["mx1", "mx2"]
    assert fleet.ask("stranger") == ["250"]


def test_settings_have_one_number_in_the_store_and_in_every_tree(fleet: Fleet) -> None:
    fleet.operator.customer(relays=["mx1", "mx2"], domains=["acme.example", "second.example"])
    assert numbers(fleet) == [1, 1]
    fleet.operator.done("provision acme")
    assert numbers(fleet) == [2, 2]
    assert "nothing to change" in fleet.operator.done("provision acme").out
    assert fleet.send(*EVERYBODY, "newcomer", "another") in (0, 3)


def test_a_checkout_that_lacks_a_domain_of_the_store_is_refused_although_no_relay_has_it(fleet: Fleet) -> None:
    """Its relays were made anew meanwhile, by somebody who had not pulled."""
    domains = ["acme.example", "second.example", "third.example"]
    holds = ["plus", *(f"domain:{name}" for name in domains)]
    given = json.dumps({"number": 3, "hash": "0" * 64, "holds": holds, "domains": domains}).encode()
    fleet.upload.run("/usr/local/sbin/postern", "store", "settings", "acme", stdin=given)
    assert fleet.send(*EVERYBODY, "newcomer", "another", "late") == 75, "its tree is not of these settings"
    refused = fleet.operator.run("provision acme")
    assert refused.code == 2
    assert "the store's settings have what these lack: domain:third.example" in refused.text
    assert numbers(fleet) == [2, 2]
    fleet.operator.done("provision acme --removing domain:third.example")
    assert numbers(fleet) == [4, 4]
    assert fleet.send(*EVERYBODY, "newcomer", "another", "late") in (0, 3)


def test_settings_change_nowhere_while_the_store_is_down(fleet: Fleet) -> None:
    fleet.operator.customer(
        relays=["mx1", "mx2"], domains=["acme.example", "second.example"], include=["b@acme.example"]
    )
    fleet.database.stop()
    refused = fleet.operator.run("provision acme")
    assert refused.code == 2
    assert "the store gives its changed settings no number" in refused.text
    assert numbers(fleet) == [4, 4]
    fleet.database.start()
    fleet.operator.done("provision acme")
    assert numbers(fleet) == [5, 5]


def test_who_gives_a_domain_away_has_settings_the_store_knows(fleet: Fleet) -> None:
    fleet.operator.customer(relays=["mx1", "mx2"])
    fleet.operator.customer("taker", relays=["mx1", "mx2"], domains=["second.example", "taker.example"])
    gone = "--removing domain:second.example --removing include:b@acme.example"
    fleet.operator.done(f"provision taker {gone}")
    assert numbers(fleet) == [6, 6]
    assert "nothing to change" in fleet.operator.done("provision acme").out
    assert fleet.send(*EVERYBODY, "newcomer", "another", "late") in (0, 3), "uploads are judged by these settings"


def test_a_customer_who_comes_back_begins_with_nobody_or_gets_no_tree(fleet: Fleet) -> None:
    """Else a relay would follow what the store has of it still, before the new start is written."""
    fleet.operator.done("retire acme --yes --force")
    (fleet.operator.inventory / "customers/retired/acme.toml").unlink()
    fleet.operator.customer(relays=["mx1", "mx2"])
    fleet.database.sql("REVOKE UPDATE ON postern.heads FROM postern_writer")
    assert "the store gives its changed settings no number" in fleet.operator.done("provision acme", code=2).text
    assert not any((host.root / "etc/postern/customers/acme").exists() for host in (fleet.upload, fleet.follower))
    fleet.database.sql("GRANT UPDATE ON postern.heads TO postern_writer")
    assert "it begins anew, with nobody on its list" in fleet.operator.done("provision acme").text
    assert fleet.ask(EVERYBODY[0], "stranger") == ["250", "250"]
    (fleet.operator.home / "acme.key").unlink()  # it has a new one
    assert fleet.send(*EVERYBODY) == 3, "whatever comes is a first list"


def numbers(fleet: Fleet) -> list[int]:
    """The numbers of acme's settings in the trees of both relays."""
    read = [host.run("cat", "/etc/postern/customers/acme/store.json").stdout for host in (fleet.upload, fleet.follower)]
    return [json.loads(text)["number"] for text in read]
