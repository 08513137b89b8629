"""More and more relays: what the commands for all of them take, and what of it is the operator's own processor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import relays, tools
from benchmarks.measuring import Run, Spread, figure, quotients, rounds, seconds
from benchmarks.report import Answer, Plot, Table
from benchmarks.tools import Door, Tool
from common.exit_codes import PERSON
from fleet.relays import AT_ONCE
from lab.host import LabHost
from lab.operators import Operator

RELAYS = {1: 5, 10: 5, 100: 3}  # so many relays: so many rounds
QUICK = {1: 1, 2: 1}
_EACH = 2  # customers that come with each relay
STATUS, NOTHING, FLOOR = NAMES = ("`status`", "`provision --all`, nothing changed", "Fabric, `true`")
HOW = """\
So many relays, all of them on this machine, and {each} customers for each, every one on two relays where there are two.
The floor is Fabric opening all connections, side by side, and running `true`. Postern works on {at_once} relays at a
time."""
NOTES = """\
All relays share the processors of this machine with the operator: where they are machines of their own, what grows is
the operator's processor."""


class Found(NamedTuple):
    """What was found with some number of relays."""

    ran: Mapping[str, Sequence[Run]]
    first: Run  # that provisioned those that came


def measure(quick: bool) -> Answer:
    """Measure it."""
    sizes, found = QUICK if quick else RELAYS, dict[int, Found]()
    with relays.started(max(sizes)) as hosts, tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        operator = Operator(Path(place) / "operator")
        for count, repeats in sizes.items():
            known = max(found, default=0)
            found[count] = _measure_relays(operator, hosts[:count], known, repeats, Path(place) / f"{count}")
    return Answer(
        title="More relays",
        how=HOW.format(each=_EACH, at_once=AT_ONCE),
        targets=(),
        tables=(_times(found),),
        plot=Plot(
            title="One command, many relays",
            x="relays",
            y="seconds",
            log="xy",
            lines={
                name: [(count, Spread.of(seconds(each.ran[name]))) for count, each in found.items()] for name in NAMES
            },
        ),
        notes=NOTES,
    )


def _measure_relays(operator: Operator, hosts: Sequence[LabHost], known: int, repeats: int, folder: Path) -> Found:
    """Bring the relays to these, `known` of which there are already, with their customers; look at all of them."""
    names = [f"mx{number}" for number, _ in enumerate(hosts)]
    for name, host in [*zip(names, hosts, strict=True)][known:]:
        operator.relay(name, host)
    for number in range(_EACH * len(hosts)):
        two = {names[number % len(names)]: None, names[(number + 1) % len(names)]: None}
        operator.customer(f"c{number}", relays=[*two])
    first = tools.inv(operator, "provision --all")
    commands: dict[str, Tool] = {
        STATUS: lambda: tools.inv(operator, "status", codes=(PERSON,)),
        NOTHING: lambda: tools.inv(operator, "provision --all"),
        FLOOR: tools.floor(folder, [Door.of(host) for host in hosts]),
    }
    return Found(rounds(repeats, commands), first)


def _times(found: Mapping[int, Found]) -> Table:
    rows = tuple(
        (
            figure(count),
            *(Spread.of(seconds(each.ran[name])).text("s") for name in NAMES),
            figure(quotients(seconds(each.ran[NOTHING]), seconds(each.ran[FLOOR])).median),
            *(figure(Spread.of(run.cpu for run in each.ran[name]).median) for name in (STATUS, NOTHING)),
            f"{figure(each.first.seconds)} s",
        )
        for count, each in found.items()
    )
    columns = (
        *("relays", *NAMES, "nothing changed / floor"),
        *("operator's processor: `status`, s", "nothing changed, s", "provisioning those who came, once"),
    )
    return Table(says="Time from start to end:", columns=columns, rows=rows)
