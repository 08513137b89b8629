"""rebuild-relay-recips: puts in order, as root, what the customers of a relay share: tables, keys, directories.

The account may start it through sudo, so nothing it is started with counts: no argument, variable, limit or terminal.
It prints a line `ID: why` for each customer for whom root's last good copy stands in. `--check` changes nothing and
prints a line for each thing that is not what its sources say. The account may also start `--look-up`, which prints
those of the addresses on stdin that the built table has, and `--main-cf`, which prints which parameters of Postfix no
longer name our tables.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from receiver import RELEASE, account, lock
from receiver.account import Owner
from receiver.report import DONE, FAILED, REFUSED, Failed, Stopped
from receiver.root import bytecode, drops, ground, keyfile, listing, lookup, part, sources, surroundings, switch, trees
from receiver.root.part import Part
from receiver.root.postmap import Postmap
from receiver.root.record import Record
from receiver.root.sources import Source
from receiver.root.table import Table
from receiver.settings import BadSettings, Places, RelaySettings, load_relay

WAIT = 30.0  # seconds for the build that runs


class Found(NamedTuple):
    """What the sources say now."""

    customers: Sequence[str]
    sources: Sequence[Source]
    left_out: dict[str, str]  # customer: why
    now: float

    def parts(self) -> list[Part]:
        """Check every address."""
        return [part.checked(source, self.now) for source in self.sources]

    def digest(self) -> str:
        """Name it by its content; not while somebody is left out: what is listed of them, their sources do not tell."""
        return "" if self.left_out else sources.digest(self.sources, self.now, RELEASE)


def main() -> int:
    """Settle, or check; the exit code."""
    arguments = sys.argv[1:]
    if arguments not in ([], ["--check"], ["--look-up"], ["--main-cf"]):
        return _end(REFUSED, "usage: rebuild-relay-recips [--check | --look-up | --main-cf]")
    if os.geteuid() != 0:
        return _end(REFUSED, "tables are root's to build: sudo -n /usr/local/sbin/rebuild-relay-recips")
    surroundings.own()
    try:
        lines = _lines(Places(), "".join(arguments))
    except Stopped as error:
        return _end(error.code, str(error))
    except (OSError, BadSettings) as error:
        return _end(FAILED, str(error))
    _say(1, lines)  # no sooner than here: a reader who does not read keeps no lock
    return DONE


def _lines(places: Places, option: str) -> list[str]:
    if option == "--look-up":
        return lookup.find(places, sys.stdin.buffer.read(lookup.LIMIT))
    if option == "--main-cf":
        return lookup.unnamed(places)
    return (stale if option else build)(places, account.find())


def build(places: Places, theirs: Owner, wait: float = WAIT) -> list[str]:
    """Put everything in order; say who was left out, and why. Raises Stopped, BadSettings and OSError.

    One run at a time; those that waited for it mostly find nothing left to do.
    """
    relay = load_relay(places)
    os.makedirs(places.tables, exist_ok=True)
    with _turn(places, fcntl.LOCK_EX, wait):
        customers = trees.customers(places)
        left_out = ground.settle(places, relay.metrics, customers, theirs, time.time())
        found = _find(places, customers, theirs)
        left_out.update(found.left_out)
        keyfile.settle(places, (source.tree for source in found.sources))
        drops.settle(places, (source.tree for source in found.sources), theirs)
        record = Record.read(places.tables)
        if not record.holds(places.tables, found.digest(), relay.table_type):
            left_out.update(_settle(places, relay, found, record))
        _tidy(places, relay, found)
        bytecode.settle()
    return [f"{customer}: {why}" for customer, why in sorted(left_out.items())]


def stale(places: Places, theirs: Owner, wait: float = WAIT) -> list[str]:
    """Name what is not as its sources say. Raises Stopped, BadSettings and OSError."""
    relay = load_relay(places)
    if not os.path.isdir(places.tables):
        return [f"{places.tables} is not there"]
    with _turn(places, fcntl.LOCK_SH, wait):
        customers = trees.customers(places)
        found = _find(places, customers, theirs)
        lines = ground.faults(places, relay.metrics, customers, theirs)
        lines += keyfile.faults(places, (source.tree for source in found.sources))
        lines += drops.faults(places, (source.tree for source in found.sources), theirs)
        record = Record.read(places.tables)
        if record.holds(places.tables, found.digest(), relay.table_type):
            return lines
        faults = switch.faults(places.tables, record, _wanted(places, found.parts()), relay.table_type)
    return lines + [f"{os.path.join(places.tables, name)} {fault}" for name, fault in faults.items()]


@contextmanager
def _turn(places: Places, kind: int, wait: float) -> Iterator[None]:
    descriptor = os.open(os.path.join(places.tables, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # who can open it can hold it for ever
        with lock.held(descriptor, kind, wait, f"another rebuild-relay-recips was at work for {wait:.0f} s; try again"):
            yield
    finally:
        os.close(descriptor)


def _find(places: Places, customers: Sequence[str], theirs: Owner) -> Found:
    read = {customer: sources.read(places, customer, theirs) for customer in customers}
    left_out = {customer: why for customer, (_, why) in read.items() if why}
    return Found(customers, [source for source, _ in read.values() if source], left_out, time.time())


def _settle(places: Places, relay: RelaySettings, found: Found, record: Record) -> dict[str, str]:
    """Put the tables in force, then take root's copies, then record it: a run that was killed is done again."""
    parts = found.parts()
    maker = Postmap(relay.config_directory, relay.table_type)
    record = switch.switch(places.tables, record, _wanted(places, parts), maker)
    used = [each.source for each in parts]
    left_out = {source.tree.customer: source.why or source.copy.keep(source.tree, source.pair) for source in used}
    left_out = {customer: why for customer, why in left_out.items() if why}
    record._replace(sources="" if left_out else found.digest()).write(places.tables)
    return left_out


def _wanted(places: Places, parts: Sequence[Part]) -> Sequence[Table]:
    return listing.tables(parts, switch.in_force(places.tables, "transport"))


def _tidy(places: Places, relay: RelaySettings, found: Found) -> None:
    """Remove what nothing needs any more; what cannot be removed now, the next run removes."""
    with suppress(OSError):
        for customer, copy in sources.copies(places).items():
            if customer not in found.customers:
                copy.forget()
    with suppress(OSError, Failed):
        maker = Postmap(relay.config_directory, relay.table_type)
        for name, built in Record.read(places.tables).tables.items():
            for stray in maker.strays(places.tables, name, tuple(built.files)):
                os.unlink(os.path.join(places.tables, stray))
    with suppress(OSError):
        ground.clear(places, found.now)


def _say(descriptor: int, lines: Iterable[str]) -> None:
    with suppress(OSError), open(descriptor, "w", encoding="utf-8", closefd=False) as stream:
        stream.writelines(f"{line}\n" for line in lines)


def _end(code: int, why: str) -> int:
    _say(2, [f"rebuild-relay-recips: {why}"])
    return code
