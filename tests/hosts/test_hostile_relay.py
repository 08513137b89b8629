"""Attacks by a relay in somebody else's hands: it answers every command of `inv` with other shapes than it should.

Each command must end in a sentence and one of its exit codes, and nothing that moves a cursor may reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tasks
from common import exit_codes
from lab.host import LabHost
from lab.operators import AtOnce, export
from tests.support import hostile_relay
from tests.support.hostile_relay import DEPTHS, SHAPES

pytestmark = [pytest.mark.host, pytest.mark.story]  # tests/fleet/test_attacks_on_the_operator.py has the quick ones

HASH = "0" * 64
COMMANDS = {
    "status": ("status", "status acme --json", "status --problems"),
    "verify": ("verify acme", "verify acme --json", "verify --all"),
    "review": ("review acme", "review acme --json", "review --all"),
    "history": ("history acme", "history acme --json", "history acme --diff 1"),
    "explain": ("explain bob@acme.example", "explain bob@acme.example --json"),
    "refusals": ("refusals acme", "refusals acme --json"),
    "find": ("find bob", "find bob --json"),
    "kits": ("kits",),
    "report": ("report --out REPORT",),
    "rehearse": ("rehearse acme --guard shrink_percent=5",),
    "adopt": ("adopt acme", "adopt acme --json"),
    "provision": ("provision acme --dry-run", "provision acme --dry-run --json", "provision acme --dry-run --diff"),
    "rotate-key": ("rotate-key acme --dry-run",),
    "retire": ("retire acme --dry-run",),
    "sync": ("sync acme --export-file EXPORT --dry-run", "sync acme --export-file EXPORT"),
    "accept": (f"accept acme --dry-run --first 2 --list {HASH}", f"accept acme --first 2 --list {HASH}"),
    "rollback": ("rollback acme --dry-run", "rollback acme", "rollback acme --entry abcdef"),
    "resume": ("resume acme",),
    "open": ("open acme --dry-run",),
    "store": ("store acme",),
    "trust": ("trust mx1",),
}
HERE = {"init", "check", "parse", "list", "schema", "demo", "test", "bench"}  # which ask no relay
MOVING = {*"\033\x07\x9b\u202e\r"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, AtOnce]]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        operator.customer("acme")
        (operator.home / "export.txt").write_bytes(export("bob", "carl", "dora"))
        operator.done("provision acme")
        assert operator.upload(export("bob", "carl")).code == 3
        operator.accept("acme", "--first 2")
        assert operator.upload(export("bob", "carl", "eve")).code == 0
        hostile_relay.make_hostile(host)
        yield host, operator


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_attack_a_relay_answers_a_command_with_another_shape(
    relay: tuple[LabHost, AtOnce], name: str, depth: int, shape: str
) -> None:
    host, operator = relay
    hostile_relay.change_answers(host, depth, shape)
    for words in COMMANDS[name]:
        here = words.replace("EXPORT", str(operator.home / "export.txt"))
        ran = operator.run(here.replace("REPORT", str(operator.home / "report")))
        assert ran.code in {*range(exit_codes.PENDING + 1), exit_codes.BUSY}, ran.text
        assert "Traceback" not in ran.text, ran.text
        assert not MOVING & {*ran.text}, ascii(ran.text)


def test_every_command_that_asks_a_relay_is_attacked() -> None:
    known = {name.replace("_", "-") for name in vars(tasks) if hasattr(vars(tasks)[name], "body")}
    assert {name.strip("-") for name in known} == {*COMMANDS, *HERE}
