"""Reads what a customer's server sends on stdin, within limits; it is complete only with its end mark."""

from __future__ import annotations

import hashlib
import os
import re
import select
import time

from common.settings import MEGABYTE
from receiver.outcome import Failed
from receiver.upload.formats.values import BadExport

SECONDS = 300.0
SPARE = 64  # megabytes of the disk that an upload leaves free

_READ = 1 << 18  # bytes asked for at once
_MARK = b"#postern end"
_WHOLE_MARK = re.compile(rb"#postern end(?: rows=(\d{1,9}))?(?: sha256=([0-9A-Fa-f]{64}))?\r\n")
_LONGEST_MARK = 120  # bytes
_LINE_ENDS = (b"\n", b"\n\0")  # the second is UTF-16's, whose other order ends in the first


def read_upload(descriptor: int, folder: str, megabytes: int, seconds: float = SECONDS) -> bytes:
    """Return all that is sent. Raises BadExport for too much or too slow, Failed for a nearly full disk, OSError.

    It is kept in a file without a name, in a folder of the account's own, until it is all there: hundreds of slow
    uploads cost disk, not memory, and a killed one leaves nothing.
    """
    until = time.monotonic() + seconds
    with open(_open_nameless(folder), "w+b", buffering=0) as file:
        size = 0
        while piece := _read_piece(descriptor, until, seconds):
            size += len(piece)
            if size > megabytes * MEGABYTE:
                why = "which is max_megabytes in the customer's file"
                raise BadExport(None, f"the export is larger than {megabytes} MB, {why}")
            check_free_space(folder)
            _write(file.fileno(), piece)
        file.seek(0)
        return file.readall()


def strip_end_mark(export: bytes, required: bool = True) -> bytes:
    """Return an export without its end mark. Raises BadExport where the mark is missing or does not match.

    The mark is ASCII whatever the export is, since the batch appends it with `copy /b`. `rows` counts line ends before
    the mark, the header's too; `sha256` is of all bytes before it.
    """
    at = export.rfind(_MARK, max(0, len(export) - _LONGEST_MARK))
    mark = _WHOLE_MARK.fullmatch(export, at) if at >= 0 else None
    if mark is None:
        if required or at >= 0:
            raise BadExport(None, _why_unended(export, at))
        return export
    before = export[:at]
    if not before.endswith(_LINE_ENDS):
        raise BadExport(None, "the row before the end mark is not whole: the export was cut off before it was sent")
    if before.startswith(_MARK) or any(line_end + _MARK in before for line_end in _LINE_ENDS):
        raise BadExport(None, "there is an end mark before the last line: two exports in one")
    _check_mark(before, mark)
    return before


def check_free_space(folder: str) -> None:
    """Raise Failed where the disk has too little room for an upload. Raises OSError."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < SPARE * MEGABYTE:
        raise Failed(f"{folder}: less than {SPARE} MB free; uploads are refused until there is more")


def _open_nameless(folder: str) -> int:
    """Open a new file that only this process can reach."""
    path = os.path.join(folder, f".upload-{os.urandom(8).hex()}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor


def _read_piece(descriptor: int, until: float, seconds: float) -> bytes:
    """Return what has arrived, after waiting for it; empty once the sender has ended."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    left = until - time.monotonic()
    if left <= 0 or not waiting.poll(left * 1000):
        raise BadExport(None, f"the export did not end within {seconds:g} s: the line is too slow, or the client hangs")
    return os.read(descriptor, _READ)


def _write(descriptor: int, piece: bytes) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]


def _why_unended(export: bytes, at: int) -> str:
    if not export:
        return "nothing was sent: the batch ran without its export"
    if at < 0:
        return "the end mark is missing: the export was cut off on its way, or runexport.bat did not send it"
    if export.endswith(_MARK + b"\n"):
        return "the end mark has lost its CR: the export must be sent byte for byte, not as text"
    return "the end mark is not whole, or something stands behind it: the export was cut off, or changed"


def _check_mark(before: bytes, mark: re.Match[bytes]) -> None:
    rows, sha256 = mark.groups()
    if rows is not None and int(rows) != (found := _rows(before)):
        raise BadExport(None, f"the end mark says {int(rows)} rows, there are {found}: some were lost on the way")
    if sha256 is not None and sha256.decode().lower() != hashlib.sha256(before).hexdigest():
        raise BadExport(None, "the SHA-256 is not the one the end mark says: the export was changed on the way")


def _rows(before: bytes) -> int:
    if before.startswith((b"\xff\xfe", b"\xfe\xff")):
        return before.decode("utf-16", "replace").count("\n")
    return before.count(b"\n")
