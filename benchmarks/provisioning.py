"""A relay and one customer, set up by Postern, by pyinfra and by Ansible: the first time, and when nothing changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import relays, tools
from benchmarks.counting import ADDRESS, Way
from benchmarks.measuring import FailedError, Spread, figure, quotients, rounds, seconds
from benchmarks.relays import Seen
from benchmarks.report import Answer, Plot, Table, Target
from benchmarks.tools import Door, Tool
from lab.host import LabHost

RELAYS = {1: (2, 4), 10: (1, 5), 20: (1, 2)}  # so many relays: so many first runs, and unchanged runs after each
QUICK = {1: (1, 1), 2: (1, 1)}
POSTERN, PYINFRA, ANSIBLE, FLOOR = NAMES = ("Postern", "pyinfra", "Ansible", "Fabric, `true`")
AIMED = 10  # relays of the targets
FASTER = {ANSIBLE: 40, PYINFRA: 6}  # times
FIRST = (20, 2)  # relays of a first run, and how many times faster than pyinfra
BESIDE = 2  # times the floor
HOW = """\
One customer on so many relays. pyinfra's deploy and Ansible's playbook are in `benchmarks/pyinfra` and
`benchmarks/ansible`, written as somebody would who knows them, with what makes them fast: connections kept,
pipelining, a fork for each relay, no needless facts, one archive in place of a file at a time. All three leave the
same relay behind, file by file, which is checked. Only Postern looks at the relay before it writes, asks it over SMTP
before and after, and proves its tables. The floor is Fabric opening the same connections, side by side, and running
`true`."""
"""The text above the tables of this part on the page."""


class Found(NamedTuple):
    """Runs by tool."""

    first: Mapping[str, Sequence[float]]
    unchanged: Mapping[str, Sequence[float]]


class Counted(NamedTuple):
    """What one run on one relay took."""

    seen: Seen
    bytes: int
    cpu: float


def measure(quick: bool) -> Answer:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        folder = Path(place)
        facts = _facts(folder / "facts")
        sizes = QUICK if quick else RELAYS
        found = {count: _measure_tools(folder / f"{count}", count, *runs, facts) for count, runs in sizes.items()}
        counted = _count_requests(folder, facts)
    aimed = AIMED if AIMED in found else max(found)
    return Answer(
        title="Provisioning, beside Ansible and pyinfra",
        how=HOW,
        targets=(*_targets(aimed, found[aimed]), *_first_targets(found)),
        tables=(_times(found), _costs(counted)),
        plot=Plot(
            title="Provisioning relays on which nothing changed",
            x="relays",
            y="seconds",
            log="y",
            lines={name: [(count, Spread.of(each.unchanged[name])) for count, each in found.items()] for name in NAMES},
        ),
        notes=NOTES,
    )


NOTES = """\
Three goals are missed. Ten relays keep both cores of this machine busy, which carries the relays as well, so what
counts is processor time. A look at an unchanged relay takes 0.23 s of it: sshd, Python's start (8 ms), compiling what
is sent (24), two `postconf` (10), `rebuild-relay-recips --check` (41), and the account's sudo, tried as an upload does
it (55). The first release did not try sudo. pyinfra runs 51 commands there; Postern compares every file by content,
asks Postfix, and has the built tables checked against their sources. A first run takes 1.5 s of the relay's processor:
45 `postconf` 0.35, the build 0.35, and what is asked over SMTP before and after. What was tried:

- One `postconf` in a look instead of three: 14 ms less.
- The receiver's bytecode, made once by root, instead of compiling its modules at each start: 28 ms less.
- Python without `site` in the launchers: 3 ms less.
- Progress bar and tables loaded only for a terminal: 15 ms of the operator's start.
- Settings of the customers' trees read once on the relay and not twice.
- Loading of what is sent only the modules that are asked for: 5 ms of the 24, and a program that is harder to read.
  Not done.
- Checking the tables in the remote program's own process: some 15 ms. It would run what is installed there instead of
  asking it. Not done.
- Trying sudo only when something changed: 55 ms. A line of sudoers that overrules ours later would be found by the
  customers' uploads. Not done."""


def _facts(folder: Path) -> dict[str, Any]:
    with relays.started(1) as (host,):
        tools.postern(folder, [Door.of(host)])()
        return tools.facts_of(host)


def _measure_tools(folder: Path, count: int, firsts: int, repeats: int, facts: Mapping[str, Any]) -> Found:
    folder.mkdir()
    first: dict[str, list[float]] = {name: [] for name in NAMES[:-1]}
    unchanged: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(firsts):
        with relays.started(3 * count) as hosts:
            sets = {name: hosts[place::3] for place, name in enumerate(first)}
            prepared = _tools(folder / f"{number}", sets, facts)
            for name, ran in rounds(1, {name: prepared[name] for name in first}).items():
                first[name] += seconds(ran)
            _check_same_state(sets)
            for name, ran in rounds(repeats, prepared).items():
                unchanged[name] += seconds(ran)
    return Found(first, unchanged)


