"""The directories that root makes for itself and for account `postern`, and where spools of former customers go.

Every parent is root's, so the account can put nothing in the place of a directory; and still each is made beside an
open parent, opened without following links, and given away by descriptor.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from common.names import CUSTOMER
from common.paths import Places
from receiver.formatting import DAY
from receiver.outcome import Failed
from receiver.system.account import Owner

KEPT_DAYS = 30  # of a former customer's spool
_RETIRED = re.compile(r".+-([0-9]{4}-[0-9]{2}-[0-9]{2})(\.[0-9]+)?")
_PLACES = 100  # spools of one customer that may be retired on a day


class Directory(NamedTuple):
    """A directory with its owner and mode."""

    path: str
    mode: int
    owner: Owner


def shared_directories(places: Places, metrics: str, account_owner: Owner) -> Iterator[Directory]:
    """Yield the directories that all customers share, parents first.

    The metrics' directory is among them if it is in /var/lib/postern.
    """
    ours = Owner(os.geteuid(), os.getegid())
    yield Directory(places.tables, 0o755, ours)
    yield Directory(os.path.join(places.tables, "good"), 0o700, ours)
    yield Directory(places.var, 0o755, ours)
    yield Directory(os.path.join(places.var, ".ssh"), 0o755, ours)
    yield Directory(os.path.join(places.var, "customers"), 0o755, ours)
    yield Directory(_retired_path(places), 0o700, ours)
    yield Directory(places.run, 0o700, account_owner)
    if os.path.dirname(metrics) == places.var:
        yield Directory(metrics, 0o755, account_owner)


def spool_directory(places: Places, customer: str, account_owner: Owner) -> Directory:
    """Return the spool's directory of one customer."""
    return Directory(places.spool(customer), 0o700, account_owner)


def check_directory(wanted: Directory) -> str:
    """Return what is wrong with a directory; empty where it is as it must be."""
    try:
        info = os.lstat(wanted.path)
    except FileNotFoundError:
        return "is not there"
    if not stat.S_ISDIR(info.st_mode):
        return "is no directory"
    right = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (wanted.mode, *wanted.owner)
    return "" if right else f"is not of mode {wanted.mode:04o} and user {wanted.owner.uid}"


def make_directory(wanted: Directory) -> None:
    """Make a directory, or put its owner and mode in order. Raises OSError."""
    parent, name = os.path.split(wanted.path)
    within = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=within)
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    finally:
        os.close(within)
    try:
        os.fchown(directory, *wanted.owner)
        os.fchmod(directory, wanted.mode)
    finally:
        os.close(directory)


def make_directories(
    places: Places, metrics: str, customers: Sequence[str], account_owner: Owner, now: float
) -> dict[str, str]:
    """Make missing directories and move away the spools of former customers; return for whom that failed, and why.

    Raises Failed for a directory that all customers share.
    """
    for wanted in shared_directories(places, metrics, account_owner):
        if why := _make_if_wrong(wanted):
            raise Failed(f"{wanted.path}: {why}")
    failed = {customer: _make_if_wrong(spool_directory(places, customer, account_owner)) for customer in customers}
    failed = {customer: f"its spool: {why}" for customer, why in failed.items() if why}
    failed.update((customer, _move_away(places, customer, now)) for customer in find_orphans(places, customers))
    return {customer: why for customer, why in failed.items() if why}


def check_directories(places: Places, metrics: str, customers: Sequence[str], account_owner: Owner) -> list[str]:
    """Return what make_directories() would change."""
    needed = [
        *shared_directories(places, metrics, account_owner),
        *(spool_directory(places, customer, account_owner) for customer in customers),
    ]
    lines = [f"{each.path} {wrong}" for each in needed if (wrong := check_directory(each))]
    return lines + [f"{places.spool(customer)} is of no customer" for customer in find_orphans(places, customers)]


def find_orphans(places: Places, customers: Sequence[str]) -> list[str]:
    """Return the spools whose customer has no tree any more."""
    with suppress(FileNotFoundError):
        names = os.listdir(os.path.join(places.var, "customers"))
        return sorted(name for name in set(names) - set(customers) if CUSTOMER.fullmatch(name))
    return []


def delete_retired(places: Places, now: float) -> None:
    """Remove what was retired more than KEPT_DAYS ago. What cannot be removed stays for the next run.

    By rm, which no depth of directories and no link laid meanwhile leads astray. subprocess costs 5 ms to load, so that
    is done only for something that must go.
    """
    last = _day(now - KEPT_DAYS * DAY)
    found = ((name, _RETIRED.fullmatch(name)) for name in os.listdir(_retired_path(places)))
    if old := [os.path.join(_retired_path(places), name) for name, retired in found if retired and retired[1] < last]:
        import subprocess

        argv = ["/bin/rm", "-rf", "--one-file-system", "--", *old]
        subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def remove_directory(directory: str) -> None:
    """Remove a directory of root's own that holds files alone."""
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    os.rmdir(directory)


def _day(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def _retired_path(places: Places) -> str:
    return os.path.join(places.var, "retired")


def _make_if_wrong(wanted: Directory) -> str:
    """Make a directory that is missing or not as it must be; return what failed."""
    try:
        if check_directory(wanted):
            make_directory(wanted)
    except OSError as error:
        return str(error.strerror)
    return ""


def _move_away(places: Places, customer: str, now: float) -> str:
    name = os.path.join(_retired_path(places), f"{customer}-{_day(now)}")
    free = (path for path in (name, *(f"{name}.{number}" for number in range(1, _PLACES))) if not os.path.lexists(path))
    try:
        os.rename(places.spool(customer), next(free, name))
    except OSError as error:
        return f"has no tree any more, and its spool cannot be moved away: {error.strerror}"
    return ""
