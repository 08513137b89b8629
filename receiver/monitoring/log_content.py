"""The content of an opened log file, unpacked: its first octets tell how, not its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, NamedTuple, cast

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)  # what reading a damaged archive raises
_GZIP, _XZ, _BZIP2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd"
_PACKED = (_GZIP, _XZ, _BZIP2, _ZSTD)
_NESTED = 3  # layers: logrotate has packed what was packed (mail.log.1.xz.1.xz)
_ZSTD_PROGRAM = "/usr/bin/zstd"


class OpenedFile(NamedTuple):
    """A log file that is open. Reading moves the descriptor's position, which all readers share."""

    name: str  # its path, for people
    descriptor: int
    written: float  # when it was written last, epoch seconds; 0: not known
    size: int  # when it was opened; what is written later is read next time

    @property
    def is_packed(self) -> bool:
        """Return whether it is an archive."""
        return os.pread(self.descriptor, 6, 0).startswith(_PACKED)


def open_log(path: str) -> OpenedFile:
    """Open a log file. Raises OSError, also for what is no plain file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not os.path.isfile(f"/dev/fd/{descriptor}"):
        os.close(descriptor)
        raise OSError(f"{path}: is not a plain file")
    return OpenedFile(path, descriptor, status.st_mtime, status.st_size)


@contextmanager
def open_content(file: OpenedFile, offset: int = 0) -> Iterator[BinaryIO]:
    """Open a file's content from an offset on; an offset in an archive counts the octets that were packed.

    Raises what DAMAGED names, here and while it is read.
    """
    with ExitStack() as opened:
        stream = cast("BinaryIO", opened.enter_context(open(os.dup(file.descriptor), "rb")))
        stream.seek(0 if file.is_packed else min(offset, file.size))
        if file.is_packed:
            stream = _unpack(stream, opened)
            skip(stream, offset)
        yield stream


def skip(stream: BinaryIO, octets: int) -> None:
    """Read over so many octets."""
    while octets > 0 and (piece := stream.read(min(octets, 1 << 20))):
        octets -= len(piece)


def _unpack(stream: BinaryIO, opened: ExitStack) -> BinaryIO:
    for _ in range(_NESTED):
        magic = stream.peek(6)[:6]  # type: ignore[attr-defined]
        if magic.startswith(_GZIP):
            stream = cast("BinaryIO", opened.enter_context(gzip.GzipFile(fileobj=stream)))
        elif magic.startswith(_XZ):
            stream = cast("BinaryIO", opened.enter_context(lzma.open(stream)))  # noqa: SIM115
        elif magic.startswith(_BZIP2):
            stream = cast("BinaryIO", opened.enter_context(bz2.open(stream)))  # noqa: SIM115
        elif magic.startswith(_ZSTD):
            return cast("BinaryIO", _Zstd(stream, opened))
    return stream


class _Zstd:
    """The output of program zstd: Python has a module for it from 3.14 on."""

    def __init__(self, stream: BinaryIO, opened: ExitStack) -> None:
        """Start it. Raises OSError where it is not installed, or another archive is around this one."""
        from subprocess import DEVNULL, PIPE, Popen  # 8 ms, which most runs need not pay

        os.lseek(stream.fileno(), 0, os.SEEK_SET)
        self._child = opened.enter_context(Popen((_ZSTD_PROGRAM, "-dcq"), stdin=stream, stdout=PIPE, stderr=DEVNULL))
        opened.callback(self._child.kill)

    def read(self, size: int) -> bytes:
        """Return the next octets. Raises OSError at the end of a damaged archive."""
        assert self._child.stdout is not None
        piece = self._child.stdout.read(size)
        if not piece and self._child.wait():
            raise OSError("zstd cannot unpack it to its end")
        return piece
