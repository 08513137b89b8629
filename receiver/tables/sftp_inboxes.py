"""The SFTP inboxes of a relay: root makes them and removes them."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress

from common.names import CUSTOMER, upload_account
from common.paths import DROPPED, Places
from receiver.formatting import count
from receiver.system.account import Owner
from receiver.tables import directories
from receiver.tables.customer_tree import CustomerTree
from receiver.tables.directories import Directory

_MODE = 0o660


def make_inboxes(places: Places, trees: Iterable[CustomerTree], account_owner: Owner) -> None:
    """Make missing inboxes, and remove those without a customer. What cannot be done now, the next run does."""
    wanted = [tree.customer for tree in trees if tree.drop]
    for customer in wanted:
        with suppress(OSError, KeyError):
            if _find_faults(places, customer, account_owner):
                _make(places, customer, account_owner)
    for customer in _find_leavers(places, wanted):
        with suppress(OSError):
            directories.remove_directory(places.drop(customer))


def check_inboxes(places: Places, trees: Iterable[CustomerTree], account_owner: Owner) -> list[str]:
    """Return what make_inboxes() would change."""
    wanted = [tree.customer for tree in trees if tree.drop]
    lines = [
        f"{places.drop(customer)}: {why}"
        for customer in wanted
        for why in _find_faults(places, customer, account_owner)
    ]
    return lines + [f"{places.drop(customer)} is of no customer" for customer in _find_leavers(places, wanted)]


def _find_faults(places: Places, customer: str, account_owner: Owner) -> list[str]:
    path = places.drop(customer)
    try:
        owner = _owner(customer, account_owner)
        info = os.lstat(os.path.join(path, DROPPED))
    except KeyError:
        return [f"there is no account {upload_account(customer)}"]
    except OSError as error:
        return [str(error.strerror)]
    if wrong := directories.check_directory(_directory(path)):
        return [wrong]
    is_right = stat.S_ISREG(info.st_mode) and stat.S_IMODE(info.st_mode) == _MODE
    if not is_right or (info.st_uid, info.st_gid) != tuple(owner) or info.st_nlink != 1:
        return [f"{DROPPED} is no plain file of {upload_account(customer)}, or not of mode {_MODE:04o}"]
    others = sorted(set(os.listdir(path)) - {DROPPED})
    return [f"holds {count(len(others), 'file')} besides {DROPPED}"] if others else []


def _make(places: Places, customer: str, account_owner: Owner) -> None:
    owner = _owner(customer, account_owner)
    for path in (os.path.dirname(places.drop(customer)), places.drop(customer)):
        directories.make_directory(_directory(path))
    within = os.open(places.drop(customer), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for name in os.listdir(within):
            info = os.stat(name, dir_fd=within, follow_symlinks=False)
            if name != DROPPED or not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
                os.unlink(name, dir_fd=within)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(DROPPED, flags, 0o600, dir_fd=within)
        try:
            os.fchown(descriptor, *owner)
            os.fchmod(descriptor, _MODE)
        finally:
            os.close(descriptor)
    finally:
        os.close(within)


def _directory(path: str) -> Directory:
    """Return the directory as sshd wants a chroot: root's, and nobody else may write there."""
    return Directory(path, 0o755, Owner(os.geteuid(), os.getegid()))


def _owner(customer: str, account_owner: Owner) -> Owner:
    return Owner(pwd.getpwnam(upload_account(customer)).pw_uid, account_owner.gid)


def _find_leavers(places: Places, wanted: Sequence[str]) -> list[str]:
    with suppress(FileNotFoundError):
        names = os.listdir(os.path.dirname(places.drop("")))
        return sorted(name for name in set(names) - set(wanted) if CUSTOMER.fullmatch(name))
    return []
