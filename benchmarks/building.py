"""A relay with a thousand customers: what a build costs, how uploads share it, and what a day of uploads comes to."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks import relays, tools
from benchmarks.measuring import FailedError, Run, Spread, called, figure, quotients, rounds, seconds
from benchmarks.report import Answer, Plot, Table, Target
from common.paths import REBUILD
from common.settings import RelaySettings
from lab.host import LabHost
from lab.operators import MARK, Operator, export

TYPES = ("hash", "cdb", "lmdb")
_EITHER = r"\|".join(TYPES)
TIMES = 3.0  # times postmap
SHARE = 5.0  # % of a core
DAYS = {"round the clock": 24, "07:00 to 19:00, as the inventory has it unless told otherwise": 13}
ONE_IN = 20  # uploads brings a change
ANEW, CHANGE, POSTMAP = NAMES = ("a build of all", "a build after one change", "`postmap` alone")
TABLE = "/etc/postern/tables/exchange_recipients"
MAIN_CF = "/etc/postfix/main.cf"
COPY = "/var/tmp/list"
HOW = """\
One relay with {customers:,} customers of {recipients:,} recipients each, provisioned by Postern, the lists laid into
their spools. A build reads and checks every list, builds the table beside the one in force, looks up every key of it,
flushes it to the disk and renames it. After a change of one recipient it edits a copy of the table in force instead,
where the type can be edited, and looks up what changed and a sample of the rest. `postmap` makes the same table of the
same text and does nothing else. Writes go to a disk."""


class Size(NamedTuple):
    """How much of it."""

    customers: int
    recipients: int
    repeats: int
    at_once: int


FULL = Size(1_000, 1_000, 3, 50)
QUICK = Size(20, 100, 2, 4)


class Relay:
    """The relay and its customers."""

    def __init__(self, folder: Path, host: LabHost, size: Size) -> None:
        """Provision it, and lay the lists into the spools."""
        self.host, self.size, self.folder, self.operator = host, size, folder, Operator(folder / "operator")
        self.customers = [f"c{number}" for number in range(size.customers)]
        self._changes = itertools.count()
        self.operator.relay("mx1", host)
        for customer in self.customers:
            self.operator.customer(customer)
        tools.inv(self.operator, "provision --all")
        for customer in self.customers:
            self.lay(customer, self.people(customer))
        self.build()

    def people(self, customer: str, changed: bool = False) -> list[str]:
        """Return the addresses of a customer, always the same, or but for one."""
        people = [f"given.family{number:05}@{customer}.example" for number in range(self.size.recipients)]
        return [f"another{next(self._changes):05}@{customer}.example", *people[1:]] if changed else people

    def lay(self, customer: str, recipients: Sequence[str]) -> None:
        """Write a list into the spool, as an accepted upload does."""
        spool = self.host.root / "var/lib/postern/customers" / customer
        accepted = {"postern": 1, "domains": {f"{customer}.example": int(time.time())}, "list": ""}
        texts = {"recipients": "".join(f"{one}\n" for one in recipients), "accepted.json": json.dumps(accepted)}
        for name, text in texts.items():
            (spool / name).write_text(text)
            os.chown(spool / name, spool.stat().st_uid, spool.stat().st_gid)

    def build(self) -> None:
        """Build the tables as root."""
        self.host.run(REBUILD)

    def use(self, table_type: str) -> None:
        """Change the type of the tables, in main.cf too, and build them."""
        edit = rf"s#\b\({_EITHER}\):/etc/postern#{table_type}:/etc/postern#g"
        self.host.run("sed", "-i", edit, MAIN_CF)
        self.host.run("touch", "-d", "1 hour ago", MAIN_CF)  # Postfix' programs sleep until nobody has just written it
        (self.host.root / "etc/postern/relay.json").write_text(RelaySettings("/etc/postfix", table_type).text())
        self.build()

    def upload(self, customers: Sequence[str], changed: Sequence[str]) -> None:
        """Upload as these customers' servers at once, some of them a changed list. Raises FailedError."""
        running = [self._start_upload(customer, customer in changed) for customer in customers]
        for customer, client in zip(customers, running, strict=True):
            said = client.communicate()[0].decode(errors="replace")
            if client.returncode:
                raise FailedError(f"{customer}'s upload ended with {client.returncode}: {said}")

    def _start_upload(self, customer: str, changed: bool) -> subprocess.Popen[bytes]:
        path = self.folder / f"{customer}.txt"
        if changed or not path.exists():  # what did not change is sent as it was
            path.write_bytes(export(*self.people(customer, changed)) + MARK)
        argv = [*self.operator.client("ssh", self.host, customer), f"postern@{self.host.address}", "receive"]
        with path.open("rb") as file:
            return subprocess.Popen(argv, stdin=file, stdout=subprocess.PIPE, env=self.operator.environment)


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    with (
        relays.started(1, "MaxStartups 200", on_disk=True) as (host,),
        tempfile.TemporaryDirectory(prefix="postern-bench-") as place,
    ):
        relay = Relay(Path(place), host, size)
        found = {table_type: _measure_builds(relay, table_type) for table_type in TYPES}
        relay.use(TYPES[0])
        with relays.peak(host, REBUILD) as peaks:
            relays.unbuild(host)
            relay.build()
        relays.unbuild(host)
        stages = relays.stages(host, "receiver.tables.build")
        shared = [_upload_together(relay, count) for count in (1, size.at_once)]
        spent = [_hour(relay) for _ in range(size.repeats)]
    built = [target for table_type, ran in found.items() for target in _build_targets(table_type, ran)]
    return Answer(
        title="Building",
        how=HOW.format(customers=size.customers, recipients=size.recipients),
        targets=(*built, _day_target(spent, size.customers)),
        tables=(_times(found), _profile(stages, peaks[REBUILD]), _sharing_table(shared), _days(spent, size.customers)),
        plot=Plot(
            title=f"A build of {size.customers * size.recipients:,} recipients",
            x="type of the table",
            y="seconds",
            lines={
                name: [(table_type, Spread.of(seconds(each[name]))) for table_type, each in found.items()]
                for name in NAMES
            },
        ),
        notes=NOTES,
    )


