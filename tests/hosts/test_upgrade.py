"""A new release is installed, and taken back, while uploads run all the time: none of them fails."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import pytest

from common.release import RELEASE
from lab.host import LabHost
from lab.operators import ACCEPT, MARK, REPO, AtOnce, Ran, answers, export, people
from lab.waiting import wait_until
from tests.support import watching
from tests.support.releases import releases, unpack_first_release
from tests.support.watching import Server

pytestmark = pytest.mark.host

NEWER = "9.9.9"
PARTS = (
    *("commands", "fleet", "customer_host", "console", "inventory", "roles", "templates", "deploy", "remote", "common"),
    *("receiver", "lab"),
)


class Place(NamedTuple):
    """Two relays, a customer who uploads to both, and two checkouts: this one, and one that is a release ahead."""

    hosts: dict[str, LabHost]
    operator: AtOnce
    newer: Path

    def newer_done(self, words: str, code: int = 0) -> Ran:
        ran = self.operator.call([sys.executable, str(self.newer / "cli.py"), *words.split()])
        assert ran.code == code, ran.text
        return ran

    def releases(self) -> set[str]:
        return {host.run("cat", "/usr/local/lib/postern/release").stdout.strip() for host in self.hosts.values()}


@pytest.fixture(scope="module", params=releases("bookworm", "trixie"))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("operator")
    with LabHost("bookworm") as mx1, LabHost(request.param) as mx2:
        operator, hosts = AtOnce(folder), {"mx1": mx1, "mx2": mx2}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=[*hosts])
        operator.done("provision acme")
        yield Place(hosts, operator, _checkout(folder / "newer"))


def _checkout(folder: Path) -> Path:
    """This repository as its next release."""
    for part in PARTS:
        shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("cli.py", "completion.py", "tasks.py"):
        shutil.copy(REPO / file, folder / file)
    release = folder / "common" / "release.py"
    release.write_text(release.read_text().replace(f'"{RELEASE}"', f'"{NEWER}"'))
    return folder


class Old(NamedTuple):
    """A relay that the first release has set up, its customer, and a checkout of that release."""

    host: LabHost
    operator: AtOnce
    checkout: Path

    def done(self, words: str, code: int = 0) -> Ran:
        """Run the first release's own `inv`."""
        ran = self.operator.call([sys.executable, str(self.checkout / "cli.py"), *words.split()])
        assert ran.code == code, ran.text
        return ran

    def ask(self, *locals_: str) -> list[str]:
        return [*answers(self.host, *(f"{one}@acme.example" for one in locals_)).values()]


@pytest.fixture
def old(tmp_path: Path, bookworm: LabHost) -> Old:
    checkout = tmp_path / "first"
    checkout.mkdir()
    unpack_first_release(checkout)
    operator = AtOnce(tmp_path)
    bookworm.start_postfix()
    operator.relay("mx1", bookworm)
    operator.customer()
    old = Old(bookworm, operator, checkout)
    old.done("provision acme")
    return old


def test_new_inv_accepts_and_rolls_back_on_a_relay_of_the_first_release(old: Old) -> None:
    """While uploads run. Such a relay's own review names a number alone, and its accept takes a hash."""
    operator, everybody = old.operator, people(40)
    assert operator.upload(export(*everybody)).code == 3
    operator.accept("acme", "--first 40")
    assert old.ask("user0039", "nobody") == ["250", "550"]

    plink = Server(operator, "acme")
    assert plink.upload(export(*everybody[:20])).code == 3
    with watching.again(lambda: plink.upload(export(*everybody[:20])).code) as codes:
        operator.accept("acme", "--removing 20")
        assert old.ask("user0019", "user0039") == ["250", "550"]
        operator.done("rollback acme --to 1")
        assert old.ask("user0039", "nobody") == ["250", "550"]
    assert set(codes) <= {0, 3}
    operator.done("resume acme", code=3)


def test_an_accept_of_a_list_that_a_first_release_relay_no_longer_holds_is_refused(old: Old) -> None:
    operator, everybody = old.operator, people(40)
    operator.upload(export(*everybody))
    operator.accept("acme", "--first 40")
    operator.upload(export(*everybody[:30]))
    (command,) = ACCEPT.findall(operator.done("review acme").out)
    operator.upload(export(*everybody))
    operator.upload(export(*everybody[10:]))
    assert "it changed since it was reviewed; see `inv review acme`" in operator.done(command, code=2).err
    assert old.ask("user0000") == ["250"]


def test_the_first_release_s_inv_accepts_on_a_relay_of_this_one_what_it_has_reviewed(old: Old) -> None:
    operator, everybody = old.operator, people(40)
    operator.done("provision acme")
    operator.upload(export(*everybody))
    assert "nobody has reviewed this list" in old.done("accept acme --first 40", code=2).out
    old.done("review acme")
    old.done("accept acme --first 40")
    assert old.ask("user0039", "nobody") == ["250", "550"]


def test_an_upload_every_200_ms_notices_no_upgrade_and_no_downgrade(place: Place) -> None:
    operator, plink = place.operator, Server(place.operator, "acme")
    lists = [export(*people(40)), export(*people(40), "one-more")]
    ssh = {name: operator.client("ssh", host) for name, host in place.hosts.items()}
    for number in range(2):
        assert plink.upload(lists[0], number).code == 3
    operator.accept("acme", "--first 40")

    def by_ssh(name: str, export_: bytes) -> int:
        host = place.hosts[name]
        return operator.call([*ssh[name], f"postern@{host.address}", "receive"], stdin=export_ + MARK).code

    with ExitStack() as running:
        codes = []
        for number, name in enumerate(place.hosts):
            some, others = cycle(lists), cycle(lists)
            by_plink = watching.again(lambda n=number, s=some: plink.upload(next(s), n).code)  # type: ignore[misc]
            codes.append(running.enter_context(by_plink))
            by_other = watching.again(lambda n=name, s=others: by_ssh(n, next(s)))  # type: ignore[misc]
            codes.append(running.enter_context(by_other))
        wait_until(lambda: min(map(len, codes)) > 1)
        place.newer_done("provision --all")
        assert place.releases() == {NEWER}

        refused = operator.done("provision --all", code=2)
        help_ = "use the newer checkout, or say --downgrade"
        assert f"mx1: it has release {NEWER} of our receiver and this is {RELEASE}: {help_}" in refused.err
        assert place.releases() == {NEWER}
        told = json.loads(operator.done("status --json", code=1).out)["relays"]
        assert [need["text"] for need in told["mx2"]] == [f"has release {NEWER}, this is {RELEASE}"]

        operator.done("provision --all --downgrade")
        assert place.releases() == {RELEASE}
        place.newer_done("provision --all")
        wait_until(lambda: min(map(len, codes)) > 5)
    assert [set(each) for each in codes] == [{0}] * 4
    assert place.newer_done("provision --all").out.startswith("mx1: nothing to change")
    operator.done("provision --all --downgrade")
