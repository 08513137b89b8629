"""Several relays of one customer: a new one is filled by a sibling, one that is down completes later, all end alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, answers, export, people
from tests.support.releases import releases
from tests.support.watching import Server

pytestmark = [pytest.mark.host, pytest.mark.story]

EVERYBODY = people(40)
SPOOL = "/var/lib/postern/customers/acme"


class Site(NamedTuple):
    """Three relays, the customer's server, and the operator."""

    hosts: dict[str, LabHost]
    operator: AtOnce
    server: Server

    def upload(self, *locals_: str, to: int) -> int:
        return self.server.upload(export(*locals_), to).code

    def ask(self, *locals_: str) -> dict[str, list[str]]:
        addresses = [f"{one}@acme.example" for one in locals_]
        return {name: [*answers(host, *addresses).values()] for name, host in self.hosts.items()}

    def history(self, name: str) -> list[Any]:
        said = self.hosts[name].run("/usr/local/sbin/postern", "history", "acme", "--json").stdout
        return [(each["list"], each["total"], each["when"], each["key"]) for each in json.loads(said)["history"]]

    def rebuild(self, name: str) -> None:
        """Let a relay be a new machine: nothing of ours is on it, nor in its main.cf."""
        gone = "/etc/postern /usr/local/lib/postern /usr/local/lib/.postern* /usr/local/sbin/* /var/lib/postern/*"
        host = self.hosts[name]
        ours = ("relay_domains", "transport_maps", "relay_recipient_maps")
        host.run("sh", "-c", f"rm -rf {gone} /var/lib/postern/.ssh /etc/sudoers.d/postern /etc/cron.d/postern")
        host.run("postconf", "-X", *ours)
        host.reload_postfix()

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        self.hosts[name].run("sh", "-c", "kill $(cat /run/sshd.pid)")
        yield
        self.hosts[name].run("/usr/sbin/sshd")


