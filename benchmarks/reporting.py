"""The page of `inv report` for many customers on many relays: seconds to make, its size, seconds to open."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import made_spools, relays, tools
from benchmarks.fleet import Fleet, Size
from benchmarks.made_logs import DAYS, made_log, made_refusals
from benchmarks.measuring import Run, Spread, figure, rounds, seconds
from benchmarks.report import Answer, Plot, Table, Target
from benchmarks.tools import Door, Tool
from commands.report import PAGE
from common.exit_codes import PERSON
from common.paths import REBUILD
from lab import chromium, roots
from lab.chromium import Screen
from lab.host import LabHost
from receiver.lists.upload_log import encode_entry
from receiver.monitoring import refusals_file
from receiver.monitoring.refusals_file import StoredRefusals

REPORT, STATUS, FLOOR = NAMES = ("`report`", "`status`", "Fabric, `true`")
FULL, QUICK = Size(1_000, 20, 3), Size(6, 3, 1)
MAKING, OPENING = 10.0, 1.0  # seconds
_PEOPLE = 300  # recipients of each customer
HOW = """\
{customers} customers over {relays} relays, each on two of them, provisioned by Postern. Their lists, logs of {days}
days and refusals are made and not real: {people} recipients each, a change on most working days, twelve uploads a day.
`inv report` asks every relay and writes the page; then a Chromium of Debian opens it from the disk, anew each time,
until two frames after the page's load event."""


def measure(quick: bool) -> Answer:
    """Measure it."""
    size = QUICK if quick else FULL
    roots.install_needed(chromium.PACKAGES)
    with relays.started(size.relays) as hosts, tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        fleet = Fleet(Path(place), hosts, size)
        with ThreadPoolExecutor(4) as side:
            list(side.map(_fill, hosts))
        page = Path(place) / "page"
        commands: dict[str, Tool] = {
            REPORT: lambda: tools.inv(fleet.operator, f"report --out {page}"),
            STATUS: lambda: tools.inv(fleet.operator, "status", codes=(0, PERSON)),
            FLOOR: tools.floor(Path(place) / "floor", [Door.of(host) for host in hosts]),
        }
        ran = rounds(size.repeats, commands)
        opened = _open(page / PAGE, size.repeats + 2)
        octets = (page / PAGE).stat().st_size
    return Answer(
        title="The report",
        how=HOW.format(customers=size.customers, relays=size.relays, days=DAYS, people=_PEOPLE),
        targets=(
            Target(says=_target_text("made", size), found=Spread.of(seconds(ran[REPORT])), limit=MAKING, unit="s"),
            Target(says=_target_text("opened", size), found=Spread.of(opened), limit=OPENING, unit="s"),
        ),
        tables=(_times(ran, opened, octets),),
        plot=Plot(
            title=f"{size.customers} customers over {size.relays} relays",
            x="",
            y="seconds",
            lines={
                "seconds": [*((name, Spread.of(seconds(ran[name]))) for name in NAMES), ("opened", Spread.of(opened))]
            },
        ),
    )


def _target_text(what: str, size: Size) -> str:
    return f"`inv report`, {size.customers} customers over {size.relays} relays: {what}"


def _times(ran: dict[str, list[Run]], opened: Iterable[float], octets: int) -> Table:
    rows = [
        (
            name,
            Spread.of(seconds(some)).text("s"),
            figure(Spread.of(one.peak / 1e6 for one in some).median),
            Spread.of(one.cpu for one in some).text("s"),
        )
        for name, some in ran.items()
    ]
    rows.append((f"the page, {figure(octets / 1e6)} MB, opened", Spread.of(opened).text("s"), "", ""))
    columns = ("", "from start to end", "MB of memory", "operator's processor")
    return Table(says="The relays share this machine's two cores with the operator.", columns=columns, rows=tuple(rows))


def _open(page: Path, times: int) -> list[float]:
    found = []
    for _ in range(times):
        with chromium.opened() as tab:
            tab.show(Screen())
            found.append(tab.open(page))
    return found


def _fill(host: LabHost) -> None:
    """Write a list, a log and refusals for every customer of a relay, and build its tables."""
    now, people = int(time.time()), [f"person{number:04}" for number in range(_PEOPLE)]
    for spool in sorted((host.root / "var/lib/postern/customers").iterdir()):
        seed = int(spool.name[1:])
        (spool / "log").write_text("".join(json.dumps(encode_entry(entry)) + "\n" for entry in made_log(seed, now)))
        _save_refusals(spool, seed, now)
        made_spools.write_list(spool, f"{spool.name}.example", people, now - 3600)
    host.run(REBUILD)


def _save_refusals(spool: Path, seed: int, now: int) -> None:
    folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY)
    try:
        refusals_file.save(folder, StoredRefusals(made_refusals(seed, now), ""))
    finally:
        os.close(folder)
