"""The options of the commands that provision, and the files that options name."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import NamedTuple

from console.errors import Refused


class ProvisionOptions(NamedTuple):
    """The options of `inv provision`, and of commands that provision."""

    dry_run: bool = False
    removing: tuple[str, ...] = ()  # what the plan may remove, by name
    downgrade: bool = False
    public_key: str = ""  # a file
    kit_dir: str = ""
    diff: bool = False  # print the plan's diffs below its summary
    full: bool = False  # and long files whole
    meant: frozenset[tuple[str, str]] = frozenset()  # customer and what goes from it, meant by the command itself


def is_number(value: str) -> bool:
    """Return whether an option's value is a number as `postern` takes it: at most nine ASCII digits."""
    return bool(re.fullmatch("[0-9]{1,9}", value))


def read_file(file: str) -> bytes:
    """Return the content of a file. Raises Refused."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None


def read_text(file: str, errors: str = "strict") -> str:
    """Return the text of a file, as UTF-16 where its mark says so. Raises Refused, and UnicodeDecodeError if strict."""
    data = read_file(file)
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig", errors)
