"""The account that uploads run as, and whose the files are that root gives away to it."""

from __future__ import annotations

import pwd
from typing import NamedTuple

from receiver.outcome import Failed

NAME = "postern"


class Owner(NamedTuple):
    """The owner of a file or directory."""

    uid: int
    gid: int


def find_account() -> Owner:
    """Find the account. Raises Failed."""
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError as error:
        raise Failed(f"there is no account {NAME!r}; provision this relay again") from error
    return Owner(entry.pw_uid, entry.pw_gid)
