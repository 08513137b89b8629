"""Item, a thing that a machine must have; the five kinds that every relay knows, and those of customers' hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from deploy.windows.acl import closed_acl
from deploy.windows.task import describe_task, run_as_system_task

State: TypeAlias = Mapping[str, Any]
"""Flat JSON: what two machines can compare by digest."""


class ProtectedLines(NamedTuple):
    """Lines of one file of a tree; a plan removes one only when it is named on the command line, as `NOUN:WORD`.

    `file` may be FILE#KEY: the words of a list in a JSON file, each as a line.
    `word` is the place of the naming word among the line's blank-separated ones, counted as Python counts; `same` that
    of a word without which it is another line under an old name.
    """

    file: str
    noun: str
    word: int
    same: int | None = None


class ProtectedSetting(NamedTuple):
    """A value of a JSON file of a tree; a plan lowers it only when that is named on the command line.

    `ranks`: its values, the lowest first, and the name of what goes when one is left for a lower one; empty: nothing.
    """

    file: str
    key: str
    ranks: tuple[tuple[Any, str], ...]


class ProtectedWhole(NamedTuple):
    """A thing that a plan removes only when it is named on the command line."""

    noun: str


Protected: TypeAlias = ProtectedLines | ProtectedSetting | ProtectedWhole


@dataclass(frozen=True)
class Item:
    """A thing of one kind and name, and the state it must be in; None: it must not be there."""

    kind: str
    name: str
    wanted: State | None
    about: str = ""
    protected: tuple[Protected, ...] = ()  # what goes only when it is named


def package(name: str) -> Item:
    """A package of the machine's own package manager, any version."""
    return Item("package", name, {"installed": True})


def account(name: str, *, home: str, shell: str) -> Item:
    """A system account that nobody can log in to by password (`*` in its password field), its home root's own."""
    return Item("account", name, {"home": home, "shell": shell, "password": "*"})


def file(path: str, content: str | None, *, mode: str = "0644", about: str = "") -> Item:
    """A file of root's with exactly this text (UTF-8) and mode (octal); None: no such file. Parents are made, 0755."""
    wanted = None if content is None else {"content": content, "mode": mode}
    return Item("file", path, wanted, about)


def tree(
    path: str,
    files: Mapping[str, str] | None,
    *,
    about: str = "",
    protected: Sequence[Protected] = (),
) -> Item:
    """A directory that holds exactly these files (relative path: UTF-8 text), switched as a whole by one rename."""
    wanted = None if files is None else {"files": dict(files)}
    return Item("tree", path, wanted, about, tuple(protected))


def derived(name: str, *argv: str) -> Item:
    """Something derived from other files, which a program on the machine makes.

    `argv --check` prints a line for each thing that is not in order; `argv` alone puts it in order, which is done again
    whenever an item before it changed.
    """
    return Item("derived", name, {"argv": list(argv), "faults": []})


def timer(name: str, service_unit: str, timer_unit: str) -> Item:
    """A service that systemd starts by a timer, both of this name: the texts of their units, enabled and running."""
    return Item("timer", name, {"service": service_unit, "timer": timer_unit, "enabled": True, "running": True})


def schedule(name: str, *, about: str = "") -> Item:
    """The schedule of the export on a POSIX host: a timer of systemd or lines of cron, as schedule.sh sets it up."""
    return Item("schedule", name, {"set": True}, about)


def access(path: str, *, about: str = "") -> Item:
    """A file or folder of a Windows machine that administrators and the system alone may open."""
    return Item("access", path, closed_acl(), about)


def task(name: str, file: str, xml: str, *, about: str = "") -> Item:
    """A task of a Windows machine, made from a file there that holds this XML, and run by the system itself."""
    return Item("task", name, {"file": file, **run_as_system_task(describe_task(xml))}, about)
