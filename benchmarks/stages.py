"""Runs on a relay, sent there: what a launcher does, with a clock at each joint. `stages.py MODULE [ARGUMENT...]`.

Prints last, on stderr, what each stage took, in seconds, as JSON. What is in no stage is "the rest".
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import importlib  # noqa: E402  # the clock is started before anything else
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

LIBRARY = "/usr/local/lib/postern"
JOINTS = {
    "receiver.gate": (
        ("take it from stdin", "receiver.intake", "take"),
        ("parse and choose", "receiver.offer", "_chosen"),
        ("guard", "receiver.offer", "_judged"),
        ("publish", "receiver.publishing", "publish"),
        ("sudo and build", "receiver.tables", "Tables.build"),
        ("look up", "receiver.tables", "Tables.missing"),
    ),
    "receiver.root.build": (
        ("directories and keys", "receiver.root.ground", "settle"),
        ("directories and keys", "receiver.root.keyfile", "settle"),
        ("read the sources", "receiver.root.build", "_find"),
        ("name them by their content", "receiver.root.sources", "digest"),
        ("check every address", "receiver.root.part", "checked"),
        ("compose the tables", "receiver.root.listing", "tables"),
        ("postmap, look-ups, fsync", "receiver.root.postmap", "Postmap.draft"),
        ("keep root's copies", "receiver.root.sources", "Copy.keep"),
    ),
}


def main() -> int:
    """Run it; its own exit code."""
    sys.path.insert(0, os.path.realpath(LIBRARY))
    sys.dont_write_bytecode = True
    name, sys.argv = sys.argv[1], sys.argv[1:]
    module = importlib.import_module(name)
    spent = {"import the receiver": time.perf_counter() - BEGAN}
    for stage, place, joint in JOINTS[name]:
        _clock(importlib.import_module(place), joint, stage, spent)
    code = module.main()
    spent["the rest"] = time.perf_counter() - BEGAN - sum(spent.values())
    sys.stderr.write("\n" + json.dumps(spent))
    return int(code)


def _clock(place: Any, joint: str, stage: str, spent: dict[str, float]) -> None:
    owner, _, name = joint.rpartition(".")
    holder = getattr(place, owner) if owner else place
    whole: Callable[..., Any] = getattr(holder, name)
    spent.setdefault(stage, 0.0)

    def clocked(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return whole(*args, **named)
        finally:
            spent[stage] += time.perf_counter() - began

    setattr(holder, name, clocked)


if __name__ == "__main__":
    sys.exit(main())
