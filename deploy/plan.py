"""Plan: the difference between a machine and what is wanted. Prints it, names removals, applies it, reads again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from deploy.items import Item, ProtectedLines, ProtectedSetting, ProtectedWhole, State
from deploy.key_formats import Secret
from deploy.plan_text import plan_lines

DERIVED = ("derived", "schedule")
PAUSE = 1.0  # seconds between two checks
_UNREAD = object()
RECHECKS = 20  # a program there may change a source again before it has rebuilt what is derived from it


class HostError(Exception):
    """A machine could not be reached, or something there failed.

    The text does not name the machine: the caller knows it.
    """

    code: ClassVar[int] = 4


class Busy(HostError):
    """Something else changes the machine now, or has changed what the plan was made from; that was not overwritten."""

    code = 75


class ProofFailed(HostError):
    """A change failed its test and was undone."""

    code = 5


class NoPython(HostError):
    """The machine has no Python that is new enough, and installing one was not requested or not possible."""


class Host(Protocol):
    """What a plan is made for: RelayHost, Windows, PosixHost, Kit."""

    @property
    def name(self) -> str:
        """Return the host's name for messages."""

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; None: it does not exist. Raises HostError."""

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes in this order. Raises HostError; Busy where something is no longer as it was read."""


class Done(NamedTuple):
    """The result of a program on a host."""

    code: int
    out: str
    err: str


@runtime_checkable
class Machine(Host, Protocol):
    """A host that runs programs: RelayHost, Windows and PosixHost. A Kit has no such method."""

    def run(self, *argv: str, stdin: bytes = b"") -> Done:
        """Run a program there. Raises HostError if it could not be run; its own failure is its exit code."""


class ExchangeEnd(Host, Protocol):
    """A host that may hold a private key: Windows, PosixHost and Kit."""

    def write_key(self, name: str, private: Secret) -> None:
        """Write a private key: no other method carries one."""

    def delete_key(self, name: str) -> bool:
        """Delete a key file; return whether there was one."""


class Blank:
    """A machine with nothing on it: `Plan.of(Blank(), items).text()` shows all that the items are."""

    name = "nothing"

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return None for each item."""
        return [None for _ in items]

    def make(self, changes: Sequence[Change]) -> None:
        """Raise HostError."""
        raise HostError(f"there is no machine here to make {len(changes)} changes on")


@dataclass(frozen=True)
class Change:
    """An item that is not as wanted, and what was read of it: a newer state is not overwritten."""

    item: Item
    before: State | None

    def removals(self) -> Iterator[str]:
        """Yield the lines that would be removed from the item's protected files, and the values that would fall."""
        for each in self.item.protected:
            if isinstance(each, ProtectedSetting):
                yield from _lowered_settings(self.before, self.item.wanted, each)
                continue
            if isinstance(each, ProtectedWhole):
                yield from [each.noun] if self.before is not None and self.item.wanted is None else []
                continue
            gone = _protected_names(self.before, each) - _protected_names(self.item.wanted, each)
            yield from sorted({f"{each.noun}:{name}" for name, _ in gone})


@dataclass(frozen=True)
class Plan:
    """The changes to a host, in order; a dry run prints the object that a run applies."""

    host: Host
    items: tuple[Item, ...]
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, host: Host, items: Iterable[Item]) -> Plan:
        """Read the items there and see which differ; writes nothing. Raises HostError.

        What is derived is made again after any change before it, although it reads as in order now.
        """
        wanted = tuple(items)
        changes: list[Change] = []
        for item, now in zip(wanted, host.read(wanted), strict=True):
            if now != item.wanted or (item.kind in DERIVED and item.wanted is not None and changes):
                changes.append(Change(item, now))
        return cls(host, wanted, tuple(changes))

    def removals(self) -> tuple[str, ...]:
        """Return what would be removed: `NOUN:WORD` for each protected line, a name for each value that would fall."""
        return tuple(dict.fromkeys(name for change in self.changes for name in change.removals()))

    def text(self, brief: bool = False) -> str:
        """Return the plan as an operator reads it: unified diffs of files, a line for all else; empty: no changes."""
        return "".join(plan_lines(change.item, change.before, brief) for change in self.changes)

    def apply(self) -> None:
        """Make the changes, then read again: what is still not as wanted is a HostError that names it."""
        if not self.changes:
            return
        self.host.make(self.changes)
        for check in range(RECHECKS):
            time.sleep(PAUSE if check else 0)
            left = Plan.of(self.host, self.items).changes
            if not left:
                return
            if any(change.item.kind not in DERIVED for change in left):
                break
        what = "".join(plan_lines(change.item, change.before) for change in left)
        raise HostError(f"still not as wanted after the change:\n{what[:4000]}".rstrip())


def _protected_names(state: State | None, protected: ProtectedLines) -> set[tuple[str, str]]:
    file, _, key = protected.file.partition("#")
    text = ((state or {}).get("files") or {}).get(file, "")
    lines = _values_of(text, key) if key else text.splitlines()
    return {
        (_word(line, protected.word), "" if protected.same is None else _word(line, protected.same))
        for line in lines
        if line.strip() and not line.startswith("#")
    }


def _lowered_settings(before: State | None, wanted: State | None, protected: ProtectedSetting) -> Iterator[str]:
    """Yield the value that would fall. A tree that is removed, or had no such value, loses none."""
    values = [value for value, _ in protected.ranks]
    was, is_to_be = (_setting_of(state, protected) for state in (before, wanted))
    if was in values and is_to_be in values and values.index(is_to_be) < values.index(was):
        yield from filter(None, [protected.ranks[values.index(was)][1]])


def _setting_of(state: State | None, protected: ProtectedSetting) -> object:
    """Read a value of a JSON file; one that cannot be read is no value of any setting."""
    try:
        return json.loads(((state or {}).get("files") or {})[protected.file])[protected.key]
    except (ValueError, LookupError, TypeError):
        return _UNREAD


def _values_of(text: str, key: str) -> list[str]:
    """Read a list of a JSON file as lines; one that is not there, or no such list, has none."""
    try:
        return [str(word) for word in json.loads(text)[key]]
    except (ValueError, LookupError, TypeError):
        return []


def _word(line: str, word: int) -> str:
    words = line.split()
    return words[word] if -len(words) <= word < len(words) else line.strip()
