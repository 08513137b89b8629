"""150 new customers of a table on 6 relays, for real: how much a person has to read, and what the recaps say."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import REPO, AtOnce, Ran, export, people

pytestmark = [pytest.mark.host, pytest.mark.long, pytest.mark.story]

CUSTOMERS, RELAYS = 150, 6
NAMES = [f"mx{number}" for number in range(1, RELAYS + 1)]
WIDTH = 80
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Site(NamedTuple):
    """An operator with a table of customers, and relays that nobody has set up."""

    operator: AtOnce
    hosts: dict[str, LabHost]

    def on_a_terminal(self, words: str) -> list[str]:
        """Run `inv` on a terminal of 80 columns; return what stands there, and then what went to stderr."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
        argv = [sys.executable, str(REPO / "cli.py"), *words.split()]
        environment = {**self.operator.environment, "TERM": "xterm", "COLUMNS": str(WIDTH)}
        with (self.operator.home / "stderr").open("w+b") as errors:
            with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=errors, env=environment):
                os.close(theirs)
                text = b"".join(_until_closed(ours))
            os.close(ours)
            errors.seek(0)
            return COLOURS.sub("", (text + errors.read()).decode()).splitlines()


def _until_closed(descriptor: int) -> Iterator[bytes]:
    with suppress(OSError):  # Linux: what reads a terminal that nobody has open any more gets EIO
        while piece := os.read(descriptor, 1 << 16):
            yield piece


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("operator")
    operator = AtOnce(folder)
    with ExitStack() as running:
        hosts = {name: running.enter_context(LabHost("bookworm")) for name in NAMES}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host, trusted=False)
        yield Site(operator, hosts)


def lines_of(ran: Ran, most: int) -> list[str]:
    lines = ran.text.splitlines()
    assert len(lines) <= most, "\n".join(lines)
    assert max(map(len, lines)) <= 500
    return lines


def test_a_table_becomes_150_files_and_six_relays_are_trusted(site: Site) -> None:
    head = "id;name;domains;next_hop;source;server;basepoint;addresses;timezone"
    rows = [
        f"customer-{number:03};Customer {number};c{number:03}.example;relay:[203.0.113.25]:25;exchange-5.5;NTSERVER;"
        "/o=Demo;127.77.0.0/24;Europe/Berlin"
        for number in range(CUSTOMERS)
    ]
    table = site.operator.home / "new.csv"
    table.write_text("\n".join([head, *rows]))
    lines_of(site.operator.done(f"init --from {table}"), 1)
    for name in NAMES:
        lines_of(site.operator.done(f"trust {name} --yes"), 5)
    assert lines_of(site.operator.done("check"), 1)[0].endswith("150 customers, 150 domains, 6 relays: no fault")


def test_a_dry_run_of_all_is_a_few_lines_and_a_recap(site: Site) -> None:
    lines = lines_of(site.operator.done("provision --all --dry-run", code=6), 40)
    assert lines[0].startswith("mx1, mx2, mx3, mx4, mx5, mx6: ")
    assert lines[-1] == "6 relays: 6 would change; kits and servers of 150 customers: 150 would change, 0 unchanged"


def test_the_run_itself_is_as_short_and_the_next_one_shorter(site: Site) -> None:
    lines = lines_of(site.operator.done("provision --all"), 60)
    assert lines[-1] == "6 relays: 6 changed; kits and servers of 150 customers: 150 changed, 0 unchanged"
    again = lines_of(site.operator.done("provision --all"), 4)
    assert again[0].startswith("mx1, mx2, mx3, mx4, mx5, mx6: nothing to change")
    assert again[-1] == "6 relays: 6 unchanged; kits and servers of 150 customers: 0 changed, 150 unchanged"


def test_status_of_150_new_customers_on_a_terminal_is_a_row_each_and_four_sentences(site: Site) -> None:
    first, head, *rows = site.on_a_terminal("status")
    assert first == "900 lists of 150 customers on 6 relays; needs somebody: 900 lists of 150 customers"
    assert head.split() == ["customer", "relay", "listed", "good", "changed", "last", "run", "key", "problems"]
    assert rows[149] == "customer-149  on 6   0       never  never                   first list"
    assert max(map(len, rows[:150])) <= WIDTH
    on_all = f"on {', '.join(NAMES)}: open until a list is accepted"
    assert rows[150:] == [
        *(f"customer-00{number} {on_all}: c00{number}.example" for number in range(3)),
        "first list: 147 more like these; `inv status CUSTOMER` says it in full",
    ]


def test_what_needs_somebody_stands_before_149_who_are_well(site: Site) -> None:
    """Three have a list, one of them holds another, and a relay is down."""
    operator = site.operator
    for number in range(3):
        domain = f"c00{number}.example"
        (operator.home / "export.txt").write_bytes(export(*people(20), domain=domain))
        operator.done(f"sync customer-00{number} --export-file {operator.home / 'export.txt'}", code=3)
        operator.accept(f"customer-00{number}", "--first 20")
    (operator.home / "export.txt").write_bytes(export(*people(4), domain="c001.example"))
    operator.done(f"sync customer-001 --export-file {operator.home / 'export.txt'}", code=3)
    site.hosts["mx6"].run("sh", "-c", "kill $(cat /run/sshd.pid)")

    summary, _, *lines = site.on_a_terminal("status customer-000,customer-001,customer-002")
    shown, needs = summary.split("; ")
    assert shown == "15 lists of 3 customers on 5 of 6 relays"
    assert needs == "needs somebody: 5 lists of 1 customer and 1 relay (mx6)"
    assert [line.split()[:2] for line in lines[:4]] == [
        ["(relay)", "mx6"],
        ["customer-001", "on"],
        ["customer-000", "on"],
        ["customer-002", "on"],
    ]
    assert len(lines) == 4 + 2
    assert len(site.on_a_terminal("status")) <= 2 + 151 + 6
    assert len(site.on_a_terminal("status customer-000,customer-001,customer-002 --problems")) == 2 + 2 + 2


@pytest.mark.parametrize(
    ("words", "most", "code"),
    [
        ("status", 1 + 5 * CUSTOMERS + 1, 1),
        ("status customer-001", 8, 1),
        ("review --all", 40, 4),
        ("history --all", 3 * 6 + 2, 4),
        ("verify --all", 24, 4),
        ("kits", CUSTOMERS + 3, 4),
        ("list", CUSTOMERS + 1, 0),
        ("provision --all", 6, 4),
        ("find user0001", 6, 4),
        ("refusals customer-000", 3 * 5 + 1, 4),
        ("status --nagios", 12, 2),
    ],
)
def test_with_a_relay_down_each_command_stays_short(site: Site, words: str, most: int, code: int) -> None:
    lines_of(site.operator.done(words, code=code), most)
