"""Runs on the relay: reads files of account `postern` as root. An attacker may have written them.

It reads plain files by descriptor, follows no link, and never reads more than a bound.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from common.spool_files import SMALL

DEPTH = 10  # objects and lists of a JSON file within each other


def read_json(folder: int, path: str) -> Any:
    """Return a JSON object in a folder or a folder below it; None where it is missing, a text where it is damaged."""
    first, _, rest = path.partition("/")
    try:
        if not rest:
            return _json(folder, first)
        inner = open_directory(first, folder)
        try:
            return _json(inner, rest)
        finally:
            os.close(inner)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} cannot be read: {error}"


def _json(folder: int, name: str) -> Any:
    with open(open_file(folder, name), "rb") as file:
        content = file.read(SMALL + 1)
    if len(content) > SMALL:
        raise ValueError(f"it has more than {SMALL} bytes")
    fields = json.loads(content, parse_int=lambda digits: int(digits[:20]))
    if not isinstance(fields, dict):
        raise ValueError("it is no JSON object")
    if _is_deeper(fields, DEPTH):
        raise ValueError("it is nested too deep")
    return fields


def _is_deeper(value: Any, most: int) -> bool:
    """Return whether it is nested deeper than `most`: the program that gets it could not read it then."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most == 0 or any(_is_deeper(each, most - 1) for each in inner if isinstance(each, (dict, list)))


def open_file(folder: int, name: str) -> int:
    """Open a plain file, and nothing else: opening does not wait for the other end of a pipe."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is no plain file")
    return descriptor


def open_directory(path: str, within: int | None) -> int:
    """Open a directory itself, and nothing that a link leads to. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
