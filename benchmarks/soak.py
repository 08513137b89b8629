"""Hours of uploads in minutes, faults thrown in: what grows on the relay, and whether anybody is lost."""

from __future__ import annotations

import itertools
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import made_spools, relays, tools
from benchmarks.measuring import Spread, figure
from benchmarks.report import Answer, Plot, Table, Target
from common.exit_codes import DONE
from common.paths import PLACES, REBUILD
from lab.host import LabHost
from lab.operators import MARK, Operator, export

PEOPLE = 50  # recipients of each customer
AT_ONCE = 4  # uploads
SMALL = 8  # customers, evenly among all, whose spool is a file system of its own, so that it can be full
ROOM = "512k"
PAUSE = 1.5  # seconds between two faults
DAEMONS = ("sshd", "master", "qmgr", "cron", "rsyslogd")
TABLE = f"{PLACES.tables}/exchange_recipients"
HOW = """\
{customers} customers on one relay, {people} recipients each. In each hour every customer sends its list by OpenSSH's
`ssh`, {at_once} at once; one in twenty has replaced a tenth of its people, each hour other customers, as a list that
loses a tenth twice a day is held. Meanwhile, every {pause:g} s, one of these: an upload or a build is killed, Postfix
or sshd is restarted, the spools of {small} customers are full for a while. The last hour has no faults. An address is
lost where it stood on a list that was taken and on the one sent since, and is not in the table."""


class Size(NamedTuple):
    """How much of it."""

    customers: int
    hours: int


FULL, QUICK = Size(1_000, 4), Size(12, 2)


class Hour(NamedTuple):
    """What an hour of uploads left."""

    ended: Mapping[int, int]  # by exit code
    faults: int
    lost: int
    inexact: int  # customers whose table is not the list that was sent last
    memory: float  # MB of the relay's daemons
    descriptors: int  # of theirs, open
    processes: int
    files: int  # in all spools
    spool: float  # MB in all spools


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    with relays.started(1) as (host,), tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        soak = Soak(Path(place), host, size.customers)
        hours = [soak.hour(has_faults=number < size.hours - 1) for number in range(size.hours)]
    lost, inexact = sum(hour.lost for hour in hours), hours[-1].inexact
    return Answer(
        title="A soak",
        how=HOW.format(customers=figure(size.customers), people=PEOPLE, at_once=AT_ONCE, pause=PAUSE, small=SMALL),
        targets=(
            Target(says="a soak: addresses lost", found=Spread.of([lost]), limit=0, unit="addresses"),
            Target(says="a soak: tables that are not the last list", found=Spread.of([inexact]), limit=0, unit="lists"),
        ),
        tables=(_uploads(hours), _growth(hours)),
        plot=Plot(
            title="What a relay's daemons and spools come to",
            x="hour",
            y="MB",
            lines={
                "daemons": [(number, Spread.of([hour.memory])) for number, hour in enumerate(hours, 1)],
                "spools": [(number, Spread.of([hour.spool])) for number, hour in enumerate(hours, 1)],
            },
        ),
        notes=NOTES,
    )


NOTES = """\
Who was killed or found the disk full is in the table by the next hour's list. The spools grow by the lists that change,
two files each, until a customer has ten of them (`receiver/lists/history.py`)."""


