"""Runs on the relay: saves main.cf before our first edit, and puts it back once nothing of ours is in it.

postconf writes a parameter on one line and in its own way, so that the same values may look different afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from common.main_cf_params import PARAMETERS
from common.paths import PLACES
from remote.files import replace
from remote.postfix.main_cf_file import put_main_cf, read_main_cf

ORIGINAL = f"{PLACES.etc}/main.cf.original"


def keep_original(directory: str) -> None:
    """Save main.cf as it is now."""
    replace(ORIGINAL, read_main_cf(directory), 0o600)


def restore_original(directory: str) -> None:
    """Put the saved main.cf back if it says the same and all its other lines are the same; delete the saved file."""
    with suppress(FileNotFoundError):
        before, now = _read(ORIGINAL), _read(os.path.join(directory, "main.cf"))
        if before != now and (_values(before), _rest(before)) == (_values(now), _rest(now)):
            put_main_cf(directory, before.encode("utf-8", "surrogateescape"))
        os.unlink(ORIGINAL)


def _values(text: str) -> Mapping[str, str]:
    """Return the parameters we edit as text sets them; of two lines for one the later counts, as for Postfix."""
    found = {}
    for name, lines in _logical(text):
        if name in PARAMETERS:
            found[name] = " ".join("".join(lines).partition("=")[2].split())
    return found


def _rest(text: str) -> list[str]:
    """Return all other lines, comments and empty ones included."""
    return [line.rstrip("\n") for name, lines in _logical(text) if name not in PARAMETERS for line in lines]


def _logical(text: str) -> list[tuple[str, list[str]]]:
    """Return a text split into logical lines, each with its parameter's name; a comment has an empty name.

    See postconf(5).
    """
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines(keepends=True):
        if not line.strip() or line.lstrip().startswith("#"):
            found.append(("", [line]))
        elif line[0] in " \t" and any(name for name, _ in found):
            next(lines for name, lines in reversed(found) if name).append(line)
        else:
            found.append((line.partition("=")[0].strip(), [line]))
    return found


def _read(path: str) -> str:
    """Read a file; bytes that are no UTF-8 become surrogates."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()
