"""What the tables in force were built from, `tables/built.json`: what is still so is not built again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from receiver.system import boot
from receiver.tables.table import Draft, InstalledTable, Table, write_file

_FORMAT = 1
_APART = 60.0  # seconds: less than from one run of the timer to the next, and more than one clock drifts


class BuiltTable(NamedTuple):
    """One table in force."""

    text: str  # digest of its content
    type: str  # that it was built as; empty: it is read as text
    files: Mapping[str, Sequence[int]]  # and what stat() says of them

    def is_intact(self, tables: str) -> bool:
        """Return whether its files are unchanged since."""
        with suppress(OSError):
            return all(_stamp(os.path.join(tables, name)) == stamp for name, stamp in self.files.items())
        return False


class Manifest(NamedTuple):
    """All tables in force. A missing or damaged manifest has none, and all tables are built again."""

    sources: str = (
        ""  # digest of all they were made of: while it is the same nothing is built; empty with a faulty customer
    )
    tables: Mapping[str, BuiltTable] = {}
    faulty_customers: Mapping[str, str] = {}  # customers whose files were not taken as they stand, each with the reason
    machine_start: float = 0  # epoch seconds, by the clock that said which domains are open

    @classmethod
    def read(cls, tables: str) -> Manifest:
        """Read it."""
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            with open(os.path.join(tables, "built.json"), encoding="utf-8") as file:
                fields = json.load(file)
            if fields["postern"] == _FORMAT:
                return cls(
                    str(fields["sources"]),
                    {name: BuiltTable(**each) for name, each in fields["tables"].items()},
                    {str(name): str(why) for name, why in fields.get("left_out", {}).items()},
                    float(fields.get("machine_start", 0)),
                )
        return cls()

    def write(self, tables: str) -> None:
        """Write it: the last step of a build."""
        known = {name: built._asdict() for name, built in self.tables.items()}
        fields = {"postern": _FORMAT, "sources": self.sources, "tables": known, "left_out": dict(self.faulty_customers)}
        text = json.dumps({**fields, "machine_start": self.machine_start}, indent=2)
        write_file(os.path.join(tables, "built.json"), text.encode() + b"\n")

    def is_up_to_date(self, tables: str, sources: str, kind: str) -> bool:
        """Return whether all is as it was built, of these sources and as this type."""
        same = sources and sources == self.sources and {built.type for built in self.tables.values()} <= {kind, ""}
        return bool(same) and not self.is_modified(tables)

    def is_modified(self, tables: str) -> bool:
        """Return whether somebody has changed or removed what was built. It needs no right to write."""
        return not all(built.is_intact(tables) for built in self.tables.values())

    def is_by_this_clock(self) -> bool:
        """Return whether the clock is the one that the tables in force were built by; where there are none it is.

        It is another after a restart, and after it was set by more than a minute.
        """
        return not self.tables or abs(self.machine_start - boot.epoch_seconds(time.time())) < _APART

    def find_fault(self, tables: str, table: Table, kind: str) -> str:
        """Return why a table must be built; empty where it is in force."""
        built = self.tables.get(table.name)
        if built is None:
            return "is not built yet"
        if built.text != table.digest:
            return "does not say what its sources say"
        if table.built and built.type != kind:
            return f"is not built as {kind}"
        return "" if built.is_intact(tables) else "was changed since it was built"

    def read_installed_table(self, tables: str, table: Table, kind: str) -> InstalledTable | None:
        """Return the table in force, where it is certain that it was built from its text as this type."""
        built = self.tables.get(table.name)
        if built and table.built and built.type == kind and built.is_intact(tables):
            with suppress(OSError), open(os.path.join(tables, table.name), "rb") as file:
                text = file.read()
                if hashlib.sha256(text).hexdigest() == built.text:
                    (file_,) = set(built.files) - {table.name}
                    return InstalledTable(text, os.path.join(tables, file_))
        return None

    def without_tables(self, names: Iterable[str]) -> Manifest:
        """Return a manifest in which these tables count as changed, so that they are built again."""
        doubted = {name: self.tables[name]._replace(files=dict.fromkeys(self.tables[name].files, ())) for name in names}
        return self._replace(sources="", tables={**self.tables, **doubted})

    def with_table(self, tables: str, table: Table, kind: str, draft: Draft) -> Manifest:
        """Return a manifest with a table that was put in force."""
        files = {name: _stamp(os.path.join(tables, name)) for name in draft.files}
        built = BuiltTable(table.digest, kind if table.built else "", files)
        return self._replace(tables={**self.tables, table.name: built})


def _stamp(path: str) -> list[int]:
    info = os.lstat(path)
    return [info.st_ino, info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns]
