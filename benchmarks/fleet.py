"""Many customers on many relays: what the commands for all of them take, and how many connections they open at once."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from benchmarks import relays, tools
from benchmarks.measuring import Run, Spread, figure, quotients, rounds, seconds
from benchmarks.relays import Seen
from benchmarks.report import Answer, Plot, Table, Target
from benchmarks.tools import Door, Tool
from common.exit_codes import PERSON
from fleet.relays import AT_ONCE
from lab.host import LabHost
from lab.operators import Operator

STATUS, PROVISION, ROTATE, FLOOR = NAMES = ("`status`", "`provision --all`", "`rotate-key --due`", "Fabric, `true`")
OLD = timedelta(days=360)  # a key of that age is due: a month ahead of a year
HELD = 3.0  # seconds that a relay's sshd is kept full
CROWD_SIZE = 4
CROWD = f"MaxStartups {CROWD_SIZE}:100:{CROWD_SIZE}"
HOW = """\
{customers} customers over {relays} relays, each on two of them, provisioned by Postern. Between runs of `rotate-key
--due` one in ten has a key that is due, so it begins {due} rotations, each a new key, a kit and a change on two
relays. The floor is Fabric opening {relays} connections, side by side, and running `true`. Connections at once are
counted in the kernel's table while the command runs, every {every:g} ms."""
_LOOK = 0.004  # seconds between two looks at the kernel's table
_ESTABLISHED = "01"


