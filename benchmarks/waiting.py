"""What a person waits for: the commands of a day, and what the shell completes at each press of Tab."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import relays, tools
from benchmarks.measuring import Run, Spread, figure, quotients, rounds, run, seconds
from benchmarks.report import Answer, Plot, Table, Target
from benchmarks.tools import REPO, Door, Tool
from common.exit_codes import DONE, HELD, PERSON
from lab.host import LabHost
from lab.operators import Operator, export, people

FIRST, STATUS, REVIEW, EXPLAIN, TAB, FLOOR = NAMES = (
    "`provision` of a new customer",
    "`status`",
    "`review` of a first list",
    "`explain`",
    "Tab",
    "Fabric, `true`",
)
COMPLETING = 0.1  # seconds
BIG = "big"
HOW = """\
{customers} customers on two relays, and one whose first list of {names} names is held there. A new customer comes to
one relay, with a key and a kit; `status` asks both relays about everybody; `review` shows the list and who had mail;
`explain` is asked about a name of it. Tab is what the shell runs after `inv sync c1`. The floor is Fabric opening both
connections and running `true`."""


class Size(NamedTuple):
    """How much of it."""

    customers: int
    names: int
    repeats: int


FULL, QUICK = Size(150, 10_000, 5), Size(3, 20, 1)


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    with relays.started(2) as hosts, tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        operator = _provision_operator(Path(place) / "operator", hosts, size)
        floor = tools.floor(Path(place) / "floor", [Door.of(host) for host in hosts])
        ran = rounds(size.repeats, _commands(operator, floor))
    return Answer(
        title="What a person waits for",
        how=HOW.format(customers=size.customers, names=figure(size.names)),
        targets=(Target(says="Tab", found=Spread.of(seconds(ran[TAB])), limit=COMPLETING, unit="s"),),
        tables=(_times(ran),),
        plot=Plot(
            title="What a person waits for",
            x="",
            y="seconds",
            lines={"seconds": [(name, Spread.of(seconds(ran[name]))) for name in NAMES]},
        ),
    )


def _provision_operator(folder: Path, hosts: Sequence[LabHost], size: Size) -> Operator:
    """Return an operator whose customers are provisioned, and one of whom waits for a person."""
    operator = Operator(folder)
    names = [f"mx{number}" for number, _ in enumerate(hosts)]
    for name, host in zip(names, hosts, strict=True):
        operator.relay(name, host)
    for customer in (*(f"c{number}" for number in range(size.customers)), BIG):
        operator.customer(customer, relays=names)
    tools.inv(operator, "provision --all")
    for number, _ in enumerate(hosts):
        ended = operator.upload(export(*people(size.names), domain=f"{BIG}.example"), BIG, number)
        assert ended.code == HELD, ended.text
    return operator


def _commands(operator: Operator, floor: Tool) -> dict[str, Tool]:
    numbers = itertools.count()

    def provision() -> Run:
        name = f"new{next(numbers)}"
        operator.customer(name, relays=["mx0"])
        return tools.inv(operator, f"provision {name}")

    asked = {STATUS: "status", REVIEW: f"review {BIG}", EXPLAIN: f"explain {people(1)[0]}@{BIG}.example"}
    complete: list[str | Path] = [REPO / "inv", "--complete", "--", "inv", "sync", "c1"]
    return {
        FIRST: provision,
        **{name: _command_tool(operator, words) for name, words in asked.items()},
        TAB: lambda: run(complete, environment=operator.environment),
        FLOOR: floor,
    }


def _command_tool(operator: Operator, words: str) -> Tool:
    return lambda: tools.inv(operator, words, codes=(DONE, HELD, PERSON))


def _times(ran: dict[str, list[Run]]) -> Table:
    rows = tuple(
        (
            name,
            Spread.of(seconds(some)).text("s"),
            figure(quotients(seconds(some), seconds(ran[FLOOR])).median),
            Spread.of(one.cpu for one in some).text("s"),
        )
        for name, some in ran.items()
    )
    columns = ("", "from start to end", "in times of the floor", "operator's processor")
    return Table(says="", columns=columns, rows=rows)
