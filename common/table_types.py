"""Runs here and on the relay: the types of Postfix's tables, and what is known of each."""

from __future__ import annotations

from typing import Literal, get_args

OurType = Literal["hash", "btree", "lmdb", "cdb"]
"""What `table_type` in relays.toml may name: types that postmap builds and Debian or Red Hat packages."""
OURS: tuple[str, ...] = get_args(OurType)
BUILT_IN = ("hash", "btree")
"""Postfix's own, where it has them at all: no package brings them. Both have one name for the built file (.db)."""
EDITABLE = ("hash", "btree", "lmdb")
"""Types in which postmap can also add and delete single keys."""
BUILT_SUFFIX = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb", "dbm": ".pag", "sdbm": ".pag"}
"""By type, how the file is called that postmap builds beside the text, and that Postfix reads."""
BY_NAME = (*BUILT_SUFFIX, "texthash")
"""Types whose keys are names, not patterns, and lie in a file or two."""
LISTABLE = (*BY_NAME, "inline")
"""Types whose keys `postmap -s` lists whole. memcache is none of them: its list is empty, and postmap exits 0."""


def package_of(table_type: str) -> str:
    """Return the package that brings a type which is not built in."""
    return f"postfix-{table_type}"
