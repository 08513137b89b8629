"""The steps of `inv bench`: run each part, store its answer, write the page."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import peers, relays, report
from benchmarks.report import Answer, Record
from common.exit_codes import DONE, PERSON, REFUSED
from lab import checks, roots

DOCS = Path(__file__).resolve().parent.parent / "docs"
QUESTIONS = (
    "provisioning",
    "customers",
    "receiving",
    "parsing",
    "building",
    "fleet",
    "growth",
    "startup",
    "waiting",
    "directory",
    "reporting",
    "soak",
    "store",
)


def bench(only: Sequence[str], quick: bool) -> int:
    """Measure; gives an exit code, PERSON where a target is missed."""
    if unknown := [name for name in only if name not in QUESTIONS]:
        _say(f"no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
        return REFUSED
    checks.install_tools()
    roots.install_needed(say=_say)
    roots.root(relays.RELEASE, say=_say)
    peers.install(_say)
    answers = [_run_part(name, quick) for name in only or QUESTIONS]
    report.write(DOCS, QUESTIONS, relays.RELEASE)
    _say(f"written: {DOCS.name}/{report.PAGE}")
    missed = [target for answer in answers for target in answer.targets if not target.met]
    return PERSON if missed and not quick else DONE


def _run_part(name: str, quick: bool) -> Answer:
    began = time.monotonic()
    _say(f"{name} ...")
    answer: Answer = importlib.import_module(f"benchmarks.{name}").measure(quick)
    record = Record(answer=answer, day=f"{datetime.now(UTC):%Y-%m-%d}", machine=report.machine(), quick=quick)
    report.keep(DOCS, name, record)
    for target in answer.targets:
        print("  " + ": ".join(target.row()))
    _say(f"{name}: {time.monotonic() - began:.0f} s")
    return answer


def _say(line: str) -> None:
    sys.stderr.write(f"bench: {line}\n")