class Soak:
    """A relay whose customers all have a list in force."""

    def __init__(self, folder: Path, host: LabHost, customers: int) -> None:
        """Provision them."""
        self.host = host
        self.sent = {f"c{number}": [f"person{each:03}" for each in range(PEOPLE)] for number in range(customers)}
        self.unchanged = random.Random(1).sample(sorted(self.sent), customers)
        self.small = list(self.sent)[:: max(1, customers // SMALL)]
        operator = Operator(folder)
        operator.relay("mx1", host)
        for customer in self.sent:
            operator.customer(customer)
        tools.inv(operator, "provision --all")
        to = f"postern@{host.address}"
        self.calls = {customer: [*operator.client("ssh", host, customer), to, "receive"] for customer in self.sent}
        for customer in self.small:
            host.tmpfs(PLACES.spool(customer), ROOM)
        self.spools = host.root / "var/lib/postern/customers"
        for customer, people in self.sent.items():
            made_spools.write_list(self.spools / customer, f"{customer}.example", people, int(time.time()) - 3600)
        host.run(REBUILD)
        self.taken = {customer: set(people) for customer, people in self.sent.items()}

    def hour(self, has_faults: bool) -> Hour:
        """Send the list of every customer once, and return what the relay has afterwards."""
        for _ in range(max(1, len(self.sent) // 20)):
            self._change(self.unchanged.pop())
        with _throw_faults(self._faults() if has_faults else iter(())) as thrown, ThreadPoolExecutor(AT_ONCE) as side:
            codes = Counter(side.map(self._upload, self.sent))
        return self._look(codes, len(thrown))

    def _change(self, customer: str) -> None:
        """Replace a tenth of a customer's people by as many new ones."""
        people = self.sent[customer]
        gone = len(people) // 10
        self.sent[customer] = [*people[gone:], *(f"new{number}" for number in range(gone))]

    def _upload(self, customer: str) -> int:
        content = export(*self.sent[customer], domain=f"{customer}.example") + MARK
        code = subprocess.run(self.calls[customer], input=content, capture_output=True).returncode
        if code == DONE:
            self.taken[customer] = set(self.sent[customer])
        return code

    def _faults(self) -> Iterator[Callable[[], object]]:
        """Yield faults without end; some uploads after the disks are full they are not any more."""
        fillers = " ".join(f"{PLACES.spool(customer)}/filler" for customer in self.small)
        faults = (
            "pkill -9 -n -f ^/usr/bin/python3.*/postern-receive",
            "postfix stop; postfix start",
            f"for filler in {fillers}; do dd if=/dev/zero of=$filler; done",
            "pkill -9 -n -f ^/usr/bin/python3.*/rebuild-relay-recips",
            "kill -HUP $(cat /run/sshd.pid)",
            f"rm -f {fillers}",
        )
        for script in itertools.cycle(faults):
            yield partial(self.host.run, "sh", "-c", script, check=False)

    def _look(self, codes: Mapping[int, int], faults: int) -> Hour:
        for customer in self.small:
            (self.spools / customer / "filler").unlink(missing_ok=True)
        table: dict[str, set[str]] = {customer: set() for customer in self.sent}
        for line in self.host.run("postmap", "-s", f"hash:{TABLE}").stdout.splitlines():
            name, _, domain = line.partition("\t")[0].rpartition("@")
            table.get(domain.removesuffix(".example"), set()).add(name)
        files = [path for path in self.spools.rglob("*") if path.is_file()]
        daemons = self.host.run("ps", "-o", "rss=,pid=", "-C", ",".join(DAEMONS)).stdout.split()
        open_ones = sum(len([*(self.host.root / f"proc/{pid}/fd").iterdir()]) for pid in daemons[1::2])
        return Hour(
            codes,
            faults,
            sum(len((self.taken[one] & set(sent)) - table[one]) for one, sent in self.sent.items()),
            sum(set(sent) != table[one] - {"postmaster"} for one, sent in self.sent.items()),
            sum(map(int, daemons[::2])) / 1000,
            open_ones,
            len(self.host.run("ps", "-e", "-o", "pid=").stdout.split()),
            len(files),
            sum(path.stat().st_size for path in files) / 1e6,
        )


@contextmanager
def _throw_faults(faults: Iterator[Callable[[], object]]) -> Iterator[list[int]]:
    """Run one fault after the other until the block ends; the list grows by one for each."""
    thrown, ended = list[int](), threading.Event()

    def throw() -> None:
        for number, fault in enumerate(faults):
            if ended.wait(PAUSE):
                return
            fault()
            thrown.append(number)

    thread = threading.Thread(target=throw)
    thread.start()
    try:
        yield thrown
    finally:
        ended.set()
        thread.join()


def _uploads(hours: Sequence[Hour]) -> Table:
    every = sorted({code for hour in hours for code in hour.ended})
    rows = tuple(
        (
            figure(number),
            *(figure(hour.ended.get(code, 0)) for code in every),
            figure(hour.faults),
            figure(hour.lost),
            figure(hour.inexact),
        )
        for number, hour in enumerate(hours, 1)
    )
    columns = ("hour", *(f"ended with {code}" for code in every), "faults", "lost", "tables that are not the last list")
    return Table(
        says="Uploads by their exit code; 4: the disk was full; 137: killed; 255: sshd was restarting:",
        columns=columns,
        rows=rows,
    )


def _growth(hours: Sequence[Hour]) -> Table:
    rows = tuple(
        (
            figure(number),
            figure(hour.memory),
            figure(hour.descriptors),
            figure(hour.processes),
            figure(hour.files),
            figure(hour.spool),
        )
        for number, hour in enumerate(hours, 1)
    )
    columns = ("hour", "MB of daemons", "their open files", "processes", "files in spools", "MB in spools")
    return Table(says="What was there after each hour:", columns=columns, rows=rows)
