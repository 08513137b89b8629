"""Files of a directory that is held open: read within bounds, replaced whole, never through a link."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from common.spool_files import SMALL
from receiver.outcome import Failed
from receiver.system.checked_json import decode_json

_PIECE = 1 << 20  # bytes
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the machine has no more: they say nothing of the file
_FORMAT = 1  # of those files; the format of the release before is read as well


def open_directory(path: str, within: int | None = None) -> int:
    """Open a directory that is no link. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)


@contextmanager
def hold_directory(path: str, within: int | None = None) -> Iterator[int]:
    """Open a directory that is no link, and close it at the end. Raises OSError."""
    descriptor = open_directory(path, within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_names(directory: int, folder: str) -> list[str]:
    """Return what lies in a directory of ours, sorted; nothing while it has not been made."""
    try:
        with hold_directory(folder, directory) as descriptor:
            return sorted(os.listdir(descriptor))
    except FileNotFoundError:
        return []


def make(directory: int, name: str) -> None:
    """Make a directory of ours that may be there already."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=directory)


def read(directory: int, name: str, limit: int) -> bytes | None:
    """Return the whole file; None: there is none. Raises Failed for what is no plain file of at most `limit` bytes."""
    content = read_start(directory, name, limit + 1)
    if content is not None and len(content) > limit:
        raise Failed(f"{name}: is larger than {limit} bytes")
    return content


def pieces(directory: int, name: str, limit: int) -> Iterator[bytes]:
    """Yield a file a piece at a time; nothing where there is none. Raises Failed, also beyond `limit`."""
    descriptor = _plain(directory, name)
    if descriptor is None:
        return
    with open(descriptor, "rb") as file:
        while piece := file.read(_PIECE):
            limit -= len(piece)
            if limit < 0:
                raise Failed(f"{name}: is larger than it may be")
            yield piece


def read_start(directory: int, name: str, size: int) -> bytes | None:
    """Return the first `size` bytes of a file; None: there is none. Raises Failed for what is no plain file."""
    descriptor = _plain(directory, name)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        return file.read(min(size, os.fstat(descriptor).st_size))  # read() allocates that much at once


def read_end(directory: int, name: str, size: int) -> bytes | None:
    """Return the last lines of a file, at most `size` bytes; None: there is none. Raises Failed for no plain file."""
    descriptor = _plain(directory, name)
    if descriptor is None:
        return None
    with open(descriptor, "rb") as file:
        start = os.fstat(descriptor).st_size - size
        if start <= 0:
            return file.read(size)
        file.seek(start)
        return file.read(size).partition(b"\n")[2]


def _plain(directory: int, name: str) -> int | None:
    """Open a plain file; None: there is none. Raises Failed for anything else, OSError where none can be opened now."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise Failed(f"{name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Failed(f"{name}: is not a plain file")
    return descriptor


def write(directory: int, name: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file and see it on the disk. A crash may leave half of it: for names that nobody reads yet."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with open(os.open(name, flags, mode, dir_fd=directory), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def rename(directory: int, old: str, new: str, into: int | None = None) -> None:
    """Rename a file over another, in this directory or another."""
    os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory if into is None else into)


def replace(directory: int, name: str, content: bytes) -> None:
    """Replace a file: a reader finds the old or the new content, even when this is killed.

    One writer at a time: what a killed one left is written over by the next.
    """
    write(directory, f".{name}", content)
    rename(directory, f".{name}", name)


def remove(directory: int, name: str) -> None:
    """Remove a file that may be gone already."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def load_json(directory: int, name: str) -> dict[str, Any] | None:
    """Read a JSON file of ours. None: there is none, or it is damaged, which the caller takes for the safe case."""
    try:
        fields = decode_json(read(directory, name, SMALL) or b"")
    except (Failed, ValueError):
        return None
    known = isinstance(fields, dict) and fields.pop("postern", None) in (_FORMAT, _FORMAT - 1)
    return fields if known else None


def store_json(directory: int, name: str, fields: dict[str, Any]) -> None:
    """Write a JSON file of ours in place of the old one. Raises OSError, also for more than is read of one."""
    content = encode_json({"postern": _FORMAT, **fields})
    if len(content) > SMALL:
        raise OSError(errno.EFBIG, f"it would have more than {SMALL} bytes", name)
    replace(directory, name, content)


def encode_json(fields: dict[str, Any]) -> bytes:
    """Return JSON on one line, as all of ours is written."""
    return (json.dumps(fields, ensure_ascii=False) + "\n").encode()
