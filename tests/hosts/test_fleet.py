"""Three relays and fifty customers: what `inv status` shows a person, and what it tells a program."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from console.documents import format_iso
from lab.host import LabHost
from lab.operators import REPO, AtOnce, Operator, answers
from tests.support.releases import releases

pytestmark = [pytest.mark.host, pytest.mark.story]

CUSTOMERS = tuple(f"c{number:02}" for number in range(50))
NOW = int(time.time())
DAY = 86_400
ALARMS = "/var/lib/postern/run/told"
PROM = "/var/lib/postern/metrics/postern.prom"
# What the receiver leaves in a spool after good uploads, written by its own code on the relay itself.
FILL = """
import sys; sys.path.insert(0, "/usr/local/lib/postern")
from receiver.lists import list_file
from receiver.outcome import Origin
from receiver.outcome import Outcome
from common.settings import Places
from receiver.lists.accepted import Accepted
from receiver.lists.held import Held
from receiver.lists.spool import Spool
from receiver.system import atomic_files
when = int(sys.argv[1])
for customer in sys.argv[2:]:
    with Spool(Places(), customer) as spool:
        people = frozenset(f"user{number}@{customer}.example" for number in range(20))
        text, origin = list_file.encode_recipients(people), Origin(when, "k1", "198.51.100.7")
        atomic_files.replace(spool.folder, "recipients", text)
        spool.store_accepted(Accepted({f"{customer}.example": when}, list_file.digest(text)))
        spool.store_last_run(Outcome(customer, "published", origin, total=20))
        spool.note_key("k1", when, 1)
        if customer == "c07":
            spool.store_held(Held("0" * 64, people, origin, when, ("41.2 % would go (7 of 17), limit 10 %",), {}), text)
"""


class Fleet(NamedTuple):
    """Relays by name, and the operator."""

    hosts: dict[str, LabHost]
    operator: Operator

    def fill(self, relay: str, when: int, *customers: str) -> None:
        """Let the last good upload of these customers have come then."""
        self.hosts[relay].run("python3", "-", str(when), *customers, stdin=FILL.encode(), user="postern")


def relays_of(customer: str) -> list[str]:
    """Everybody is on mx1, some on one more."""
    more = {0: ["mx2"], 1: ["mx3"]}.get(int(customer[1:]) % 4, [])
    return ["mx1", *more]


@pytest.fixture(scope="module", params=releases("bookworm", "trixie"))
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One relay is down, two customers are stale, one is held, one has drifted."""
    with LabHost("bookworm") as mx1, LabHost(request.param) as mx2, LabHost("bookworm") as mx3:
        operator, hosts = AtOnce(tmp_path_factory.mktemp("operator")), {"mx1": mx1, "mx2": mx2, "mx3": mx3}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host, alarm=["/usr/bin/tee", "-a", ALARMS])
        always = {"days": ["MON-SUN"], "from": "00:00", "to": "23:59", "every_minutes": 15}
        for one in CUSTOMERS:
            operator.customer(one, relays=relays_of(one), exchange={"schedule": always})
        operator.done("provision --all")
        found = Fleet(hosts, operator)
        for name, host in hosts.items():
            found.fill(name, NOW, *(one for one in CUSTOMERS if name in relays_of(one)))
            host.run("rebuild-relay-recips")
        found.fill("mx1", NOW - 6 * 3600, "c03", "c11")
        mx1.run("sh", "-c", "echo '# by hand' >> /etc/postern/customers/c20/exclude-users.txt")
        mx3.run("sh", "-c", "kill $(cat /run/sshd.pid)")
        mx1.run("rebuild-relay-recips")
        yield found