def _tools(folder: Path, sets: Mapping[str, Sequence[LabHost]], facts: Mapping[str, Any]) -> dict[str, Tool]:
    folder.mkdir()
    doors = {name: [Door.of(host) for host in hosts] for name, hosts in sets.items()}
    return {
        POSTERN: tools.postern(folder / "postern", doors[POSTERN]),
        PYINFRA: tools.pyinfra(folder / "pyinfra", doors[PYINFRA], facts),
        ANSIBLE: tools.ansible(folder / "ansible", doors[ANSIBLE], facts),
        FLOOR: tools.floor(folder / "floor", doors[POSTERN]),
    }


def _check_same_state(sets: Mapping[str, Sequence[LabHost]]) -> None:
    """Raise FailedError unless all tools left the same state on their relays."""
    states = {name: tools.state_of(hosts[0]) for name, hosts in sets.items()}
    wanted = states[POSTERN]
    for name, state in states.items():
        if odd := sorted(set(state) ^ set(wanted)):
            told = ", ".join(line.partition("\n")[0] for line in odd)
            raise FailedError(f"{name} leaves another relay behind than Postern does: {told}")


def _count_requests(folder: Path, facts: Mapping[str, Any]) -> dict[str, list[Counted]]:
    """Count the requests of each tool to one relay: of a first run, then of an unchanged one."""
    made: dict[str, Callable[[Path, Sequence[Door]], Tool]] = {
        POSTERN: tools.postern,
        PYINFRA: lambda place, doors: tools.pyinfra(place, doors, facts),
        ANSIBLE: lambda place, doors: tools.ansible(place, doors, facts),
    }
    return {name: _count(folder / f"counted-{name}", make) for name, make in made.items()}


def _count(folder: Path, make: Callable[[Path, Sequence[Door]], Tool]) -> list[Counted]:
    with relays.started(1) as (host,), Way(host.address) as way:
        tool = make(folder, [Door(ADDRESS, way.port, host.host_keys)])
        return [_count_once(host, way, tool) for _ in range(2)]


def _count_once(host: LabHost, way: Way, tool: Tool) -> Counted:
    seen, sent = Seen.by(host), way.bytes
    ran = tool()
    return Counted(Seen.by(host).since(seen), way.bytes - sent, ran.cpu)


# ---- tell


def _targets(count: int, found: Found) -> tuple[Target, ...]:
    times, says = found.unchanged, f"{count} unchanged relays"
    beside = Target(
        says=f"{says}, in times of opening the connections and running `true`",
        found=quotients(times[POSTERN], times[FLOOR]),
        limit=BESIDE,
        unit="times",
    )
    faster = (
        Target(
            says=f"{says}: faster than {name}",
            found=quotients(times[name], times[POSTERN]),
            limit=goal,
            unit="times",
            at_least=True,
        )
        for name, goal in FASTER.items()
    )
    return (*faster, beside)


def _first_targets(found: Mapping[int, Found]) -> Iterator[Target]:
    count, goal = FIRST
    if count in found:
        times = found[count].first
        says, faster = f"{count} relays, first run: faster than {PYINFRA}", quotients(times[PYINFRA], times[POSTERN])
        yield Target(says=says, found=faster, limit=goal, unit="times", at_least=True)


def _times(found: Mapping[int, Found]) -> Table:
    rows = []
    for count, each in found.items():
        for what, times in (("first run", each.first), ("unchanged", each.unchanged)):
            ran = [Spread.of(times[name]).text("s") if name in times else "" for name in NAMES]
            ratios = [f"{figure(quotients(times[name], times[POSTERN]).median)}" for name in (PYINFRA, ANSIBLE)]
            of_floor = figure(quotients(times[POSTERN], times[FLOOR]).median) if FLOOR in times else ""
            rows.append((f"{count} relay{'s' * (count > 1)}, {what}", *ran, *ratios, of_floor))
    columns = ("", *NAMES, "pyinfra / Postern", "Ansible / Postern", "Postern / floor")
    return Table(says="Time from start to end:", columns=columns, rows=tuple(rows))


def _costs(counted: Mapping[str, Sequence[Counted]]) -> Table:
    rows = tuple(
        (
            f"{name}, {what}",
            figure(one.seen.connections),
            figure(one.seen.commands),
            figure(one.bytes / 1000),
            figure(one.cpu),
        )
        for name, each in counted.items()
        for what, one in zip(("first run", "unchanged"), each, strict=True)
    )
    says = "What one relay is asked for, as its sshd logs it and as it is counted on the way there:"
    return Table(says=says, columns=("", "connections", "remote commands", "kB", "operator's processor s"), rows=rows)
