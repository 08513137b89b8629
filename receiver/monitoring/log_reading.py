"""One reading of opened log files, oldest first, slice after slice, until a time that is set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import BinaryIO, NamedTuple

from receiver.formatting import DAY
from receiver.monitoring.collector import Collector
from receiver.monitoring.log_content import DAMAGED, OpenedFile, open_content
from receiver.monitoring.log_head import read_head
from receiver.monitoring.log_lines import Slice, read_slices
from receiver.monitoring.log_years import Days, YearCounter
from receiver.monitoring.mail_log import Losses, MailLog, cut_lengths

_BEGIN = 4_096  # octets by which two files are known to be the same log
_LONG = 16 << 20  # octets of a file, more of which is not read twice
_STEP, _SAMPLE = 256 << 10, 8 << 10  # octets: a line is looked at each step; in a long file none spans a year
_AGO = DAY  # seconds that an archive may be older than the last reading and still hold the place where that ended


class Position(NamedTuple):
    """Where a reading ended: an offset in a file's content, which the octets before it identify, whatever its name."""

    offset: int
    length: int  # of those octets
    digest: str  # their SHA-256

    def is_in(self, file: OpenedFile) -> bool:
        """Return whether a file holds this place."""
        try:
            with open_content(file, self.offset - self.length) as stream:
                before = stream.read(self.length)
        except DAMAGED:
            return False
        return len(before) == self.length and sha256(before).hexdigest() == self.digest


class Part(NamedTuple):
    """What is to be read of a file: all from a place on."""

    file: OpenedFile
    offset: int = 0


def find_parts(files: Sequence[OpenedFile], position: Position | None, read_last: float) -> tuple[list[Part], bool]:
    """Return what follows a position, and whether it was found; if not, the files written since the last reading.

    The files come oldest first. A file that was renamed, copied or packed meanwhile is recognised by its content.
    """
    files = drop_copies(files)
    if position is None:
        return [Part(file) for file in files], True
    recent = [file for file in files if not file.is_packed or file.written >= read_last - _AGO]
    for file in sorted(recent, key=lambda file: (file.is_packed, -file.written)):  # to unpack one takes longer
        if position.is_in(file):
            later = files[files.index(file) + 1 :]
            return [Part(file, position.offset), *map(Part, later)], True
    return [Part(file) for file in files if file.written >= read_last], False


class Reading:
    """Reads parts of files one after the other, and knows where it is."""

    def __init__(self, log: MailLog, losses: Losses, collector: Collector, is_over: Callable[[], bool]) -> None:
        """Count into a collector, until `is_over` says that the time has come."""
        self.position: Position | None = None
        self._log, self._losses, self._collector, self._is_over = log, losses, collector, is_over

    def read(self, some: Sequence[Part]) -> bool:
        """Read them. Return whether all was read that could be; what is damaged counts as a gap."""
        return all(map(self._read_damaged, some))

    def _read_damaged(self, part: Part) -> bool:
        try:
            return self._read(part)
        except DAMAGED:
            self._losses.gaps = True
        return True

    def _read(self, part: Part) -> bool:
        days = Days(self._years(part), part.file.written)
        offset = part.offset
        for lines, octets, end in _slices(part):
            self._log.cut = cut_lengths(lines, self._log.cut)
            self._collector.collect(self._log.read(lines, days))
            offset += octets
            self.position = Position(offset, len(end), sha256(end).hexdigest())
            if self._is_over():
                return False
        return True

    def _years(self, part: Part) -> YearCounter:
        """Count the turns of the year in the whole of a part, or of an archive as far as the time allows."""
        years = YearCounter()
        if not part.file.is_packed and part.file.size - part.offset > _LONG:
            for line in _samples(part):
                years.follow(line)
            return years
        with suppress(*DAMAGED):
            for lines, _, _ in _slices(part):
                for line in lines:
                    years.follow(line)
                if self._is_over():
                    break
        return years


def drop_copies(files: Iterable[OpenedFile]) -> list[OpenedFile]:
    """Return the files without copies of one another: logrotate was stopped between a copy and the removal."""
    seen, found = set(), []
    for file in sorted(files, key=lambda file: file.is_packed):
        with suppress(*DAMAGED), open_content(file) as stream:
            begins = _beginning(stream)
            if begins in seen:
                continue
            seen.add(begins)
        found.append(file)
    return sorted(found, key=lambda file: file.written)


def _beginning(stream: BinaryIO) -> bytes:
    """Return the first octets of a log, behind the hole that truncating a file in place leaves before what is new."""
    begins = b""
    while not begins and (piece := stream.read(1 << 20)):
        begins = piece.lstrip(b"\0")
    return (begins + stream.read(_BEGIN))[:_BEGIN]


def find_cut_lengths(some: Sequence[Part]) -> frozenset[int]:
    """Return the lengths at which lines of these files are cut, before any of them is read."""
    lengths: frozenset[int] = frozenset()
    for part in some:
        with suppress(*DAMAGED):  # the reading itself finds that
            for lines, _, _ in _slices(part):
                lengths = cut_lengths(lines, lengths)
    return lengths


def read_first_day(part: Part) -> str:
    """Return the day of the first line; empty where it has none."""
    with suppress(*DAMAGED):
        lines = (line for some in _slices(part) for line in some.lines)
        line, head = next(((line, head) for line in lines if (head := read_head(line))), (b"", None))
        years = YearCounter()
        years.follow(line)
        return Days(years, part.file.written).name(head.stamp) if head else ""
    return ""


def _samples(part: Part) -> Iterator[bytes]:
    """Yield lines from all over a long file, the last one among them: to read the whole would take all the time."""
    size = part.file.size
    for offset in (*range(part.offset, size - _SAMPLE, _STEP), size - _SAMPLE):
        yield from os.pread(part.file.descriptor, _SAMPLE, offset).split(b"\n")[1:-1][-1:]


def _slices(part: Part) -> Iterator[Slice]:
    file = part.file
    with open_content(file, part.offset) as stream:
        yield from read_slices(stream, 1 << 62 if file.is_packed else max(0, file.size - part.offset))
