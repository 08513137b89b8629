"""Relays as they are found: each folder of tests/relays is one, driven from the first dry run to the last customer.

`relay.toml` says where it is from and what is right; `main.cf` what it sets there, `files/` what lies there besides,
`prepare.sh` what root does then, before Postfix starts. One for each `row` of what was found runs always, all when
there is time.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, Ran, export
from tests.hosts.test_provision import everything

pytestmark = pytest.mark.host

RELAYS = Path(__file__).parent.parent / "relays"
ACCEPT = re.compile(r"\b(accept acme --.*)$", re.MULTILINE)
OTHERS = ("good@old.example", "nobody@old.example", "x@elsewhere.example", "nobody@mailbox.example", "root@localhost")
KEPT = ("main.cf", "master.cf")


class Case(NamedTuple):
    """A relay, and what is right there."""

    about: str  # what it is, and where it is from
    row: str  # of what was found; empty: it was looked for besides
    outcome: str  # refused: before anything is written. taken: all goes well. failed: the edit does not stand its test.
    says: tuple[str, ...] = ()  # patterns of what provision says
    verify: str = ""  # a pattern of what verify says
    verified: int = 0  # how verify ends
    unlisted: str = "550"  # what a stranger is told about somebody who is not listed
    listed: str = "250"
    release: str = "bookworm"
    sshd: tuple[str, ...] = ()
    next_hop: str = "relay:[203.0.113.25]:25"

    @classmethod
    def read(cls, name: str) -> Case:
        fields: dict[str, Any] = tomllib.loads((RELAYS / name / "relay.toml").read_text("utf-8"))
        return cls(**{**fields, **{key: tuple(fields.get(key, ())) for key in ("says", "sshd")}})


def cases() -> list[object]:
    names = sorted(path.parent.name for path in RELAYS.glob("*/relay.toml"))
    rows = [Case.read(name).row for name in names]
    first = {row: names[rows.index(row)] for row in rows if row}
    return [
        pytest.param(name, marks=[] if name in first.values() else [pytest.mark.long, pytest.mark.slow])
        for name in names
    ]


class Site(NamedTuple):
    """The relay of a case, and an operator."""

    host: LabHost
    operator: AtOnce

    def answers(self, *addresses: str) -> dict[str, str]:
        return {one: self.host.ask(one, from_address=OUTSIDE)[:9] for one in addresses}

    def configuration(self) -> dict[str, object]:
        """What Postfix is set up by: content, mode, owner; and whether it is a link."""
        folder = self.host.root / "etc/postfix"
        told = self.host.run("sh", "-c", "cd /etc/postfix; stat -c '%N %a %U:%G' main.cf; stat -Lc '%a %U:%G' main.cf")
        return {"main.cf is": told.stdout, **{name: self._bytes(name) for name in KEPT}, "there": str(folder)[-4:]}

    def _bytes(self, name: str) -> str:
        return self.host.run("cat", f"/etc/postfix/{name}").stdout


@pytest.fixture
def site(lab_host: Callable[..., LabHost], tmp_path: Path) -> Callable[[str, Case], Site]:
    def start(name: str, case: Case) -> Site:
        host = lab_host(case.release, sshd=case.sshd)
        prepare(host, RELAYS / name)
        operator = AtOnce(tmp_path)
        operator.customer("acme", next_hop=case.next_hop or None)
        operator.relay("mx1", host)
        return Site(host, operator)

    return start


def prepare(host: LabHost, folder: Path) -> None:
    """Make a fresh host the relay that a folder describes."""
    for path in sorted((folder / "files").rglob("*")):
        if path.is_file():
            at = f"/{path.relative_to(folder / 'files')}"
            host.run("install", "-D", "/dev/stdin", "-m", "0644", at, stdin=path.read_bytes())
    if (folder / "main.cf").exists():
        with (host.root / "etc/postfix/main.cf").open("a") as main_cf:
            main_cf.write((folder / "main.cf").read_text("utf-8").replace("ADDRESS", host.address))
    if (folder / "prepare.sh").exists():
        host.run("sh", "-e", stdin=(folder / "prepare.sh").read_bytes().replace(b"ADDRESS", host.address.encode()))
    host.start_postfix()


@pytest.mark.parametrize("name", cases())
def test_a_relay_as_it_is_found_is_taken_or_refused_with_the_reason(
    site: Callable[[str, Case], Site], name: str
) -> None:
    case = Case.read(name)
    here = site(name, case)
    OUTCOMES[case.outcome](here, case)


def refused(site: Site, case: Case) -> None:
    """Nothing is written, and what stands in the way is named."""
    there, at_home = everything(site.host.root), everything(site.operator.inventory.parent)
    for words in ("provision acme --dry-run", "provision acme"):
        _says(site.operator.done(words, code=2), case)
    assert everything(site.host.root) == there
    assert everything(site.operator.inventory.parent) == at_home


def expect_set_up(site: Site, case: Case) -> None:
    """A list is put in force as anywhere, others do not notice, and afterwards all is as before."""
    before, others = site.configuration(), site.answers(*OTHERS)
    site.operator.done("provision acme --dry-run", code=6)
    assert site.configuration() == before
    _says(site.operator.done("provision acme"), case)
    assert site.operator.done("provision acme").out.startswith("mx1: nothing to change")
    first_list(site)
    assert site.answers(*OTHERS) == others
    assert site.answers("bob@acme.example")["bob@acme.example"].startswith(case.listed)
    assert site.answers("nobody@acme.example")["nobody@acme.example"].startswith(case.unlisted)
    verified = site.operator.done("verify acme", code=case.verified)
    assert re.search(case.verify or "asked as an outsider", verified.text), verified.text
    site.operator.done("retire acme --yes")
    assert site.configuration() == before
    assert site.answers(*OTHERS) == others


def expect_failed_proof(site: Site, case: Case) -> None:
    """Only the edit shows it: main.cf is as before, what stays is named, and nobody is told to carry a kit."""
    before, others = site.configuration(), site.answers(*OTHERS)
    ran = site.operator.done("provision acme", code=5)
    _says(ran, case)
    assert "what was made before stays, and no mail uses it: account postern" in ran.err
    assert "carry" not in ran.text
    assert not list(site.operator.kits.rglob("runexport.bat"))
    assert site.configuration() == before
    assert site.answers(*OTHERS) == others
    site.operator.done("retire acme --yes")
    assert site.configuration() == before


def first_list(site: Site) -> None:
    """Upload one and accept it by the very command that review prints."""
    sent = site.operator.upload(export("bob", "ann"))
    assert sent.code == 3, sent.text
    review = site.operator.run("review acme")
    (command,) = set(ACCEPT.findall(review.text))
    site.operator.done(shlex.join(shlex.split(command)))


def _says(ran: Ran, case: Case) -> None:
    text = " ".join(ran.text.split())
    for words in case.says:
        assert re.search(words, text), f"{words!r} is not in:\n{ran.text}"


OUTCOMES: dict[str, Callable[[Site, Case], Any]] = {
    "refused": refused,
    "taken": expect_set_up,
    "failed": expect_failed_proof,
}
