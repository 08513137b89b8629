"""rebuild-relay-recips: puts in order, as root, what the customers of a relay share: tables, keys, directories.

The account may start it through sudo, so nothing it is started with counts: no argument, variable, limit or terminal.
It prints a line `ID: why` for each customer for whom root's last good copy stands in. `--check` changes nothing and
prints a line for each thing that is not what its sources say. The account may also start `--look-up`, which prints
those of the addresses on stdin that the built table has, `--main-cf`, which prints which parameters of Postfix no
longer name our tables, `--adopted`, which prints which domains nobody else closes any more while they are adopted,
and `--repair`, which looks a key up in each table as Postfix would, builds anew what fails, and prints a line
`TABLE: why` for each.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from common.exit_codes import DONE, FAILED, REFUSED
from common.paths import REBUILD, Places
from common.release import RELEASE
from common.settings import BadSettings, RelaySettings, load_relay
from receiver.outcome import Failed, Stopped
from receiver.system import account, boot, clean_env, locks
from receiver.system.account import Owner
from receiver.tables import (
    acceptable,
    adopted_domains,
    authorized_keys,
    bytecode,
    customer_recipients,
    customer_tree,
    directories,
    inputs,
    install,
    last_build,
    lookup,
    lost_trees,
    sftp_inboxes,
    table_contents,
)
from receiver.tables.customer_recipients import CustomerRecipients
from receiver.tables.inputs import CustomerInput
from receiver.tables.manifest import Manifest
from receiver.tables.postmap import Postmap, Refused
from receiver.tables.table import Table

OPTIONS = ("--check", "--look-up", "--main-cf", "--adopted", "--repair")
WAIT = 30.0  # seconds to wait for another build
_OUT = "postmap refuses its domains, so it is in no table"


class Inputs(NamedTuple):
    """The present content of all sources."""

    customers: Sequence[str]
    sources: Sequence[CustomerInput]
    kept: Sequence[CustomerRecipients]  # domains in force, one of which may be that of a customer without a tree
    faulty: dict[str, str]  # customer: why
    now: float
    machine_start: float  # by the same clock

    def parts(self) -> list[CustomerRecipients]:
        """Return the customers' parts, every address checked."""
        return [*(customer_recipients.check_recipients(source, self.now) for source in self.sources), *self.kept]

    def digest(self) -> str:
        """Return the hash of the inputs.

        Empty while a customer is faulty, because then the sources do not say what is listed.
        """
        return "" if self.faulty else inputs.digest_inputs(self.sources, self.now, RELEASE)


def main() -> int:
    """Run a build or a check; return the exit code."""
    arguments = sys.argv[1:]
    if len(arguments) > 1 or {*arguments} - {*OPTIONS}:
        return _end(REFUSED, f"usage: rebuild-relay-recips [{' | '.join(OPTIONS)}]")
    if os.geteuid() != 0:
        return _end(REFUSED, f"tables are root's to build: sudo -n {REBUILD}")
    clean_env.reset_environment()
    try:
        lines = _lines(Places(), "".join(arguments))
    except Stopped as error:
        return _end(error.code, str(error))
    except (OSError, BadSettings) as error:
        return _end(FAILED, str(error))
    except MemoryError:
        return _end(FAILED, "there is not enough memory; the tables stay as they are")
    _write_lines(1, lines)  # after the lock is free: a caller that does not read must not hold it
    return DONE


def _lines(places: Places, option: str) -> list[str]:
    if option == "--look-up":
        return lookup.find_listed(places, sys.stdin.buffer.read(lookup.LIMIT))
    if option == "--main-cf":
        return lookup.find_unnamed(places)
    if option == "--adopted":
        return _find_left_open(places, account.find_account())
    if option == "--repair":
        return repair(places, account.find_account())
    return (check if option else build)(places, account.find_account())


def repair(places: Places, account_owner: Owner, wait: float = WAIT) -> list[str]:
    """Build anew the tables in which Postfix cannot look a key up, and reload it; return which tables, and why.

    Raises Stopped, BadSettings and OSError.
    """
    if not os.path.isdir(places.tables):
        return []
    with _hold_build_lock(places, fcntl.LOCK_EX, wait):
        record = Manifest.read(places.tables)
        broken = lookup.find_broken(places, record)
        if broken:
            record.without_tables(broken).write(places.tables)
    if broken:
        build(places, account_owner, wait)
    return [f"{name}: {why}" for name, why in broken.items()]


def build(places: Places, account_owner: Owner, wait: float = WAIT) -> list[str]:
    """Build tables, directories and keys from their sources; return who was left out, and why.

    One run at a time; those that waited for one that began later find nothing left to do. Raises Stopped, BadSettings
    and OSError.
    """
    asked = boot.seconds_since()
    os.makedirs(places.tables, exist_ok=True)
    with _hold_build_lock(places, fcntl.LOCK_EX, wait) as lock:
        if (done := last_build.lines_since(lock, asked)) is not None:
            return done
        began, lines = boot.seconds_since(), _build(places, account_owner)
        last_build.note(lock, began, lines)
    return lines


def _build(places: Places, account_owner: Owner) -> list[str]:
    """Build, by what stands in the sources after the lock was taken."""
    relay = load_relay(places)
    customers = customer_tree.list_customers(places)
    faulty = directories.make_directories(places, relay.metrics, customers, account_owner, time.time())
    found = _find(places, relay, customers, account_owner)
    faulty.update(found.faulty)
    authorized_keys.write_authorized_keys(places, (source.tree for source in found.sources))
    sftp_inboxes.make_inboxes(places, (source.tree for source in found.sources), account_owner)
    record = Manifest.read(places.tables)
    if not record.is_up_to_date(places.tables, found.digest(), relay.table_type):
        faulty.update(_install(places, relay, found, record))
    elif not record.is_by_this_clock():
        record._replace(machine_start=found.machine_start).write(places.tables)
    _tidy(places, relay, found, is_dated=record.is_by_this_clock())
    bytecode.compile_receiver()
    return [f"{customer}: {why}" for customer, why in sorted(faulty.items())]


