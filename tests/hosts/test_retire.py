"""`inv retire`: a customer goes and nobody else notices; what is cut short is finished by the next run."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, Operator, answers, export
from lab.waiting import wait_until
from tests.support import watching
from tests.support.releases import releases

pytestmark = [pytest.mark.host, pytest.mark.story]

TABLES = ("exchange_recipients", "relay_domains", "transport", "others")
OTHERS = "relay_domains=old.example\nrelay_recipient_maps=hash:/etc/postfix/listed\n"
KEYS = "var/lib/postern/.ssh/authorized_keys"


class Site(NamedTuple):
    """Two relays, the first of which relays for somebody else as well, and the operator."""

    mx1: LabHost
    mx2: LabHost
    operator: Operator
    main_cf: bytes  # of the first, before anybody came

    def serve(
        self, *customers: str, relays: tuple[str, ...] = ("mx1",), next_hop: str = "relay:[203.0.113.25]:25"
    ) -> None:
        """Have customers with an accepted list."""
        for one in customers:
            self.operator.customer(one, relays=list(relays), next_hop=next_hop)
        self.operator.done("provision --all")
        for one in customers:
            for number in range(len(relays)):
                assert self.operator.upload(export("bob", domain=f"{one}.example"), one, number).code == 3
            self.operator.accept(one, "--first 1")

    def gone(self, customer: str, host: LabHost) -> bool:
        """Whether nothing of it is left in what the relay works with."""
        files = [f"etc/postern/tables/{name}" for name in TABLES] + [KEYS]
        left = [name for name in files if customer.encode() in (host.root / name).read_bytes()]
        return not left and not os.path.lexists(host.root / "etc/postern/customers" / customer)


@pytest.fixture(scope="module", params=releases("bookworm", "trixie"))
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with LabHost("bookworm") as mx1, LabHost(request.param) as mx2:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        for name, host in (("mx1", mx1), ("mx2", mx2)):
            host.run("tee", "/etc/postfix/listed", stdin=b"good@old.example OK\n")
            host.run("postmap", "hash:/etc/postfix/listed")
            path = host.root / "etc/postfix/main.cf"
            path.write_text(path.read_text() + OTHERS)
            host.start_postfix()
            operator.relay(name, host)
        yield Site(mx1, mx2, operator, (mx1.root / "etc/postfix/main.cf").read_bytes())


class Seen(NamedTuple):
    """What a relay goes by."""

    tables: dict[str, bytes]
    keys: bytes
    main_cf: bytes

    @classmethod
    def of(cls, host: LabHost) -> Seen:
        tables = {name: (host.root / "etc/postern/tables" / name).read_bytes() for name in TABLES}
        return cls(tables, (host.root / KEYS).read_bytes(), (host.root / "etc/postfix/main.cf").read_bytes())

    def without(self, customer: str) -> Seen:
        """The same, but for every line of one customer."""
        kept = {name: _without(text, customer) for name, text in self.tables.items() if name != "others"}
        others = self.tables["others"].replace(f"{customer}\\.example|".encode(), b"")
        others = others.replace(f"|{customer}\\.example".encode(), b"")
        return Seen({**kept, "others": others}, _without(self.keys, customer), self.main_cf)


def _without(text: bytes, customer: str) -> bytes:
    return b"".join(line for line in text.splitlines(keepends=True) if customer.encode() not in line)


OLD = {"good@old.example": "250", "nobody@old.example": "550"}


def test_the_first_the_middle_and_the_last_of_three_go_and_nothing_else_does(site: Site) -> None:
    host, operator = site.mx1, site.operator
    site.serve("acme", "bolt", "cork")
    assert (host.root / "etc/postfix/main.cf").read_bytes() != site.main_cf
    for one in ("acme", "bolt"):
        seen, key = Seen.of(host), (operator.kits / one / "exchupdate-k1.ppk").read_bytes()
        with watching.asked(host, [f"bob@{one}.example"], host.address) as answered:
            ran = operator.done(f"retire {one} --yes")
        assert answered == {f"bob@{one}.example": {"250"}}  # from inside: as ours, then as anybody else's
        assert f"  removes key:k1, domain:{one}.example, route:{one}.example\n" in ran.out
        assert r"C:\userexport\schedule.bat remove, then delete C:\userexport, exchupdate-k1.ppk above all" in ran.out
        assert Seen.of(host) == seen.without(one)
        assert answers(host, f"bob@{one}.example") == {f"bob@{one}.example": "454"}  # as any that is nobody's here
        assert answers(host, "bob@cork.example", "x@cork.example", *OLD) == {
            "bob@cork.example": "250",
            "x@cork.example": "550",
            **OLD,
        }
        assert not (operator.kits / one).exists()
        assert operator.public_keys(one) == []
        assert (operator.inventory / "customers" / "retired" / f"{one}.toml").exists()
        assert not _opens(site, host, key)
    seen = Seen.of(host)
    operator.done("retire cork --yes")
    assert Seen.of(host) == seen.without("cork")._replace(
        main_cf=site.main_cf, tables={**seen.without("cork").tables, "others": b"/./ OK\n"}
    )
    assert answers(host, *OLD, "bob@cork.example") == {**OLD, "bob@cork.example": "454"}
    assert operator.done("check").out.endswith("0 customers, 0 domains, 2 relays: no fault\n")
    retired = host.run("ls", "/var/lib/postern/retired").stdout.split()
    assert [name[:5] for name in retired] == ["acme-", "bolt-", "cork-"]
    assert operator.done("retire cork --yes").out == "mx1: nothing to change\ncork: nothing to change\n"
    assert operator.done("status").out.count("\n") == 1


def _opens(site: Site, host: LabHost, key: bytes) -> bool:
    file = site.operator.home / "gone.ppk"
    file.write_bytes(key)
    pinned = [word for key in host.host_keys for word in ("-hostkey", key.split()[1])]
    ran = site.operator.call(["plink", "-batch", "-i", str(file), *pinned, f"postern@{host.address}"])
    return ran.code == 0


def test_nobody_goes_unasked_nor_while_mail_waits_for_them(site: Site) -> None:
    site.serve("elm", "fern", next_hop=f"relay:[{OUTSIDE}]:9")
    for recipient in ("bob@elm.example", "bob@fern.example"):
        with smtp.Conversation(site.mx1.address, from_address=site.mx1.address) as session:
            session.send(recipient, "Subject: hello\n\nStill here.")
    wait_until(lambda: site.mx1.run("postqueue", "-p").stdout.count("refused") == 2)
    seen = Seen.of(site.mx1)
    for words in ("retire elm --yes", "retire elm --dry-run"):
        ran = site.operator.done(words, code=2)
        assert "mx1: mail waits in its queue (1 for elm.example)" in ran.err
    assert "nothing is done; say --yes" in site.operator.done("retire elm --force", code=2).err
    shown = site.operator.done("retire elm --force --dry-run", code=6)
    assert "key:k1, domain:elm.example" in shown.out
    assert "elm: " in shown.err
    assert "MX records" in shown.err  # what they are, or that nobody looked
    assert "did you mean 'elm'" in site.operator.done("retire elmo --yes", code=2).err
    assert "which customer" in site.operator.done("retire --yes", code=2).err
    assert Seen.of(site.mx1) == seen
    assert site.operator.public_keys("elm") == ["k1"]
    site.operator.done("retire elm --yes --force")
    assert site.gone("elm", site.mx1)
    site.operator.done("retire fern --yes --force")
    site.mx1.run("postsuper", "-d", "ALL")


MOMENTS: dict[str, Callable[[Site, str], bool]] = {
    "its file has moved": lambda site, one: not (site.operator.inventory / "customers" / f"{one}.toml").exists(),
    "main.cf is being proved": lambda site, _: (site.mx1.root / "etc/postern/main.cf.pending").exists(),
    "its kit goes": lambda site, one: not (site.operator.kits / one / "runexport.bat").exists(),
}


@pytest.mark.parametrize(
    "moment",
    [
        "main.cf is being proved",
        pytest.param("its file has moved", marks=pytest.mark.long),
        pytest.param("its kit goes", marks=pytest.mark.long),
    ],
)
def test_killed_at_any_moment_the_next_run_finishes_it(site: Site, moment: str) -> None:
    for attempt in range(20):  # on a busy machine a moment may pass before it is seen
        one = f"gone{[*MOMENTS].index(moment)}{attempt}"
        site.serve(one)
        run = site.operator.start(f"retire {one} --yes")
        while not MOMENTS[moment](site, one) and run.poll() is None:
            time.sleep(0.001)
        run.kill()
        run.communicate()
        if run.returncode:
            break
    assert run.returncode == -signal.SIGKILL

    site.operator.done(f"retire {one} --yes")
    assert site.gone(one, site.mx1)
    assert (site.mx1.root / "etc/postfix/main.cf").read_bytes() == site.main_cf
    assert not (site.operator.kits / one).exists()
    assert f"{one}: nothing to change" in site.operator.done(f"retire {one} --yes").out


@pytest.mark.long
def test_a_relay_that_is_down_is_told_the_other_proceeds_and_the_next_run_completes(site: Site) -> None:
    site.serve("hill", relays=("mx1", "mx2"))
    site.mx2.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = site.operator.done("retire hill --yes", code=4)
    assert "mx2: " in ran.err
    assert site.gone("hill", site.mx1)
    assert not site.gone("hill", site.mx2)
    site.mx2.run("/usr/sbin/sshd")
    told = json.loads(site.operator.done("status --json", code=1).out)["relays"]["mx2"][0]["text"]
    assert told == "has customers this inventory does not put on it: hill; `inv retire hill` finishes that"
    site.operator.done("retire hill --yes")
    assert site.gone("hill", site.mx2)
    site.operator.done("status")


@pytest.mark.long
def test_from_one_relay_only_a_customer_goes_once_its_file_says_so(site: Site) -> None:
    site.serve("iris", relays=("mx1", "mx2"))
    ran = site.operator.done("retire iris --relay mx2 --yes", code=2)
    assert "customers/iris.toml still has mx2 in relays" in ran.err
    assert "did you mean 'mx" in site.operator.done("retire iris --relay mx3 --yes", code=2).err
    site.operator.customer("iris", relays=["mx1"])
    site.operator.done("provision iris")
    told = json.loads(site.operator.done("status --json", code=1).out)["relays"]["mx2"][0]["text"]
    assert told.endswith("iris; pull the inventory, or `inv retire iris --relay mx2`")
    of_iris = site.operator.done("status iris", code=1).out
    assert "still has iris, which the inventory does not put there: `inv retire iris --relay mx2`" in of_iris
    seen, kit = Seen.of(site.mx1), (site.operator.kits / "iris" / "runexport.bat").read_bytes()
    ran = site.operator.done("retire iris --relay mx2 --yes")
    assert site.gone("iris", site.mx2)
    assert Seen.of(site.mx1) == seen
    assert (site.operator.kits / "iris" / "runexport.bat").read_bytes() == kit
    assert site.operator.public_keys("iris") == ["k1"]
    assert answers(site.mx1, "bob@iris.example", "x@iris.example") == {
        "bob@iris.example": "250",
        "x@iris.example": "550",
    }
    assert "iris: nothing to change" in site.operator.done("retire iris --relay mx2 --yes").out
    site.operator.done("status")

    retired = site.operator.inventory / "customers" / "retired" / "iris.toml"
    retired.parent.mkdir(exist_ok=True)
    retired.write_text((site.operator.inventory / "customers" / "iris.toml").read_text())
    ran = site.operator.done("retire iris --yes", code=2)
    assert f"{retired} is there already: move it elsewhere first" in ran.err
    retired.unlink()
    site.operator.done("retire iris --yes")
    retired.rename(site.operator.inventory / "customers" / "iris.toml")
    site.operator.done("provision iris")
    assert site.operator.public_keys("iris") == ["k2"]  # a name it never had
    site.operator.done("retire iris --yes")
