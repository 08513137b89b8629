"""What was said on the command line of provision and its kin besides the customer."""

from __future__ import annotations

from typing import NamedTuple


class Wish(NamedTuple):
    """How it is to be done."""

    dry_run: bool = False
    removing: tuple[str, ...] = ()  # what the plan may remove, by name
    downgrade: bool = False
    public_key: str = ""  # a file
    kit_dir: str = ""
    full: bool = False  # print long files whole
    meant: frozenset[tuple[str, str]] = frozenset()  # customer and what goes from it, meant by the command itself
