"""Runs on the relay: one instance of Postfix, through its own programs, by absolute path and with -c."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from common.main_cf_params import PARAMETERS, Setting
from remote.main import Failed, last_lines
from remote.postfix.main_cf_file import edit_main_cf
from remote.programs import CommandResult, find_tool, run_command

ANSWERING = ("smtpd", "postscreen", "trivial-rewrite")  # which must have read a new main.cf before they are asked
PATIENCE = 10.0  # seconds to wait for old ones to end; one in a session takes no other client afterwards


class Service(NamedTuple):
    """A line of master.cf."""

    name: str
    type: str
    command: str
    overrides: Mapping[str, str]  # its own values of parameters, in place of main.cf's


class Postfix(NamedTuple):
    """An instance of Postfix."""

    directory: str  # its configuration

    def is_there(self) -> bool:
        """Return whether it is installed and has a main.cf."""
        return find_tool("postconf") is not None and os.path.exists(os.path.join(self.directory, "main.cf"))

    def values(self, *names: str) -> dict[str, str]:
        """Return parameters as they are in force, names in them expanded, without those that Postfix does not know."""
        found = self.raw(*names)
        if any("$" in value for value in found.values()):
            expanded = self._read_settings("-x")
            found = {name: expanded.get(name, value) for name, value in found.items()}
        return found

    def raw(self, *names: str) -> dict[str, str]:
        """Return parameters as they are in force, names in them unexpanded."""
        found = self._read_settings()
        return {name: found[name] for name in names if name in found}

    def value(self, name: str) -> str:
        """Return one parameter as it is in force."""
        return self.values(name).get(name, "")

    def main_cf(self) -> dict[str, str]:
        """Return all that main.cf sets, names in it unexpanded."""
        return dict(self._read_settings("-n"))

    def settings(self, found: Mapping[str, str] | None = None) -> dict[str, Setting]:
        """Return the parameters we edit; `found`: their raw values. Which of them are set only main.cf itself tells."""
        with open(os.path.join(self.directory, "main.cf"), encoding="utf-8", errors="replace") as lines:
            given = {line.partition("=")[0].strip() for line in lines if line[0] not in "# \t"}
        found = found or self.raw(*PARAMETERS)
        return {name: Setting(name in given, found[name]) for name in PARAMETERS}

    def edit(self, wanted: Mapping[str, str | None]) -> None:
        """Set parameters, and unset those that are None. main.cf is replaced by one rename."""
        given = [f"{name}={value}" for name, value in wanted.items() if value is not None]
        unset = [name for name, value in wanted.items() if value is None]
        with edit_main_cf(self.directory) as copy:
            for words in (["-e", *given] if given else [], ["-X", *unset] if unset else []):
                if words:
                    Postfix(copy).must("postconf", *words)

    def types(self) -> list[str]:
        """List the types of table it has; not all of them can be loaded."""
        return self.must("postconf", "-m").out.split()

    def services(self) -> list[Service]:
        """Read all of master.cf."""
        overrides: dict[str, dict[str, str]] = {}
        for place, value in self._read_settings("-P").items():
            service, _, parameter = place.rpartition("/")
            overrides.setdefault(service, {})[parameter] = value
        lines = (line.split() for line in self._ask_postconf("-M").splitlines() if line.strip())
        return [Service(line[0], line[1], line[7], overrides.get(f"{line[0]}/{line[1]}", {})) for line in lines]

    def is_running(self) -> bool:
        """Return whether its master runs."""
        return self.run("postfix", "status").code == 0

    def reload(self) -> None:
        """Reload main.cf, and wait until no process answers by the old one."""
        before = self._answering_processes()
        self.must("postfix", "reload")
        until = time.monotonic() + PATIENCE
        while before & self._answering_processes() and time.monotonic() < until:
            time.sleep(0.05)

    def lookup(self, table: str, keys: Iterable[str]) -> dict[str, str]:
        """Return a table's values for keys.

        Raises Failed where it cannot be read, which differs from having no value.
        """
        found = self.run(
            "postmap", "-q", "-", self._as_daemons_find(table), stdin="".join(f"{key}\n" for key in keys).encode()
        )
        if "fatal:" in found.err or "error:" in found.err:
            raise Failed(f"postmap cannot read {table}: {last_lines(found.err)}")
        return dict(line.split("\t", 1) for line in found.out.splitlines() if "\t" in line)

    def keys(self, table: str) -> list[str]:
        """List the keys of a table, from its text where the type cannot be listed; nothing where there is neither."""
        listed = self.run("postmap", "-s", table)
        if listed.code == 0:
            return [line.split("\t", 1)[0] for line in listed.out.splitlines()]
        return first_words(table.partition(":")[2])

    def remarks_about(self, said: str) -> str:
        """Return what postmap said about this table, without what it says about any, such as about main.cf."""
        of_any = self.run("postmap", "-q", "postern", "static:OK").err.splitlines() if said else []
        return "\n".join(line for line in said.splitlines() if line not in of_any)

    def run(self, program: str, *words: str, stdin: bytes = b"") -> CommandResult:
        """Run one of its programs. Raises Failed if it is not there."""
        path = find_tool(program)
        if path is None:
            raise Failed(f"{program} is not here; it comes with the package postfix")
        return run_command(path, "-c", self.directory, *words, stdin=stdin)

    def must(self, program: str, *words: str) -> CommandResult:
        """Run one of its programs. Raises Failed if it fails."""
        ran = self.run(program, *words)
        if ran.code:
            what = " ".join((program, *words[:1]))
            raise Failed(f"{what} -c {self.directory} ended {ran.code}: {last_lines(ran.err)}")
        return ran

    def _read_settings(self, *option: str) -> Mapping[str, str]:
        return _values(self._ask_postconf(*option))

    def _ask_postconf(self, *option: str) -> str:
        """Return all that postconf says; it is asked once as long as its files are the same: a call takes 8 ms."""
        files = tuple(_stamp(os.path.join(self.directory, name)) for name in ("main.cf", "master.cf"))
        return _ask_postconf(self, option, files)

    def _as_daemons_find(self, table: str) -> str:
        """Return a table's name for postmap: the path of a relative socket starts at the queue directory."""
        queue = self.value("queue_directory") if "socketmap:unix:" in table else ""
        return re.sub(r"\bsocketmap:unix:(?=[^/])", lambda found: f"{found[0]}{queue}/", table)

    def _answering_processes(self) -> set[int]:
        """Find the running processes that answer clients' questions."""
        try:
            with open(os.path.join(self.value("queue_directory"), "pid", "master.pid"), encoding="ascii") as file:
                master = int(file.read())
        except (OSError, ValueError):
            return set()
        return {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _is_child(pid, master)}


def _stamp(path: str) -> tuple[int, ...]:
    """Return what differs between one state of a file and the next."""
    try:
        info = os.stat(path)
    except OSError:
        return ()
    return info.st_ino, info.st_size, info.st_mtime_ns


@lru_cache(maxsize=16)
def _ask_postconf(postfix: Postfix, option: tuple[str, ...], _files: tuple[tuple[int, ...], ...]) -> str:
    return postfix.must("postconf", *option).out


def first_words(path: str) -> list[str]:
    """List the keys of a table's text; nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            return [line.split(None, 1)[0] for line in lines if line.strip() and line[0] not in "# \t"]
    except OSError:
        return []


@lru_cache(maxsize=16)
def _values(out: str) -> Mapping[str, str]:
    pairs = (line.partition(" =") for line in out.splitlines())
    return {name: value[1:] for name, equals, value in pairs if equals}


def _is_child(pid: str, master: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            stat = file.read()
    except OSError:
        return False  # gone meanwhile
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return name in ANSWERING and int(rest.split()[1]) == master
