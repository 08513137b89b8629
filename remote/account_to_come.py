"""Runs on the relay: lets a program find an account that does not exist yet, as it will once the account is made.

sshd ignores `Match Group` for a user that does not exist, so its answer would be another one afterwards.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from remote.files import read_text

FILES = ("passwd", "group")
NUMBER = 61183  # as user and as group: below those that systemd gives away, and above those of people
SHOW = """
import ctypes, os, sys
NEW_MOUNTS, PRIVATE, BIND = 0x20000, 0x44000, 0x1000
libc, folder = ctypes.CDLL(None), os.fsencode(sys.argv[1])
if libc.unshare(NEW_MOUNTS) or libc.mount(b"none", b"/", None, PRIVATE, None):
    sys.exit("no private mounts can be made")
for name in (b"passwd", b"group"):
    if libc.mount(folder + b"/" + name, b"/etc/" + name, None, BIND, None):
        sys.exit("nothing can be mounted over /etc/" + name.decode())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""The mounts are its own and end with it. It does without mount(8), which a small Debian lacks."""


@contextmanager
def pretend_account(account: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that go before a program, by its absolute path, so that it finds the account.

    There are none if the account exists. If no mounts can be made, the program is not run and the exit code is 1.
    """
    if has_account(account):
        yield ()
        return
    folder = f"/var/tmp/postern-{os.urandom(8).hex()}"  # noqa: S108  # mkdir takes nothing that is there already
    os.mkdir(folder, 0o700)
    try:
        added = (f"{account}:x:{NUMBER}:{NUMBER}::/nonexistent:/bin/sh\n", f"{account}:x:{NUMBER}:\n")
        for name, line in zip(FILES, added):
            with open(os.path.join(folder, name), "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{read_text(f'/etc/{name}').rstrip()}\n{line}")
            os.chmod(os.path.join(folder, name), 0o644)
        yield (sys.executable, "-I", "-S", "-c", SHOW, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has_account(account: str) -> bool:
    """Return whether there is an account of that name."""
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
