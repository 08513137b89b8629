"""An operator and a relay of different releases: every row of docs/upgrading.md's table, run both ways."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import GROUPS
from lab.host import LabHost
from lab.operators import REPO, Operator, Ran, export, people
from tests.support.releases import unpack_first_release
from tests.support.watching import Server

pytestmark = [pytest.mark.host, pytest.mark.long, pytest.mark.story]

ROW = re.compile(r"^\| `([^|]*)` \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
ROWS = [found.groups() for found in ROW.finditer((REPO / "docs" / "upgrading.md").read_text("utf-8"))]
HERE_ALONE = {"init", "schema", "demo", "test", "bench"}
"""Commands that ask no relay."""


class Place(NamedTuple):
    """A relay that one release has set up, with a list in force and one held; and an operator of both releases."""

    operator: Operator
    first: Path

    def run(self, words: str, is_first: bool) -> Ran:
        words = words.replace("export.txt", str(self.operator.home / "export.txt"))
        if not is_first:
            return self.operator.run(words)
        return self.operator.call([sys.executable, str(self.first / "cli.py"), *shlex.split(words)])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_first_release(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def old_relay(tmp_path_factory: pytest.TempPathFactory, first: Path) -> Iterator[Place]:
    yield from _place(tmp_path_factory.mktemp("old-relay"), first, is_first=True)


@pytest.fixture(scope="module")
def new_relay(tmp_path_factory: pytest.TempPathFactory, first: Path) -> Iterator[Place]:
    yield from _place(tmp_path_factory.mktemp("new-relay"), first, is_first=False)


def _place(folder: Path, first: Path, *, is_first: bool) -> Iterator[Place]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        place = Place(Operator(folder), first)
        place.operator.relay("mx1", host)
        place.operator.customer("acme")
        (place.operator.home / "export.txt").write_bytes(export(*people(40), "mallory"))
        assert place.run("provision acme", is_first).code == 0
        server = Server(place.operator, "acme")
        assert server.upload(export(*people(40))).code == 3
        if is_first:
            assert place.run("accept acme --first 40", is_first).code == 0
        else:
            place.operator.accept("acme", "--first 40")
        assert server.upload(export(*people(40), "mallory")).code == 0
        assert server.upload(export(*people(20))).code == 3
        yield place


def hold(place: Place, words: str, cell: str, *, is_first: bool) -> None:
    """Run a command and hold it to a cell of the table: its exit code, and what it says."""
    code, _, sentence = cell.partition(": ")
    ran = place.run(words, is_first)
    assert (ran.code, "Traceback" in ran.text) == (int(code), False), ran.text
    assert sentence in ran.text


@pytest.mark.parametrize(("words", "cell"), [(words, new) for words, new, _ in ROWS if new.strip()])
def test_this_release_with_a_relay_of_the_first_works_or_says_why(old_relay: Place, words: str, cell: str) -> None:
    hold(old_relay, words, cell, is_first=False)


@pytest.mark.parametrize(("words", "cell"), [(words, old) for words, _, old in ROWS])
def test_the_first_release_with_a_relay_of_this_one_works_or_says_why(new_relay: Place, words: str, cell: str) -> None:
    hold(new_relay, words, cell, is_first=True)


def test_the_table_has_every_command_that_asks_a_relay() -> None:
    commands = {name for names in GROUPS.values() for name in names} - HERE_ALONE
    assert {words.split()[0] for words, _, _ in ROWS} == commands
