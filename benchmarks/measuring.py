"""Runs of whole programs, in rounds whose order turns, and what is made of them: medians and spread."""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

Got = TypeVar("Got")
Argv: TypeAlias = Sequence[str | Path]
_LOOK = 0.01  # seconds between two looks at memory


class Run(NamedTuple):
    """One program from start to end, with all it started and waited for."""

    seconds: float  # on the clock
    cpu: float  # seconds of processors
    peak: int  # bytes of its memory, without what it started
    out: str  # all it said


class Spread(NamedTuple):
    """What several runs came to."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Take them together."""
        several = list(values)
        return cls(statistics.median(several), min(several), max(several), len(several))

    def text(self, unit: str = "") -> str:
        """Write it for a table; where it was one run, that alone."""
        unit = f" {unit}".rstrip()
        whole = f"{figure(self.median)}{unit}"
        return whole if self.runs == 1 else f"{whole} ({figure(self.low)} to {figure(self.high)})"


class FailedError(Exception):
    """A program that is measured did not do what it should."""


def run(
    argv: Argv,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Path | None = None,
    stdout: Path | None = None,
    codes: Sequence[int] = (0,),
) -> Run:
    """Run a program to its end; `stdout`: where its output goes, which is then not kept.

    Raises FailedError if it ends with another code.
    """
    with (
        Path(stdin or os.devnull).open("rb") as source,
        Path(stdout or os.devnull).open("wb") as table,
        tempfile.TemporaryFile() as said,
    ):
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=source, stdout=table if stdout else said, stderr=said, env=environment, cwd=cwd
        )
        with _peak(process.pid) as peak:
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        out = said.read().decode(errors="replace")
    if process.returncode not in codes:
        raise FailedError(f"{Path(argv[0]).name} ended with {process.returncode}:\n{out[-3000:]}")
    return Run(seconds, used.ru_utime + used.ru_stime, peak(), out)


@contextmanager
def _peak(process: int) -> Iterator[Callable[[], int]]:
    """Watch a process' memory. What wait4() says of it would count what this process has itself."""
    found, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK):
            with suppress(OSError, IndexError):
                said = Path(f"/proc/{process}/status").read_text()
                found.append(int(said.partition("VmHWM:")[2].split()[0]) * 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: max(found)
    finally:
        ended.set()
        watcher.join()


def called(doing: Callable[[], object]) -> Run:
    """Return how long something took that starts programs and waits for them; their peak memory is not known."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    doing()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(seconds, cpu, 0, "")


def rounds(count: int, contenders: Mapping[str, Callable[[], Got]]) -> dict[str, list[Got]]:
    """Run each so often, in turns and each round in the other order: what disturbs the machine then meets all alike."""
    found: dict[str, list[Got]] = {name: [] for name in contenders}
    for number in range(count):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            found[name].append(contenders[name]())
    return found


def seconds(runs: Iterable[Run]) -> list[float]:
    """Take the time on the clock of each."""
    return [one.seconds for one in runs]


def quotients(these: Sequence[float], those: Sequence[float]) -> Spread:
    """Divide round by round."""
    return Spread.of(one / other for one, other in zip(these, those, strict=True))


def differences(these: Sequence[float], those: Sequence[float]) -> Spread:
    """Subtract round by round."""
    return Spread.of(one - other for one, other in zip(these, those, strict=True))


def figure(value: float) -> str:
    """Write a number with three figures; a whole one whole."""
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