NOTES = """\
Two goals are missed. One is lmdb built anew: the text is sorted, as all our tables are, and in order lmdb's own
`postmap` is three times as fast as out of order, so that reading, checking and looking up a million addresses weighs
more beside it. The build takes no longer than with cdb. A first list of a whole relay, and a change of the table's
type, are built so; a day's uploads are not. What was tried:

- Looking up by `postmap -s`, which lists a table, instead of asking for every key: 2.5 s more of a million, and it
  tells nothing more.
- Asking for the keys in as many processes as there are processors, where there are more than 50,000: kept.
- Editing a copy of the table in force where little changed, for the types that `postmap` can edit: a build after one
  change went from twice `postmap` to 0.38 of it (hash) and from 3.6 to 1.8 (lmdb).
- Leaving out the look-up: the build would be within the goal, and a key that Postfix does not find would be found by
  its sender. Not done.

The other is a day of uploads, of which most change nothing: that is two thirds Python's start and what it imports (see
[receiving](#receiving))."""


def _measure_builds(relay: Relay, table_type: str) -> dict[str, list[Run]]:
    """Return the runs of builds with a table type, beside its postmap."""
    relay.use(table_type)
    relay.host.run("cp", TABLE, COPY)

    def anew() -> Run:
        relays.unbuild(relay.host)
        return called(relay.build)

    def changed() -> Run:
        relay.lay("c0", relay.people("c0", changed=True))
        return called(relay.build)

    postmap = ("/usr/sbin/postmap", f"{table_type}:{COPY}")
    contenders = {ANEW: anew, CHANGE: changed, POSTMAP: lambda: called(lambda: relay.host.run(*postmap))}
    return rounds(relay.size.repeats, contenders)


class Shared(NamedTuple):
    """Uploads that arrived together, every one of them with a change."""

    uploads: int
    seconds: float
    cpu: float  # seconds of the relay's processors
    builds: int


def _upload_together(relay: Relay, count: int) -> Shared:
    customers = relay.customers[:count]
    relay.upload(customers, ())  # each list is known to its spool, and each key has been used
    before = relays.processor_seconds(relay.host)
    with _builds(relay.host) as builds:
        took = called(lambda: relay.upload(customers, customers)).seconds
    return Shared(count, took, relays.processor_seconds(relay.host) - before, builds())


