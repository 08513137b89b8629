"""What a benchmark found, as it is kept and as docs/performance.md tells it: targets, tables, one plot a question."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from benchmarks import peers
from benchmarks.measuring import Spread, figure

PAGE = "performance.md"
FOLDER = "performance"
QUICK = "**Quick: few runs, small numbers. This shows that the benchmark works; it is no measurement.**"
_HEAD = """\
# Performance

`./inv bench` writes this page; `./inv bench --only NAME` one part of it. It needs root on Debian, as the lab does, and
some gigabytes of memory; nothing else should run meanwhile.

Every figure is of whole programs, from their start to their end, on lab hosts: Debian {release} in namespaces of this
one machine, which carries both the operator's side and the relays. A figure is the median of several runs, with the
lowest and the highest in brackets. Programs that are compared ran in turns within the same rounds, every other round in
reverse order; a ratio is the median of the rounds' ratios. The figures are beside the plots, `{folder}/NAME.json`.
"""


class Kept(BaseModel, frozen=True, extra="forbid"):
    """What is written to a file and read again."""


class Target(Kept):
    """A goal of docs/design.md, and what was found."""

    says: str
    found: Spread
    limit: float
    unit: str  # "times", "s"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Return whether it is met."""
        return self.found.median >= self.limit if self.at_least else self.found.median <= self.limit

    def row(self) -> tuple[str, ...]:
        """Write it for a table."""
        word = "at least" if self.at_least else "at most"
        verdict = "met" if self.met else "**missed**"
        by = f": {figure(self.found.median / self.limit)} of it" if self.limit else ""
        return self.says, f"{word} {figure(self.limit)} {self.unit}", self.found.text(self.unit), f"{verdict}{by}"


class Table(Kept):
    """Rows under a sentence."""

    says: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Plot(Kept):
    """One picture: lines over numbers, or a bar for each name."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float | str, Spread]]]
    log: Literal["", "x", "y", "xy"] = ""


class Answer(Kept):
    """What is known of a question."""

    title: str
    how: str  # what was measured, and how
    targets: tuple[Target, ...] = ()
    tables: tuple[Table, ...]
    plot: Plot
    notes: str = ""  # what the figures do not say: what was tried where a goal is missed, and what it gave


class Record(Kept):
    """An answer, and where it comes from."""

    answer: Answer
    day: str
    machine: str
    quick: bool


def machine() -> str:
    """Name this machine by what makes it fast or slow."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version}" for name, version in peers.versions().items())
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"Linux {platform.release()}, Python {platform.python_version()}; {versions}"
    )


def keep(docs: Path, name: str, record: Record) -> None:
    """Store an answer, draw its plot, and write the page anew from all stored answers."""
    folder = docs / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(record.model_dump_json(indent=1) + "\n", "utf-8")
    draw(record.answer.plot, folder / f"{name}.svg", record.quick)


def write(docs: Path, names: Iterable[str], release: str) -> None:
    """Write the page from all that is kept, in this order."""
    kept = {name: docs / FOLDER / f"{name}.json" for name in names}
    records = {
        name: Record.model_validate_json(path.read_text("utf-8")) for name, path in kept.items() if path.exists()
    }
    (docs / PAGE).write_text(page(records, release), "utf-8")


def page(records: dict[str, Record], release: str) -> str:
    """Compose the page."""
    quick = [name for name, record in records.items() if record.quick]
    parts = [_HEAD.format(release=release, folder=FOLDER)]
    if quick:
        parts.append(f"{QUICK.rstrip('*')} It holds for: {', '.join(quick)}.**\n")
    parts += [f"Machine: {each}.\n" for each in dict.fromkeys(record.machine for record in records.values())]
    targets = [
        (*target.row(), f"[{name}](#{name})") for name, record in records.items() for target in record.answer.targets
    ]
    parts.append("## Targets\n\n" + grid(("target", "goal", "measured", "", "part"), targets))
    parts += ["\n".join(_section(name, record)) for name, record in records.items()]
    return "\n".join(parts)


def _section(name: str, record: Record) -> Iterator[str]:
    answer = record.answer
    yield f'## <a id="{name}"></a>{answer.title}\n'
    if record.quick:
        yield f"{QUICK}\n"
    yield f"{answer.how}\n"
    for table in answer.tables:
        yield "\n\n".join([*([table.says] if table.says else []), grid(table.columns, table.rows)])
    yield f"![{answer.plot.title}]({FOLDER}/{name}.svg)\n"
    if answer.notes:
        yield f"{answer.notes}\n"
    yield f"`./inv bench --only {name}{' --quick' if record.quick else ''}`, {record.day}.\n"


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown; columns but the first are aligned to the right."""
    ruler = ["---", *["---:"] * (len(columns) - 1)]
    lines = (columns, ruler, *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(plot: Plot, file: Path, quick: bool) -> None:
    """Draw it by matplotlib, which is in the venv of the peers."""
    asked = plot.model_copy(update={"title": f"{plot.title} (quick, no measurement)" if quick else plot.title})
    argv = [peers.program("python"), Path(__file__).with_name("plots.py"), file]
    subprocess.run(argv, input=asked.model_dump_json().encode(), check=True)
