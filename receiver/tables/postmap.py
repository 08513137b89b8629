"""A table: built by Postfix's own postmap beside the one in force, looked up key by key, then put in its place."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from common.table_types import EDITABLE
from receiver.formatting import escape
from receiver.outcome import Failed
from receiver.system.subprocesses import ENVIRONMENT
from receiver.tables import directories
from receiver.tables.line_diff import diff_lines
from receiver.tables.table import Draft, InstalledTable, Table, flush, write_file

_SECONDS = 600  # a million addresses take about five
_SHARE = 50_000  # keys that one process is asked for; more are shared among the processors
_BESIDE = ".build-"
_FEW = 200  # lines that came or went; with more of them a table is built anew
_SOME = 1_000  # other keys of an edited table that are looked up as well


class Refused(Failed):
    """postmap did not build a table, or not all of it."""


class Postmap(NamedTuple):
    """The relay's own postmap, for the table type it uses."""

    config_directory: str
    type: str

    def build_draft(self, tables: str, table: Table, standing: InstalledTable | None = None) -> Draft:
        """Build a table beside those in force, every key looked up. Raises Failed and OSError.

        Where it differs little from the one that stands, a copy of that is edited, and what changed is looked up.
        """
        directory = os.path.join(tables, _BESIDE + os.urandom(8).hex())
        os.mkdir(directory, 0o755)
        write_file(os.path.join(directory, table.name), table.text)
        if table.built and not (standing and self._edit_copy(standing, directory, table)):
            self._build(self.type, directory, table)
        files = sorted(os.listdir(directory), key=lambda name: name == table.name)
        if len(files) != 1 + table.built:
            raise Failed(f"postmap made {', '.join(files[:-1]) or 'nothing'} of {self.type}:{table.name}, not one file")
        if table.built and self._other_files(tables, table.name, files):
            for kind in sorted(self._configured_types(tables, table.name)):
                with suppress(Failed):  # this machine may no longer have that type, so that another is used now
                    self._build(kind, directory, table)
        beside = sorted({*os.listdir(directory)} - {*files})
        for name in (*files, *beside):
            flush(os.path.join(directory, name))
        return Draft(directory, files, beside)

    def _build(self, kind: str, directory: str, table: Table) -> None:
        """Build it and look up every key: exactly the wanted answers must come, and so exactly as many.

        postmap ends 0 though it skipped lines, so whatever it says is a failure.
        """
        name = f"{kind}:{os.path.join(directory, table.name)}"
        self._run(name)
        answers, right = self._look_up(name, table.keys), table.lines(b"\t")
        if answers != right:
            lost = sorted(set(right.split(b"\n")) - set(answers.split(b"\n")))
            first = escape(lost[0].decode(errors="replace")) if lost else "more was found than is there"
            raise Refused(f"{table.name}: {len(lost)} of {len(table.keys)} keys cannot be looked up: {first}")

    def _edit_copy(self, standing: InstalledTable, directory: str, table: Table) -> bool:
        """Build it from a copy of the one in force, if they differ little; return whether that was done."""
        gone, come = ([line.rpartition(b" ")[0] for line in lines] for lines in diff_lines(standing.text, table.text))
        if self.type not in EDITABLE or len(gone) + len(come) > _FEW:
            return False
        copy = os.path.join(directory, os.path.basename(standing.file))
        try:
            _copy(standing.file, copy)
            self._edit(os.path.join(directory, table.name), table, gone, come)
        except (Failed, OSError):  # then it is built anew, and says why if that fails as well
            with suppress(FileNotFoundError):
                os.unlink(copy)
            return False
        return True

    def _edit(self, path: str, table: Table, gone: Sequence[bytes], come: Sequence[bytes]) -> None:
        """Remove the old keys from a built table, add the new ones, and look all of them up.

        Some of the other keys are looked up as well; all of them were when that table was built.
        """
        name = f"{self.type}:{path}"
        if gone:
            self._run("-d", "-", name, stdin=b"\n".join((*gone, b"")))
        if come:
            self._run("-i", name, stdin=table.lines(b" ", come))
        listed = sorted({*come, *table.keys[:: len(table.keys) // _SOME + 1]})
        if self._look_up(name, [*listed, *sorted({*gone}.difference(come))]) != table.lines(b"\t", listed):
            raise Failed(f"{table.name} could not be edited")

    def _look_up(self, name: str, keys: Sequence[bytes]) -> bytes:
        """Return the lines of a built table for these keys, in their order."""
        share = max(_SHARE, len(keys) // (os.cpu_count() or 1) + 1)
        shares = [keys[start : start + share] for start in range(0, len(keys), share)]

        def ask(keys: Sequence[bytes]) -> bytes:
            return self._run("-q", "-", name, stdin=b"\n".join((*keys, b"")))

        if len(shares) < 2:
            return b"".join(map(ask, shares))
        from concurrent.futures import ThreadPoolExecutor  # takes 10 ms to load, which most builds can do without

        with ThreadPoolExecutor() as askers:
            return b"".join(askers.map(ask, shares))

    def _run(self, *argv: str, stdin: bytes = b"") -> bytes:
        code, out, said = run_postfix("/usr/sbin/postmap", "-c", self.config_directory, *argv, stdin=stdin)
        about = said.splitlines()
        if said:  # what it says of any table, such as that main.cf sets something twice, it does not say of this one
            of_any = run_postfix("/usr/sbin/postmap", "-c", self.config_directory, "-q", "postern", "static:OK")[2]
            about = [line for line in about if line not in of_any.splitlines()]
        if about or code:
            raise Refused(escape("; ".join(about) or said or f"postmap ended {code} and said nothing", 500))
        return out

    def find_strays(self, tables: str, name: str, own: Sequence[str]) -> list[str]:
        """Return built files of a table that are of another type, once Postfix's configuration names no other type.

        Between the build of a new type and the edit of main.cf the old file is the one in force.
        """
        found = self._other_files(tables, name, own)
        return found if found and not self._configured_types(tables, name) else []

    def _other_files(self, tables: str, name: str, own: Sequence[str]) -> list[str]:
        return [file for file in os.listdir(tables) if file.startswith(f"{name}.") and file not in own]

    def _configured_types(self, tables: str, name: str) -> set[str]:
        """Return the other types as which Postfix's configuration has a table.

        Raises Failed where it cannot be read.
        """
        named = re.compile(rf"(\w+):{re.escape(os.path.join(tables, name))}(?![\w./-])".encode())
        says = [run_postfix("/usr/sbin/postconf", "-c", self.config_directory, option, "-x") for option in ("-n", "-P")]
        if any(code for code, _, _ in says):
            raise Failed("postconf cannot tell which tables Postfix reads")
        return {kind.decode() for _, out, _ in says for kind in named.findall(out)} - {self.type}


def _copy(path: str, to: str) -> None:
    with open(path, "rb") as whole, open(to, "xb") as copy:
        os.fchmod(copy.fileno(), 0o644)
        while os.sendfile(copy.fileno(), whole.fileno(), None, 1 << 30):
            pass


def remove_drafts(tables: str) -> None:
    """Remove what runs that were killed, or failed, left beside the tables."""
    for name in os.listdir(tables):
        if name.startswith(_BESIDE):
            directories.remove_directory(os.path.join(tables, name))


def run_postfix(*argv: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Run a program of Postfix to its end: exit code, output, what it said on stderr. Raises Failed.

    subprocess is imported here: a run that finds nothing to build needs none, and it costs 5 ms.
    """
    import subprocess

    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, env=ENVIRONMENT, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{argv[0]}: {error}") from error
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()
