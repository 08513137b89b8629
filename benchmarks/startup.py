"""What `inv --list` takes, and which imports that is."""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measuring import Run, Spread, figure, quotients, rounds, run, seconds
from benchmarks.report import Answer, Plot, Table, Target

REPO = Path(__file__).resolve().parent.parent
INV, PLAIN, BARE = "./inv --list", "plain Invoke, one task", "python -c pass"
LISTING = 0.3  # seconds
HEAVY = ("fabric", "paramiko", "cryptography", "pydantic", "jinja2", "rich")
SHOWN = 8
TASKS = "from invoke import task\n\n@task\ndef one(c):\n    pass\n"
HOW = """\
`./inv --list` from the shell, beside Invoke listing a file with one task, and beside Python starting and ending:
nobody who uses Invoke can be below the second, nor anybody who uses Python below the third."""
LINE = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)


def measure(quick: bool) -> Answer:
    """Measure it."""
    with tempfile.TemporaryDirectory(prefix="postern-bench-") as place:
        tasks = Path(place)
        (tasks / "tasks.py").write_text(TASKS)
        programs: dict[str, Sequence[str | Path]] = {
            INV: [REPO / "inv", "--list"],
            PLAIN: [sys.executable, "-m", "invoke", "--search-root", tasks, "--list"],
            BARE: [sys.executable, "-c", "pass"],
        }
        contenders = {name: _runner(argv) for name, argv in programs.items()}
        rounds(1, contenders)  # what is compiled and read from the disk once
        found = {name: seconds(ran) for name, ran in rounds(3 if quick else 20, contenders).items()}
    return Answer(
        title="Start-up",
        how=HOW,
        targets=(Target(says=f"`{INV}`", found=Spread.of(found[INV]), limit=LISTING, unit="s"),),
        tables=(_times(found), _imports()),
        plot=Plot(
            title="Start-up",
            x="",
            y="seconds",
            lines={"seconds": [(name, Spread.of(times)) for name, times in found.items()]},
        ),
    )


def _runner(argv: Sequence[str | Path]) -> Callable[[], Run]:
    return lambda: run(argv, cwd=REPO)


def _times(found: dict[str, list[float]]) -> Table:
    rows = tuple(
        (f"`{name}`", Spread.of(times).text("s"), figure(quotients(times, found[BARE]).median))
        for name, times in found.items()
    )
    return Table(says="", columns=("", "time", f"in times of `{BARE}`"), rows=rows)


def _imports() -> Table:
    """Add up Python's own profile by package. What is heavy and not needed must not be in it."""
    profile = run([sys.executable, "-X", "importtime", REPO / "cli.py", "--list"], cwd=REPO).out
    spent: Counter[str] = Counter()
    for microseconds, name in LINE.findall(profile):
        top = name.partition(".")[0]
        spent["the standard library" if top in sys.stdlib_module_names else top] += int(microseconds)
    absent = [name for name in HEAVY if name not in spent]
    rows = [(name, figure(time / 1000)) for name, time in spent.most_common(SHOWN)]
    says = f"Imports of `cli.py --list`, as `-X importtime` has them. Not imported: {', '.join(absent)}."
    return Table(says=says, columns=("package", "ms"), rows=tuple(rows))
