"""A customer's SFTP inbox: one file, for a client that can only copy files and cannot send them to a command.

`/var/lib/postern/drop/ID` is root's, and so is the only name in it, `exchusers.txt`. The file itself is the upload
account's, which sees no other of this machine; account `postern` reads it, and empties it when a whole list is taken.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from common.paths import DROPPED, Places
from receiver.outcome import Busy, Failed
from receiver.upload import stream


def read_inbox(places: Places, customer: str, megabytes: int) -> bytes:
    """Return the whole content of the inbox, and leave the file empty for the next upload.

    Raises BadExport for an incomplete export, which stays: the rest may still come. Raises Busy for a file that another
    upload writes meanwhile, Failed for what is no file of ours.
    """
    with _open_inbox(places, customer) as descriptor:
        before = _stamp(descriptor)
        export = stream.strip_end_mark(stream.read_upload(descriptor, places.run, megabytes))
        if _stamp(descriptor) != before:
            raise Busy("another upload is being written; try again in some minutes")
        os.ftruncate(descriptor, 0)
    return export


@contextmanager
def _open_inbox(places: Places, customer: str) -> Iterator[int]:
    try:
        within = os.open(places.drop(customer), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            descriptor = os.open(DROPPED, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
        finally:
            os.close(within)
    except OSError as error:
        raise Failed(f"its SFTP inbox cannot be read: {error.strerror}; provision this relay again") from error
    try:
        _check(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _check(descriptor: int) -> None:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        raise Failed(f"{DROPPED} in its SFTP inbox is no plain file of its own; provision this relay again")


def _stamp(descriptor: int) -> tuple[int, int]:
    info = os.fstat(descriptor)
    return info.st_size, info.st_mtime_ns
