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
    "receiver.forced_command": (
        ("take it from stdin", "receiver.upload.stream", "read_upload"),
        ("parse and choose", "receiver.upload.pipeline", "_read_export"),
        ("guard", "receiver.upload.pipeline", "judge_export"),
        ("publish", "receiver.lists.publishing", "publish"),
        ("sudo and build", "receiver.tables_client", "Tables.build"),
        ("look up", "receiver.tables_client", "Tables.find_missing"),
    ),
    "receiver.tables.build": (
        ("directories and keys", "receiver.tables.directories", "make_directories"),
        ("directories and keys", "receiver.tables.authorized_keys", "write_authorized_keys"),
        ("read the sources", "receiver.tables.build", "_find"),
        ("name them by their content", "receiver.tables.inputs", "digest_inputs"),
        ("check every address", "receiver.tables.customer_recipients", "check_recipients"),
        ("compose the tables", "receiver.tables.table_contents", "compose_tables"),
        ("postmap, look-ups, fsync", "receiver.tables.postmap", "Postmap.build_draft"),
        ("keep root's copies", "receiver.tables.inputs", "GoodCopy.keep"),
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
