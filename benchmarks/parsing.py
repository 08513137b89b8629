"""Parse a 1,000,000-row export beside the straightforward Perl: whole processes, in pairs, the order turned each time.

Seconds are a processor's, so that whatever else runs on the machine counts little.

    python benchmarks/parsing.py [--rows N] [--pairs N] [--python PROGRAM]

Both must give the same table. The exit code is 1 when a goal of docs/design.md is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
DOMAINS = ("acme.example", "acme.co.example")
FASTER = 2.5  # times, at least
MEMORY = 6.0  # times the file, at most

_LAUNCHER = """\
import sys; sys.path.insert(0, {place!r}); sys.dont_write_bytecode = True
from receiver.parse import main; sys.exit(main())
"""
_GIVEN = ("anna", "bernd", "carla", "dieter", "eva", "frank", "gabi", "hans", "ina", "jens", "karin", "lars", "maria")
_FAMILY = ("fischer", "weber", "meyer", "wagner", "becker", "schulz", "hoffmann", "koch", "bauer", "richter", "klein")


class Run(NamedTuple):
    """One process from start to end."""

    seconds: float
    peak: int  # bytes


def rows(count: int) -> Iterator[str]:
    """Two internet addresses each; one in a hundred rows needs the careful way, one address in forty is not ours."""
    dice = random.Random(55)
    for number in range(count):
        given, family = dice.choice(_GIVEN), f"{dice.choice(_FAMILY)}{dice.randrange(10**7)}"
        x400 = f"X400:c=DE;a= ;p=Acme;o=Berlin;s={family};g={given};"
        first = f"SMTP:{given}.{family}@acme.example%{x400}"
        if number % 100 == 0:
            first = f'"CCMAIL:{family}, {given} at ""Berlin""%MS:ACME\\\\BERLIN/{number}%{first}"'
        second = f"smtp:{given[0]}{family}@{'acme.co.example' if number % 20 else 'provider.example'}"
        yield f"{'dl' if number % 30 == 0 else 'Mailbox'}\t{first}\t{second}\r\n"


def write(path: Path, count: int) -> None:
    """Write an export."""
    with path.open("w", encoding="ascii", newline="") as file:
        file.write("Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n")
        file.writelines(rows(count))


def run(argv: Sequence[str | Path], export: Path, table: Path) -> Run:
    """Run one of the two, stdin to stdout."""
    with export.open("rb") as source, table.open("wb") as sink:
        process = subprocess.Popen(argv, stdin=source, stdout=sink, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[0]} ended {process.returncode}")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def compare(export: Path, python: str, pairs: int) -> tuple[float, float]:
    """Print each pair; return how many times faster ours is (median), and its memory in times of the file."""
    ours: list[str | Path] = [
        python,
        "-I",
        "-c",
        _LAUNCHER.format(place=str(REPO)),
        *(f"--domain={name}" for name in DOMAINS),
    ]
    theirs: list[str | Path] = ["perl", REPO / "benchmarks" / "parse-exchange-users.pl", *DOMAINS]
    tables = export.with_name("ours"), export.with_name("theirs")
    faster, peak = [], 0
    for number in range(pairs):
        both = [(0, ours), (1, theirs)][:: 1 if number % 2 else -1]
        ran = dict(sorted((which, run(argv, export, tables[which])) for which, argv in both))
        faster.append(ran[1].seconds / ran[0].seconds)
        peak = max(peak, ran[0].peak)
        print(
            f"pair {number + 1}: ours {ran[0].seconds:.2f} s, {ran[0].peak / 1e6:.0f} MB; "
            f"Perl {ran[1].seconds:.2f} s, {ran[1].peak / 1e6:.0f} MB; {faster[-1]:.2f} times faster"
        )
        if tables[0].read_bytes() != tables[1].read_bytes():
            raise SystemExit("the two tables differ")
    return statistics.median(faster), peak / export.stat().st_size


def main() -> int:
    """Measure, and say whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "exchusers.txt"
        write(export, asked.rows)
        print(f"{asked.rows:,} rows, {export.stat().st_size / 1e6:.0f} MB")
        faster, memory = compare(export, asked.python, asked.pairs)
    print(f"{faster:.2f} times faster than Perl, goal {FASTER}; memory {memory:.1f} times the file, goal {MEMORY:g}")
    return 0 if faster >= FASTER and memory <= MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
