"""Runs on the relay: main.cf as a file. An edit keeps its link, mode and owner.

postconf would make a plain file of it that everybody may read, even if there are passwords in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from common.paths import PLACES
from remote.files import replace, tidy

AGE = 3  # seconds


@contextmanager
def edit_main_cf(directory: str) -> Iterator[str]:
    """Yield a directory with a copy of main.cf to be edited, and put the result in place afterwards."""
    copy = os.path.join(PLACES.etc, f".edit.postern-{os.urandom(6).hex()}")
    os.makedirs(copy, 0o700)
    file = os.path.join(copy, "main.cf")
    try:
        content = read_main_cf(directory)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as draft:
            # Without a line end, postconf of 3.7 writes what it adds into the last word.
            draft.write(content if content.endswith(b"\n") or not content else content + b"\n")
        yield copy
        with open(file, "rb") as edited:
            put_main_cf(directory, edited.read())
    finally:
        for name in os.listdir(copy):
            os.unlink(os.path.join(copy, name))
        os.rmdir(copy)


def read_main_cf(directory: str) -> bytes:
    """Return its content."""
    with open(os.path.join(directory, "main.cf"), "rb") as file:
        return file.read()


def put_main_cf(directory: str, content: bytes) -> None:
    """Replace main.cf's content by one rename, of the file that a link leads to.

    It is some seconds old then: as long as main.cf was written within two, each of Postfix' programs that starts waits,
    since it may be half written (dict_load_file_xt), and with it the mail that it would take.
    """
    path = os.path.realpath(os.path.join(directory, "main.cf"))
    info = os.stat(path)
    replace(path, content, info.st_mode & 0o7777, (info.st_uid, info.st_gid), AGE)


def tidy_main_cf(directory: str) -> None:
    """Remove what killed runs left beside it, and their copies."""
    tidy([os.path.realpath(os.path.join(directory, "main.cf")), os.path.join(PLACES.etc, "edit")])
