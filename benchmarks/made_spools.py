"""A list in force that nobody uploaded, for relays of many customers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_list(spool: Path, domain: str, people: Iterable[str], when: int) -> None:
    """Write local parts as a customer's accepted list in force since `when` (epoch seconds); no table is built yet."""
    recipients = "".join(sorted(f"{name}@{domain}\n" for name in people))
    accepted = json.dumps({"postern": 1, "domains": {domain: when}, "list": ""})
    for name, text in (("recipients", recipients), ("accepted.json", accepted)):
        (spool / name).write_text(text)
    give(spool, [*spool.iterdir()])


def give(spool: Path, files: Sequence[Path]) -> None:
    """Make files the spool's owner's."""
    owner = spool.stat()
    for file in files:
        os.chown(file, owner.st_uid, owner.st_gid)