class Size(NamedTuple):
    """How much of it."""

    customers: int
    relays: int
    repeats: int

    @property
    def due(self) -> int:
        """Return how many keys are due."""
        return max(1, self.customers // 10)


FULL = Size(200, 20, 3)
QUICK = Size(6, 3, 1)


class Fleet:
    """The relays, and an operator who has them all."""

    def __init__(self, folder: Path, hosts: Sequence[LabHost], size: Size) -> None:
        """Provision all."""
        self.hosts, self.size, self.operator = hosts, size, Operator(folder / "operator")
        names = [f"mx{number}" for number, _ in enumerate(hosts)]
        for name, host in zip(names, hosts, strict=True):
            self.operator.relay(name, host)
        for number in range(size.customers):
            self.operator.customer(f"c{number}", relays=[names[number % len(names)], names[(number + 1) % len(names)]])
        self.first = tools.inv(self.operator, "provision --all")
        self._age(range(size.due))

    def _age(self, customers: Iterable[int]) -> None:
        """Date these customers' keys back, so that they were recorded long ago."""
        for number in customers:
            path = self.operator.inventory / f"keys/c{number}/k1.pub"
            *words, _ = path.read_text().split()
            path.write_text(f"{' '.join(words)} {(datetime.now(UTC) - OLD).date()}\n")

    def rotate(self) -> Run:
        """Begin the rotations that are due; then take them back, so that they are due again."""
        ran = tools.inv(self.operator, "rotate-key --due")
        tools.inv(self.operator, "rotate-key --due --undo")
        return ran

    def seen(self) -> Seen:
        """Add up what the relays' sshds have seen."""
        return Seen(*map(sum, zip(*(Seen.by(host) for host in self.hosts), strict=True)))

    def open(self) -> int:
        """Count the connections to the relays that are open now."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        ours = {f"{socket.inet_aton(host.address)[::-1].hex().upper()}:{host.port:04X}" for host in self.hosts}
        return sum(words[2] in ours and words[3] == _ESTABLISHED for words in map(str.split, lines))


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    with relays.started(size.relays) as hosts, tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        fleet = Fleet(Path(place), hosts, size)
        floor = tools.floor(Path(place) / "floor", [Door.of(host) for host in hosts])
        commands: dict[str, Tool] = {
            STATUS: lambda: tools.inv(fleet.operator, "status", codes=(PERSON,)),
            PROVISION: lambda: tools.inv(fleet.operator, "provision --all"),
            ROTATE: fleet.rotate,
            FLOOR: floor,
        }
        ran = rounds(size.repeats, commands)
        commands[ROTATE] = lambda: tools.inv(fleet.operator, "rotate-key --due")  # and leave it at that
        watched = {name: _watch_connections(fleet, command) for name, command in commands.items()}
    crowded = _run_on_full_sshd()
    return Answer(
        title="A fleet",
        how=HOW.format(customers=size.customers, relays=size.relays, due=size.due, every=_LOOK * 1000),
        targets=_targets(watched),
        tables=(_times(ran, fleet.first), _connections(watched), _crowd(crowded)),
        plot=Plot(
            title=f"{size.customers} customers over {size.relays} relays",
            x="",
            y="seconds",
            lines={"seconds": [(name, Spread.of(seconds(ran[name]))) for name in NAMES]},
        ),
    )


class Watched(NamedTuple):
    """One run of a command, as the relays and the kernel saw it."""

    seen: Seen
    at_once: int  # connections, at most


def _watch_connections(fleet: Fleet, command: Tool) -> Watched:
    before, most, ended = fleet.seen(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK):
            most.append(fleet.open())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        command()
    finally:
        ended.set()
        watcher.join()
    return Watched(fleet.seen().since(before), max(most))


class Crowded(NamedTuple):
    """A run against a relay whose sshd hangs up on newcomers for a while."""

    refused: int
    seconds: float


def _run_on_full_sshd() -> Crowded:
    """Fill a relay's sshd for a while with connections that do not log in, and run a command that needs it."""
    with relays.started(1, CROWD) as (host,), tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        operator = Operator(Path(place))
        operator.relay("mx1", host)
        operator.customer()
        tools.inv(operator, "provision acme")
        before = Seen.by(host)
        crowd = [socket.create_connection((host.address, host.port)) for _ in range(CROWD_SIZE)]
        leaving = threading.Timer(HELD, _close, crowd)
        leaving.start()
        ran = tools.inv(operator, "provision acme")
        leaving.join()
        return Crowded(Seen.by(host).since(before).refused, ran.seconds)


def _close(*some: socket.socket) -> None:
    for one in some:
        one.close()


# ---- tell


def _targets(watched: Mapping[str, Watched]) -> tuple[Target, ...]:
    refused = sum(one.seen.refused for name, one in watched.items() if name != FLOOR)
    says = "connections refused by sshd's MaxStartups, which is as Debian has it"
    return (Target(says=says, found=Spread.of([refused]), limit=0, unit="connections"),)


def _times(ran: Mapping[str, Sequence[Run]], first: Run) -> Table:
    rows = [
        (
            name,
            Spread.of(seconds(runs)).text("s"),
            figure(quotients(seconds(runs), seconds(ran[FLOOR])).median),
            figure(max(one.peak for one in runs) / 1e6),
            Spread.of(one.cpu for one in runs).text("s"),
        )
        for name, runs in ran.items()
    ]
    rows.append(
        (
            "`provision --all`, the first",
            f"{figure(first.seconds)} s",
            "",
            figure(first.peak / 1e6),
            f"{figure(first.cpu)} s",
        )
    )
    columns = ("", "from start to end", "in times of the floor", "MB of memory", "operator's processor")
    return Table(says="", columns=columns, rows=tuple(rows))


def _connections(watched: Mapping[str, Watched]) -> Table:
    rows = tuple(
        (name, figure(one.at_once), figure(one.seen.connections), figure(one.seen.commands), figure(one.seen.refused))
        for name, one in watched.items()
    )
    columns = ("", "open at once, at most", "connections", "remote commands", "refused")
    says = (
        f"One run each. Postern works on {AT_ONCE} relays at a time (`fleet/relays.py`), one connection to each; "
        "`provision` keeps them until all have been looked at:"
    )
    return Table(says=says, columns=columns, rows=rows)


def _crowd(found: Crowded) -> Table:
    says = (
        f"A relay with `{CROWD}`, whose places are all taken for {HELD:g} s by connections that do not log in: "
        "`provision` is hung up on, waits, tries again, and ends as if nothing had been."
    )
    rows = (("`provision` of one customer, nothing changed", figure(found.refused), f"{figure(found.seconds)} s"),)
    return Table(says=says, columns=("", "hung up on", "from start to end"), rows=rows)