@contextmanager
def _builds(host: LabHost) -> Iterator[Callable[[], int]]:
    """Count how often a new table comes into force: each is another file."""
    table, ended, seen = host.root / f"{TABLE[1:]}.db", threading.Event(), list[tuple[int, int]]()

    def watch() -> None:
        while not ended.wait(0.002):
            with suppress(FileNotFoundError):
                found = table.stat()
                if (found.st_ino, found.st_mtime_ns) not in seen[-1:]:
                    seen.append((found.st_ino, found.st_mtime_ns))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: len(seen) - 1
    finally:
        ended.set()
        watcher.join()


class Spent(NamedTuple):
    """Seconds of the relay's processors that one upload takes, sshd's included."""

    unchanged: float
    changed: float

    def share(self, customers: int, uploads: int) -> float:
        """Return the share of a core, in %, that so many uploads of each customer take a day. None shares a build."""
        each = self.unchanged + (self.changed - self.unchanged) / ONE_IN
        return 100 * each * customers * uploads / 86_400


def _hour(relay: Relay) -> Spent:
    """Upload a change as one customer, and as the others what they sent last."""
    first, *others = relay.customers[:ONE_IN]
    relay.upload([first, *others], ())
    before = relays.processor_seconds(relay.host)
    relay.upload([first], [first])
    between = relays.processor_seconds(relay.host)
    for customer in others:
        relay.upload([customer], ())
    return Spent((relays.processor_seconds(relay.host) - between) / len(others), between - before)


# ---- tell


def _build_targets(table_type: str, ran: Mapping[str, list[Run]]) -> Iterator[Target]:
    for name in (ANEW, CHANGE):
        ratio = quotients(seconds(ran[name]), seconds(ran[POSTMAP]))
        yield Target(says=f"{name}, in times of `postmap`, {table_type}", found=ratio, limit=TIMES, unit="times")


def _day_target(spent: Sequence[Spent], customers: int) -> Target:
    (when, uploads), *_ = DAYS.items()
    return Target(
        says=f"a day of hourly uploads {when}, one in {ONE_IN} changed: share of a core",
        found=Spread.of(each.share(customers, uploads) for each in spent),
        limit=SHARE,
        unit="%",
    )


def _times(found: Mapping[str, Mapping[str, list[Run]]]) -> Table:
    rows = tuple(
        (
            table_type,
            *(Spread.of(seconds(ran[name])).text("s") for name in NAMES),
            *(figure(quotients(seconds(ran[name]), seconds(ran[POSTMAP])).median) for name in (ANEW, CHANGE)),
            *(Spread.of(one.cpu for one in ran[name]).text("s") for name in NAMES),
        )
        for table_type, ran in found.items()
    )
    ratios = (f"{name} / {POSTMAP}" for name in (ANEW, CHANGE))
    columns = ("type", *NAMES, *ratios, *(f"{name}, processor" for name in NAMES))
    return Table(says="Time of one build, on the clock and of the processors:", columns=columns, rows=rows)


def _profile(stages: Mapping[str, float], peak: int) -> Table:
    rows = tuple((name, figure(took * 1000)) for name, took in stages.items())
    says = f"Where a build's time goes, hash; its memory comes to {figure(peak / 1e6)} MB:"
    return Table(says=says, columns=("stage", "ms"), rows=rows)


def _sharing_table(shared: Sequence[Shared]) -> Table:
    rows = tuple(
        (figure(one.uploads), f"{figure(one.seconds)} s", figure(one.builds), f"{figure(one.cpu / one.uploads)} s")
        for one in shared
    )
    columns = (
        "uploads at once, all with a change",
        "until the last was told",
        "builds",
        "relay's processor, an upload",
    )
    return Table(says="Uploads that arrive together share builds:", columns=columns, rows=rows)


def _days(spent: Sequence[Spent], customers: int) -> Table:
    unchanged, changed = (Spread.of(values) for values in zip(*spent, strict=True))
    rows = [("an unchanged upload", unchanged.text("s")), ("one with a change, and its build", changed.text("s"))]
    for when, uploads in DAYS.items():
        share = Spread.of(each.share(customers, uploads) for each in spent)
        rows.append((f"share of a core, hourly {when}", share.text("%")))
    says = f"What a day of {customers:,} customers costs, one upload in {ONE_IN} with a change, none sharing a build:"
    return Table(says=says, columns=("", "the relay's processors, sshd included"), rows=tuple(rows))
