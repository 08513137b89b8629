"""Many customers on one relay: what it costs when nothing changed, and when one did."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import relays, tools
from benchmarks.measuring import Run, Spread, figure, quotients, rounds, seconds
from benchmarks.relays import Seen
from benchmarks.report import Answer, Plot, Table, Target
from benchmarks.tools import Door, Tool
from common.exit_codes import PERSON
from lab.host import LabHost
from lab.operators import Operator

CUSTOMERS = {1: 9, 10: 9, 100: 5, 200: 5, 1_000: 3, 10_000: 1}  # so many customers: so many rounds
QUICK = {1: 2, 10: 2}
AIMED = 200
BESIDE = (1_000, 5)  # customers, and times the floor
NOTHING, SINGLE, CHANGED, STATUS, FLOOR = NAMES = (
    "`provision --all`, nothing changed",
    "`provision c0`",
    "`provision --all`, one changed",
    "`status`",
    "Fabric, `true`",
)
HOW = """\
One relay, and so many customers on it, each with a domain, a route, a key and a kit. The floor is Fabric opening the
connection and running `true`. A look at an unchanged relay takes in every customer's tree, spool and key line, the
tables and main.cf; `--all` also compares every customer's kit."""


class Found(NamedTuple):
    """What was found with some number of customers."""

    times: Mapping[str, list[float]]
    seen: Mapping[str, Seen]  # in one run each
    added: float  # seconds that provisioning those took who came


def measure(quick: bool) -> Answer:
    """Measure it."""
    found = {}
    with relays.started(1) as (host,), tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        operator = Operator(Path(place) / "operator")
        operator.relay("mx1", host)
        floor = tools.floor(Path(place) / "floor", [Door.of(host)])
        for count, repeats in (QUICK if quick else CUSTOMERS).items():
            found[count] = _measure_customers(operator, host, floor, count, repeats)
    return Answer(
        title="Many customers on one relay",
        how=HOW,
        targets=(
            *_targets(found[max(count for count in found if count <= AIMED)], min(AIMED, max(found))),
            *_beside_floor(found),
        ),
        tables=(_times(found), _costs(found)),
        plot=Plot(
            title="One relay, many customers",
            x="customers",
            y="seconds",
            log="xy",
            lines={name: [(count, Spread.of(each.times[name])) for count, each in found.items()] for name in NAMES},
        ),
        notes=NOTES,
    )


NOTES = """\
The relay is asked once whatever their number: what grows is the operator's own reading of the inventory and composing
of trees and kits, and on the relay the reading and hashing of six files a customer. From 1,000 customers to 10,000 the
curves are straight; below 100 they are the start of both programs.

One goal is missed. Of the 3.6 s for 1,000 customers 1.5 compose their kits, to compare them with those in the folders,
0.9 are the relay's answer, 0.5 the start and the inventory. What was tried:

- Rendering a kit's files once and not three times, making host keys' fingerprints once, and reading the inventory again
  only when keys were recorded: from 5.5 s to 3.6.
- Reading the settings of each tree on the relay once and not twice.
- Comparing a kit by its digest on record instead of composing it: 1.5 s less, and a template that changed would not be
  seen. Not done."""


def _measure_customers(operator: Operator, host: LabHost, floor: Tool, count: int, repeats: int) -> Found:
    """Bring the customers to this number and look at them."""
    for number in range(len(list(operator.inventory.glob("customers/*"))), count):
        operator.customer(f"c{number}")
    added = tools.inv(operator, "provision --all").seconds
    ones = itertools.cycle((["one"], ["other"]))

    def change() -> Run:
        operator.customer("c0", exclude=next(ones))
        return tools.inv(operator, "provision --all")

    commands: dict[str, Tool] = {
        NOTHING: lambda: tools.inv(operator, "provision --all"),
        SINGLE: lambda: tools.inv(operator, "provision c0"),
        CHANGED: change,
        STATUS: lambda: tools.inv(operator, "status", codes=(PERSON,)),
        FLOOR: floor,
    }
    change()
    times = {name: seconds(ran) for name, ran in rounds(repeats, commands).items()}
    seen = {name: relays.seen_by(host, command) for name, command in commands.items()}
    return Found(times, seen, added)


# ---- tell


def _targets(found: Found, count: int) -> tuple[Target, ...]:
    seen, says = found.seen[NOTHING], f"`provision --all`, {count} customers on one relay, nothing changed"
    counted = {"connections": seen.connections, "remote commands": seen.commands}
    return tuple(
        Target(says=f"{says}: {what}", found=Spread.of([number]), limit=1, unit=what)
        for what, number in counted.items()
    )


def _beside_floor(found: Mapping[int, Found]) -> Iterator[Target]:
    count, goal = BESIDE
    if count in found:
        times = found[count].times
        says = f"`provision --all`, {count:,} customers on one relay, nothing changed, in times of the floor"
        yield Target(says=says, found=quotients(times[NOTHING], times[FLOOR]), limit=goal, unit="times")


def _times(found: Mapping[int, Found]) -> Table:
    rows = tuple(
        (
            figure(count),
            *(Spread.of(each.times[name]).text("s") for name in NAMES),
            figure(quotients(each.times[NOTHING], each.times[FLOOR]).median),
            f"{figure(each.added)} s",
        )
        for count, each in found.items()
    )
    columns = ("customers", *NAMES, "nothing changed / floor", "adding those who came, once")
    return Table(says="Time from start to end:", columns=columns, rows=rows)


def _costs(found: Mapping[int, Found]) -> Table:
    rows = tuple(
        (figure(count), *(f"{each.seen[name].connections}, {each.seen[name].commands}" for name in NAMES))
        for count, each in found.items()
    )
    says = "Connections and remote commands of one run, as the relay's sshd logs them:"
    return Table(says=says, columns=("customers", *NAMES), rows=rows)