def check(places: Places, account_owner: Owner, wait: float = WAIT) -> list[str]:
    """Return what is not as its sources say. Raises Stopped, BadSettings and OSError."""
    relay = load_relay(places)
    if not os.path.isdir(places.tables):
        return [f"{places.tables} is not there"]
    with _hold_build_lock(places, fcntl.LOCK_SH, wait):
        customers = customer_tree.list_customers(places)
        found = _find(places, relay, customers, account_owner)
        lines = directories.check_directories(places, relay.metrics, customers, account_owner)
        lines += authorized_keys.check_authorized_keys(places, (source.tree for source in found.sources))
        lines += sftp_inboxes.check_inboxes(places, (source.tree for source in found.sources), account_owner)
        record = Manifest.read(places.tables)
        if record.is_up_to_date(places.tables, found.digest(), relay.table_type):
            return lines
        faults = install.find_stale_tables(places.tables, record, _compose(places, found.parts()), relay.table_type)
    return lines + [f"{os.path.join(places.tables, name)} {fault}" for name, fault in faults.items()]


def _find_left_open(places: Places, account_owner: Owner) -> list[str]:
    """Return the domains whose former lists Postfix no longer asks though our own list is not accepted yet."""
    read = (inputs.read_customer(places, customer, account_owner) for customer in customer_tree.list_customers(places))
    sources = [source for source, _ in read if source]
    return [*adopted_domains.describe_left_open(load_relay(places), sources)]


@contextmanager
def _hold_build_lock(places: Places, kind: int, wait: float) -> Iterator[int]:
    descriptor = os.open(os.path.join(places.tables, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # anybody who could open it could hold it for ever
        with locks.hold_lock(
            descriptor, kind, wait, f"another rebuild-relay-recips was at work for {wait:.0f} s; try again"
        ):
            yield descriptor
    finally:
        os.close(descriptor)


def _find(places: Places, relay: RelaySettings, customers: Sequence[str], account_owner: Owner) -> Inputs:
    read = {customer: inputs.read_customer(places, customer, account_owner) for customer in customers}
    lost = {customer: f"{why}; {lost_trees.LOST}" for customer, (source, why) in read.items() if source is None}
    faulty = {customer: lost.get(customer, why) for customer, (_, why) in read.items() if why}
    sources = adopted_domains.find_left_open(relay, [source for source, _ in read.values() if source], places.tables)
    now = time.time()
    kept = lost_trees.keep_domains(places.tables, lost, sources)
    return Inputs(customers, sources, kept, faulty, now, boot.epoch_seconds(now))


def _install(places: Places, relay: RelaySettings, found: Inputs, record: Manifest) -> dict[str, str]:
    """Put the tables in force, then root's copies, then the manifest: a killed run is done again."""
    maker = Postmap(relay.config_directory, relay.table_type)
    parts = found.parts()
    try:
        record = install.install_tables(places.tables, record, _compose(places, parts), maker)
    except Refused:

        def refusal(some: Sequence[CustomerRecipients]) -> str:
            return install.find_refusal(places.tables, _compose(places, some), maker)

        in_force = install.read_installed(places.tables, "relay_domains")
        parts = acceptable.replace_refused(parts, found.now, in_force, refusal)
        record = install.install_tables(places.tables, record, _compose(places, parts), maker)
    if words := table_contents.find_words(parts):
        lookup.check_answers(relay, words)
    faulty = {each.source.tree.customer: _why_copy(each) for each in parts}
    faulty.update((name, _OUT) for source in found.sources if (name := source.tree.customer) not in faulty)
    faulty = {customer: why for customer, why in faulty.items() if why}
    sources, every = "" if faulty else found.digest(), {**found.faulty, **faulty}
    record = record._replace(sources=sources, faulty_customers=every, machine_start=found.machine_start)
    record.write(places.tables)
    return faulty


def _why_copy(part: CustomerRecipients) -> str:
    """Return why root's copy replaces a customer's files; else replace that copy. Empty where all is well."""
    source = part.source
    return source.why or source.copy.keep(source.tree, source.files) or part.told


def _compose(places: Places, parts: Sequence[CustomerRecipients]) -> Sequence[Table]:
    return table_contents.compose_tables(parts, install.read_installed(places.tables, "transport"))


def _tidy(places: Places, relay: RelaySettings, found: Inputs, *, is_dated: bool) -> None:
    """Remove what is no longer needed; the next run removes what cannot be removed now.

    `is_dated`: the last build went by the same clock, so that what was retired is deleted by its date.
    """
    with suppress(OSError):
        for customer, copy in inputs.find_copies(places).items():
            if customer not in found.customers:
                copy.forget()
    with suppress(OSError, Failed):
        maker = Postmap(relay.config_directory, relay.table_type)
        for name, built in Manifest.read(places.tables).tables.items():
            for stray in maker.find_strays(places.tables, name, tuple(built.files)):
                os.unlink(os.path.join(places.tables, stray))
    if is_dated:
        with suppress(OSError):
            directories.delete_retired(places, found.now)


def _write_lines(descriptor: int, lines: Iterable[str]) -> None:
    with suppress(OSError), open(descriptor, "w", encoding="utf-8", closefd=False) as stream:
        stream.writelines(f"{line}\n" for line in lines)


def _end(code: int, why: str) -> int:
    _write_lines(2, [f"rebuild-relay-recips: {why}"])
    return code
