"""Two upload relays, four followers, three customers and one database: a day without it, and a relay lost for good.

All the while somebody asks every relay about everybody who is listed there.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import MARK, OUTSIDE, AtOnce, answers, export, people
from lab.waiting import wait_until
from tests.support import postgres
from tests.support.postgres import STORE, Postgres

pytestmark = [
    pytest.mark.host,
    pytest.mark.story,
    pytest.mark.long,
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
]

CUSTOMERS, UPLOAD, FOLLOWERS = ("acme", "bolt", "cook"), ("up1", "up2"), ("mx1", "mx2", "mx3", "mx4")
EVERYBODY = people(20)
CREDENTIALS = {"OWNER": "owner:o-secret", "WRITER": "w secret", "READER": "r secret"}
ROUNDS = 24  # an upload an hour
DAY = 86_400


class Lab:
    """All of it, and who must be taken where."""

    def __init__(self, operator: AtOnce, database: Postgres, hosts: dict[str, LabHost]) -> None:
        self.operator, self.database, self.hosts = operator, database, hosts
        self.listed = {name: set[str]() for name in hosts}  # by relay: whom it must never refuse
        self.refused: list[str] = []
        self.asked = 0
        self.lists = {name: [*EVERYBODY] for name in CUSTOMERS}
        self.lost: set[str] = set()

    def send(self, customer: str, relay: str) -> int:
        host = self.hosts[relay]
        client = [*self.operator.client("ssh", host, customer), f"postern@{host.address}", "receive"]
        return self.operator.call(client, export(*self.lists[customer], domain=f"{customer}.example") + MARK).code

    def take(self, relays: tuple[str, ...], customer: str, local: str) -> set[str]:
        """What these relays answer to an address; from 250 on, they must go on taking it."""
        address = f"{local}@{customer}.example"
        found = {name: answers(self.hosts[name], address)[address] for name in relays}
        for name, answer in found.items():
            if answer == "250":
                self.listed[name].add(address)
        return set(found.values())

    def follow(self) -> None:
        """A minute: each relay that is there looks once."""
        there = [host for name, host in self.hosts.items() if name not in self.lost]
        with ThreadPoolExecutor(len(there)) as side:
            list(side.map(lambda host: host.run("/usr/local/sbin/postern", "follow"), there))

    def watch(self, ended: threading.Event) -> None:
        """Ask every relay about everybody whom it has taken once, again and again."""
        while not ended.wait(0.2):
            for name in self.listed:
                with suppress(OSError, smtp.Refused):  # a relay that is lost answers nobody
                    self._ask_all(name)

    def _ask_all(self, name: str) -> None:
        with smtp.Conversation(self.hosts[name].address, from_address=OUTSIDE) as session:
            for address in sorted(self.listed[name]):
                answer = session.ask(address)
                self.asked += 1
                if answer[:3] != "250" and name not in self.lost:
                    self.refused.append(f"{name}: {address}: {answer}")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    database = Postgres()
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(database.remove)
        hosts = {name: stack.enter_context(LabHost("bookworm")) for name in (*UPLOAD, *FOLLOWERS)}
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host, role="upload" if name in UPLOAD else "follower")
        for customer in CUSTOMERS:
            operator.customer(customer, relays=[*hosts])
        (operator.inventory / "store-ca.pem").write_text((database.folder / "ca.pem").read_text())
        url = f"postgresql://localhost:{database.port}/postgres?sslmode=verify-full&sslrootcert=store-ca.pem"
        (operator.inventory / "provider.toml").write_text(f'[store]\nurl = "{url}"\nid = "{STORE}"\n')
        for name, secret in CREDENTIALS.items():
            patch.setenv(f"POSTERN_STORE_{name}", secret)
        operator.done(f"provision {','.join(CUSTOMERS)}")
        made = Lab(operator, database, hosts)
        ended = threading.Event()
        watcher = threading.Thread(target=made.watch, args=(ended,))
        watcher.start()
        try:
            yield made
        finally:
            ended.set()
            watcher.join()


def test_what_both_upload_relays_are_sent_is_what_every_follower_answers(lab: Lab) -> None:
    for customer in CUSTOMERS:
        assert lab.send(customer, "up1") == 3
        lab.operator.accept(customer, f"--first {len(EVERYBODY)}")
    lab.follow()
    for customer in CUSTOMERS:
        assert lab.take((*UPLOAD, *FOLLOWERS), customer, "stranger") == {"550"}
        for local in EVERYBODY:
            assert lab.take((*UPLOAD, *FOLLOWERS), customer, local) == {"250"}
        lab.lists[customer].append("newcomer")
        assert [lab.send(customer, relay) for relay in UPLOAD] == [0, 0]
        assert lab.take(UPLOAD, customer, "newcomer") == {"250"}
    lab.follow()
    for customer in CUSTOMERS:
        assert lab.take(FOLLOWERS, customer, "newcomer") == {"250"}


def test_a_day_of_uploads_without_the_database_refuses_nobody_and_is_over_with_one_look(lab: Lab) -> None:
    lab.database.stop()
    for hour in range(ROUNDS):
        customer = CUSTOMERS[hour % len(CUSTOMERS)]
        lab.lists[customer].append(f"hour{hour}")
        assert [lab.send(customer, relay) for relay in UPLOAD] == [75, 75]
        assert lab.take(UPLOAD, customer, f"hour{hour}") == {"250"}, "a new mailbox is taken there at once"
        assert lab.take(FOLLOWERS, customer, f"hour{hour}") == {"550"}
    let_a_day_pass(lab)
    lab.follow()
    assert "does not follow the store" in lab.operator.run("status").text
    assert "the store is not reached" in lab.operator.run("store").text
    lab.database.start()
    lab.follow()
    lab.follow()
    for hour in range(ROUNDS):
        assert lab.take((*UPLOAD, *FOLLOWERS), CUSTOMERS[hour % len(CUSTOMERS)], f"hour{hour}") == {"250"}
    assert "does not follow the store" not in lab.operator.run("status").text
    for customer in CUSTOMERS:
        assert [lab.send(customer, relay) for relay in UPLOAD] == [0, 0]
    assert not lab.refused


def test_an_upload_relay_that_is_lost_in_mid_upload_costs_nobody_anything(lab: Lab) -> None:
    lab.lists["acme"].append("late")
    host = lab.hosts["up1"]
    client = [*lab.operator.client("ssh", host, "acme"), f"postern@{host.address}", "receive"]
    text = export(*lab.lists["acme"]) + MARK
    with subprocess.Popen(client, stdin=subprocess.PIPE, env=lab.operator.environment) as sending:
        assert sending.stdin
        sending.stdin.write(text[: len(text) // 2])
        sending.stdin.flush()
        wait_until(lambda: "postern-receive" in host.run("ps", "ax").stdout)
        lab.lost.add("up1")
        host.run("sh", "-c", "postfix stop; kill -9 $(pgrep sshd) $(pgrep -f postern-receive)", check=False)
    assert sending.returncode != 0
    assert lab.send("acme", "up1") != 0, "it is gone"
    assert lab.send("acme", "up2") == 0
    lab.follow()
    assert lab.take(("up2", *FOLLOWERS), "acme", "late") == {"250"}
    assert lab.take(("up2", *FOLLOWERS), "acme", "stranger") == {"550"}


def test_nobody_who_was_listed_was_refused_at_any_moment(lab: Lab) -> None:
    assert not lab.refused
    assert lab.asked > 1_000


def let_a_day_pass(lab: Lab) -> None:
    """Let each relay have reached the store a day earlier."""
    for host in lab.hosts.values():
        path = host.root / "var/lib/postern/run/follow.json"
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, "reached": fields["reached"] - DAY}))