@pytest.fixture(scope="module", params=releases("bookworm", "trixie"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with LabHost("bookworm") as mx1, LabHost(request.param) as mx2, LabHost("bookworm") as mx3:
        operator, hosts = AtOnce(tmp_path_factory.mktemp("operator")), {"mx1": mx1, "mx2": mx2, "mx3": mx3}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=[*hosts])
        operator.done("provision acme")
        yield Site(hosts, operator, Server(operator, "acme"))


def test_one_relay_down_when_a_list_is_accepted_the_next_accept_completes(site: Site) -> None:
    assert [site.upload(*EVERYBODY, to=number) for number in range(3)] == [3, 3, 3]
    with site.down("mx3"):
        ran = site.operator.accept("acme", "--first 40", code=4)
        assert "mx3: " in ran.err
        assert site.operator.done("verify acme", code=4).out.startswith("mx1, mx2: ")
    assert site.ask("user0000", "x") == {"mx1": ["250", "550"], "mx2": ["250", "550"], "mx3": ["250", "250"]}
    ran = site.operator.done("verify acme", code=5)
    assert "acme.example: its relays list different addresses (mx1 41, mx2 41, mx3 41); see `inv status`" in ran.err
    assert [row["needs"][0]["kind"] for row in _rows(site)] == ["held"]
    site.operator.accept("acme", "--first 40")
    assert site.ask("user0000", "x") == {name: ["250", "550"] for name in site.hosts}
    site.operator.done("verify acme")
    site.operator.done("status")


def _rows(site: Site) -> list[Any]:
    said = json.loads(site.operator.done("status --json", code=1).out)
    return [row for row in said["customers"] if row["needs"]]


def test_a_rebuilt_relay_gets_the_newest_accepted_list_with_history_and_pin_from_its_sibling(site: Site) -> None:
    assert [site.upload(*EVERYBODY, "anna", to=number) for number in range(3)] == [0, 0, 0]
    time.sleep(1)  # lists are dated by the second
    assert site.upload(*EVERYBODY, "anna", to=1) == 0  # mx2 has seen it later than mx1
    site.rebuild("mx3")
    told = site.operator.done("provision acme --dry-run", code=6).out
    assert "mx3: acme's list would be taken over from mx2, beside mx1" in told
    ran = site.operator.done("provision acme")
    assert "mx3: acme's list of " in ran.out
    assert ", with its history, taken over from mx2, beside mx1: 41 recipients (+41 -0)" in ran.out
    assert site.history("mx3") == site.history("mx2")
    assert site.ask("anna", "x")["mx3"] == ["250", "550"]
    assert "taken over" not in site.operator.done("provision acme").out

    assert [site.upload(*EVERYBODY, "bert", to=number) for number in range(3)] == [0, 0, 0]
    assert [site.upload(*EVERYBODY, "cleo", to=number) for number in range(3)] == [0, 0, 0]
    site.operator.done("rollback acme --to 1 --removing 1")
    assert site.upload(*EVERYBODY, "dora", to=1) == 0  # and waits for resume
    site.rebuild("mx1")
    ran = site.operator.done("provision acme")
    assert "mx1: acme's list of " in ran.out
    assert site.ask("bert", "cleo", "dora", "x") == {name: ["250", "550", "550", "550"] for name in site.hosts}
    pins = [json.loads(host.run("cat", f"{SPOOL}/pinned.json").stdout)["list"] for host in site.hosts.values()]
    assert len(set(pins)) == 1
    assert [site.upload(*EVERYBODY, "dora", to=number) for number in range(3)] == [0, 0, 0]
    site.operator.done("resume acme")
    site.operator.done("verify acme")
    assert site.ask("bert", "dora") == {name: ["550", "250"] for name in site.hosts}


TAKE_AWAY = """
import sys, time; sys.path.insert(0, "/usr/local/lib/postern")
from receiver.lists import list_file
from receiver.system import atomic_files
from common.settings import Places
from receiver.lists.accepted import Accepted
from receiver.lists.spool import Spool
with Spool(Places(), "acme") as spool:
    text = list_file.encode_recipients(spool.read_in_force().recipients - {"user0007@acme.example"})
    atomic_files.replace(spool.folder, "recipients", text)
    spool.store_accepted(Accepted({"acme.example": int(time.time()) + 86000}, list_file.digest(text)))
"""


def test_attack_a_relay_that_lists_less_since_tomorrow_takes_nobody_from_a_rebuilt_one(site: Site) -> None:
    assert [site.upload(*EVERYBODY, "dora", to=number) for number in range(3)] == [0, 0, 0]
    site.hosts["mx2"].run("python3", "-", stdin=TAKE_AWAY.encode(), user="postern")
    site.rebuild("mx3")
    ran = site.operator.done("provision acme", code=3)
    assert "taken over from mx1, beside mx2: its relays list different addresses (41, 40)" in ran.out
    assert site.ask("user0007", "dora")["mx3"] == ["250", "250"]
    assert site.upload(*EVERYBODY, "dora", to=1) == 0
    assert site.upload(*EVERYBODY, "dora", to=2) == 3, "nothing is closed before somebody has looked"
    site.operator.accept("acme", "--first 41")
    assert site.ask("user0007", "x")["mx3"] == ["250", "550"]


def test_without_a_sibling_that_can_be_reached_a_relay_is_open_until_the_next_run(site: Site) -> None:
    site.operator.customer(relays=["mx1", "mx2"])
    site.rebuild("mx2")
    with site.down("mx1"):
        ran = site.operator.done("provision acme", code=4)
        assert "taken over" not in ran.out
        assert site.ask("anybody")["mx2"] == ["250"]
    ran = site.operator.done("provision acme")
    assert "mx2: acme's list of " in ran.out
    assert site.ask("anybody", "user0000")["mx2"] == ["550", "250"]


def test_a_list_that_came_first_is_not_written_over(site: Site) -> None:
    site.operator.customer(relays=["mx1", "mx2"])
    site.rebuild("mx2")
    with site.down("mx1"):
        site.operator.done("provision acme", code=4)
    assert site.upload("somebody", to=1) == 3
    ran = site.operator.done("provision acme")
    assert "taken over" not in ran.out
    assert site.ask("somebody", "anybody")["mx2"] == ["250", "250"]
    given = site.hosts["mx1"].run("/usr/local/sbin/postern", "hand-over", "acme").stdout
    done = site.hosts["mx2"].run("/usr/local/sbin/postern", "take-over", "acme", stdin=given.encode(), check=False)
    assert (done.returncode, "there is a list here already" in done.stdout) == (2, True)
