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
from lab.operators import MARK, REPO, AtOnce, Ran, answers, export, people
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


class Site(NamedTuple):
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
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("operator")
    with LabHost("bookworm") as mx1, LabHost(request.param) as mx2:
        operator, hosts = AtOnce(folder), {"mx1": mx1, "mx2": mx2}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=[*hosts])
        operator.done("provision acme")
        yield Site(hosts, operator, _checkout(folder / "newer"))


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


def test_new_inv_reviews_and_rolls_back_on_a_relay_of_the_first_release(old: Old) -> None:
    """While uploads run. It keeps no record of a review, and its accept takes one number for all: first provision."""
    operator, everybody = old.operator, people(40)
    assert operator.upload(export(*everybody)).code == 3
    review = operator.done("review acme").out
    assert "first list of acme.example (40)" in review
    assert review.endswith("keeps no record of a review; `inv provision acme` comes before `inv accept`\n")
    refused = operator.done(f"accept acme --first 40 --list {'0' * 64}", code=2)
    assert "mx1: its release of Postern cannot accept yet by all that `inv` says; `inv provision acme`" in refused.err
    assert old.ask("nobody") == ["250"]
    old.done("review acme")
    old.done("accept acme --first 40")

    plink = Server(operator, "acme")
    assert plink.upload(export(*everybody[:20], "mallory")).code == 3
    old.done("review acme")
    with watching.again(lambda: plink.upload(export(*everybody[:20], "mallory")).code) as codes:
        old.done("accept acme --removing 20")
        assert old.ask("user0019", "user0039") == ["250", "550"]
        refused = operator.done("rollback acme --to 2", code=2)
        assert "mx1 (+20 -1): of a release that would remove them without a word" in refused.err
        assert old.ask("mallory") == ["250"]
        operator.done("rollback acme --to 1")
        assert old.ask("user0039", "mallory", "nobody") == ["250", "250", "550"]
    assert set(codes) <= {0, 3}
    plink.upload(export(*everybody[:20], "mallory"))  # none may have come since the rollback
    operator.done("resume acme", code=3)


def test_the_first_release_s_inv_is_told_what_a_relay_of_this_one_wants(old: Old) -> None:
    operator, everybody = old.operator, people(40)
    operator.done("provision acme")
    operator.upload(export(*everybody))
    assert "the held list has not been reviewed here" in old.done("accept acme --first 40", code=2).out
    assert "inv accept acme --first 40 --log-incomplete --list " in old.done("review acme").out
    assert "--log-incomplete takes the list all the same" in old.done("accept acme --first 40", code=2).out
    operator.accept("acme", "--first 40")
    operator.upload(export(*everybody, "mallory"))
    assert (
        "1 of those in force would be removed by it, not 0: mallory@acme.example"
        in old.done("rollback acme", code=2).out
    )
    assert old.ask("user0039", "mallory", "nobody") == ["250", "250", "550"]


@pytest.mark.long
def test_an_upload_every_200_ms_notices_no_upgrade_and_no_downgrade(site: Site) -> None:
    operator, plink = site.operator, Server(site.operator, "acme")
    lists = [export(*people(40)), export(*people(40), "one-more")]
    ssh = {name: operator.client("ssh", host) for name, host in site.hosts.items()}
    for number in range(2):
        assert plink.upload(lists[0], number).code == 3
    operator.accept("acme", "--first 40")

    def by_ssh(name: str, export_: bytes) -> int:
        host = site.hosts[name]
        return operator.call([*ssh[name], f"postern@{host.address}", "receive"], stdin=export_ + MARK).code

    with ExitStack() as running:
        codes = []
        for number, name in enumerate(site.hosts):
            some, others = cycle(lists), cycle(lists)
            by_plink = watching.again(lambda n=number, s=some: plink.upload(next(s), n).code)  # type: ignore[misc]
            codes.append(running.enter_context(by_plink))
            by_other = watching.again(lambda n=name, s=others: by_ssh(n, next(s)))  # type: ignore[misc]
            codes.append(running.enter_context(by_other))
        wait_until(lambda: min(map(len, codes)) > 1)
        site.newer_done("provision --all")
        assert site.releases() == {NEWER}

        refused = operator.done("provision --all", code=2)
        help_ = "use the newer checkout, or `inv provision` with --downgrade"
        assert f"mx1, mx2: it has release {NEWER} of our receiver and this is {RELEASE}: {help_}" in refused.err
        assert site.releases() == {NEWER}
        told = json.loads(operator.done("status --json", code=1).out)["relays"]
        assert [need["text"] for need in told["mx2"]] == [f"has release {NEWER}, this is {RELEASE}"]

        operator.done("provision --all --downgrade")
        assert site.releases() == {RELEASE}
        site.newer_done("provision --all")
        wait_until(lambda: min(map(len, codes)) > 5)
    assert [set(each) for each in codes] == [{0}] * 4
    assert site.newer_done("provision --all").out.startswith("mx1, mx2: nothing to change")
    operator.done("provision --all --downgrade")
