"""What was said on the command line of provision and its kin besides the customer."""

from __future__ import annotations

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


def read_file(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