def on_terminal(operator: Operator, words: str, columns: int) -> str:
    """What a person sees in a window so wide, without its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**operator.environment, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    argv = [sys.executable, str(REPO / "cli.py"), *words.split()]
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert process.returncode == 1
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed, as Linux says it of a terminal
        return b""


def test_on_a_terminal_rows_are_short_and_each_sentence_stands_once_below(fleet: Fleet) -> None:
    shown = on_terminal(fleet.operator, "status", 120)
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines[:-6])) <= 120
    rows = {tuple(line.split()[:2]): line for line in lines if len(line.split()) > 2}
    assert rows[("(relay)", "mx3")].endswith("not reached")
    assert rows[("c03", "mx1")].endswith("stale")
    assert rows[("c07", "mx1")].endswith("held")
    assert rows[("c20", "mx1")].endswith("drift")
    assert re.match(r"c00 +on 2 .* k1, (0 days|1 day)$", rows[("c00", "on")])
    assert len([line for line in lines if re.match(r"c\d\d +on 2 ", line)]) == 12
    of_one = [row for row in rows if row[0] in CUSTOMERS and row[1] in fleet.hosts]
    assert len(of_one) == 37 + 2  # c20 is on both, and drifts on one
    sentences = lines[-5:]
    assert sentences[0].startswith("mx3: not reached: ")
    assert re.fullmatch(r"c03 on mx1: stale: no usable export since .* UTC, one was due .* UTC", sentences[1])
    held = r"c07 on mx1: held since .* UTC: 41\.2 % would go \(7 of 17\), limit 10 %; see `inv review c07`"
    assert re.fullmatch(held, sentences[2])
    assert sentences[4] == "c20 on mx1: /etc/postern/customers/c20 is not as wanted: exclude-users.txt"
    assert shown.count("41.2 %") == 1


def test_in_a_pipe_every_row_is_one_line_that_says_all(fleet: Fleet) -> None:
    ran = fleet.operator.done("status", code=1)
    columns, *rows = (line.split("\t") for line in ran.out.splitlines())
    assert columns[-1] == "needs a person"
    assert {len(row) for row in rows} == {len(columns)}
    needing = {(row[0], row[1]): row[-1] for row in rows if row[-1]}
    assert set(needing) == {("(relay)", "mx3"), *((one, "mx1") for one in ("c03", "c07", "c11", "c20"))}
    assert needing[("(relay)", "mx3")].startswith("not reached: ")
    assert ran.err == ""


def test_as_json_it_is_what_a_program_would_read(fleet: Fleet) -> None:
    said: dict[str, Any] = json.loads(fleet.operator.done("status --json", code=1).out)
    kinds = {name: [need["kind"] for need in needs] for name, needs in said["relays"].items()}
    assert kinds == {"mx1": [], "mx2": [], "mx3": ["not reached"]}
    rows = {(row["customer"], row["relay"]): row for row in said["customers"]}
    assert len(rows) == 63
    assert rows[("c00", "mx1")]["list"] == rows[("c00", "mx2")]["list"]
    assert (rows[("c00", "mx1")]["total"], rows[("c00", "mx1")]["good"]) == (20, format_iso(NOW))
    assert [need["kind"] for need in rows[("c07", "mx1")]["needs"]] == ["held"]


def test_each_relay_is_asked_by_one_connection_and_one_command(fleet: Fleet) -> None:
    log = fleet.hosts["mx2"].root / "var/log/auth.log"
    before = log.read_text().count("Accepted publickey for root")
    fleet.operator.done("status", code=1)
    assert log.read_text().count("Accepted publickey for root") == before + 1


def test_one_customer_s_status_asks_its_relays_and_tells_of_nobody_else(fleet: Fleet) -> None:
    told = fleet.operator.done("status c00").out  # mx3, which is down, is not one of its relays: only a notice
    rows = [line.split("\t")[:2] for line in told.splitlines()[1:]]
    assert rows == [["(relay)", "mx3"], ["c00", "mx1"], ["c00", "mx2"]]
    alone = fleet.operator.done("status c01", code=1).out
    assert re.search(r"^\(relay\)\tmx3\t.*not reached", alone, re.MULTILINE)
    assert "c03" not in alone


def test_most_customers_of_a_relay_stale_at_once_are_told_as_one(fleet: Fleet) -> None:
    on_mx2 = [one for one in CUSTOMERS if "mx2" in relays_of(one)]
    fleet.fill("mx2", NOW - 6 * 3600, *on_mx2)
    said = json.loads(fleet.operator.done("status --json", code=1).out)
    fleet.fill("mx2", NOW, *on_mx2)
    (need,) = said["relays"]["mx2"]
    asked = "is it this relay, its address or its sshd?"
    assert need["text"].startswith(f"13 of 13 customers are stale at once: {asked} c00, c04")
    assert {row["relay"] for row in said["customers"] for need in row["needs"] if need["kind"] == "stale"} == {"mx1"}


def test_the_relay_s_own_timer_tells_the_same_without_us_and_opens_what_is_too_old(fleet: Fleet) -> None:
    host = fleet.hosts["mx2"]
    fleet.fill("mx2", NOW - 31 * DAY, "c00")
    fleet.fill("mx2", NOW - 20 * DAY, "c04")
    user, *tick = host.run("grep", "tick", "/etc/cron.d/postern").stdout.split()[5:]
    host.run(*tick, user=user)
    told = host.run("cat", ALARMS).stdout.splitlines()[1:]
    opened, ageing = (
        "OPEN, no good list for 31 days: c00.example",
        "no good list for 20 days; after 30, nobody is refused in c04.example",
    )
    assert {f"c00: {opened}", f"c04: {ageing}"} <= set(told)
    assert [line[:10] for line in told if "stale" in line] == ["c00: stale", "c04: stale"]
    assert answers(host, "x@c00.example", "x@c04.example") == {"x@c00.example": "250", "x@c04.example": "550"}
    assert 'postern_open{customer="c00",domain="c00.example"} 1' in host.run("cat", PROM).stdout
    assert "alarm: c00: OPEN" in host.log(until="alarm: c00: OPEN")
    said = json.loads(fleet.operator.done("status --json", code=1).out)["customers"]
    here = {row["customer"]: [need["text"] for need in row["needs"]] for row in said if row["relay"] == "mx2"}
    assert opened in here["c00"]
    assert ageing in here["c04"]
    host.run(*tick, user=user)
    assert len(host.run("cat", ALARMS).stdout.splitlines()) == len(told) + 1
    fleet.fill("mx2", NOW, "c00", "c04")
    host.run("rebuild-relay-recips")


def test_a_relay_whose_clock_is_wrong_says_so_once(fleet: Fleet, tmp_path: Path) -> None:
    """Its clock is the machine's, so ours is put wrong: a day back, to when nothing had come yet."""
    code = (
        "import sys, time; real = time.time; time.time = lambda: real() - 86400\n"
        f"sys.path.insert(0, {str(REPO)!r}); sys.argv = ['inv', 'status', 'c00', '--json']\n"
        "import runpy; runpy.run_path(sys.path[0] + '/cli.py', run_name='__main__')\n"
    )
    ran = fleet.operator.call([sys.executable, "-c", code])
    said = json.loads(ran.out)
    text = said["relays"]["mx1"][0]["text"]
    assert re.fullmatch(r"its clock is 14[34]\d minutes ahead of this machine's", text), (
        "a day, but for how long it took"
    )
    ahead = [need["text"] for row in said["customers"] for need in row["needs"] if need["kind"] == "ahead"]
    assert len(ahead) == 2
    assert "which is to come" in ahead[0]
