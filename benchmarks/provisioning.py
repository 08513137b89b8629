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
Four goals are missed. Ten relays keep both cores of this machine busy, which carries the relays as well, so what
counts is processor time. A look at an unchanged relay takes 0.21 s of it: sshd and what it starts (some 40 ms), Python
and compiling what is sent (56), `postconf` (10), `rebuild-relay-recips --check` (45), and the account's sudo, tried as
an upload does it (60). The first release had a smaller program, and did not try sudo. Were all these nothing but sshd,
the operator's own start would still keep it above the floor: 0.5 s with inventory, templates and kits, where Fabric
alone takes 0.2. pyinfra runs 51 commands there; Postern compares every file by content, asks Postfix, and has the
built tables checked against their sources. A first run takes 1.0 s of the relay's processor: the build and its
bytecode 0.35, sudo 0.17, `postconf` 0.1, and what is asked over SMTP before and after. What was tried:

- Sending a relay only what answers for what it is asked: 20 ms of 77 to compile at a look, 38 for `status`.
- Asking postconf for everything once instead of 45 times for a few parameters: 0.2 s of a first run.
- Putting main.cf in place three seconds old: 1.5 s of waiting in each first run, not of the processor. Not reloading a
  Postfix that does not name our tables yet: 1 s.
- The receiver's bytecode, made once by root, instead of compiling its modules at each start: 28 ms less.
- Python without `site` in the launchers: 3 ms less.
- Progress bar and tables loaded only for a terminal: 15 ms of the operator's start.
- Keeping compiled templates in a folder of Jinja's: 40 ms of the operator's start. By default it lies in /tmp, where
  another user can make it first. Not done.
- One `rebuild-relay-recips --check` as the account, in place of one as root and a look-up as the account: 45 ms. The
  account may not ask that. Not done.
- Trying sudo only when something changed: 60 ms. A line of sudoers that overrules ours later would be found by the
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
