"""Lines of a log as bytes, a slice at a time: in bounded memory whatever the log holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

LONGEST = 64 << 10  # octets of a line; Postfix writes 2,000, loggers up to 8,192 and a head
SLICE = 8 << 20  # octets
_END = 256  # octets by which a place in a log is known again


class Slice(NamedTuple):
    """Some whole lines."""

    lines: list[bytes]  # without their \\n, at which alone lines end
    octets: int  # from the end of the slice before to the end of the last line
    end: bytes  # the last octets of it


def read_slices(stream: BinaryIO, limit: int = 1 << 62) -> Iterator[Slice]:
    """Yield the lines that end within the next `limit` octets of a stream, without an unfinished last line.

    The beginning of a line that is too long is dropped, so that it fits no grammar.
    """
    rest, left_out = b"", 0
    while piece := stream.read(min(SLICE, limit)):
        limit -= len(piece)
        text = rest + piece
        ends = text.rfind(b"\n") + 1
        if ends:
            yield Slice(text[:ends].split(b"\n")[:-1], left_out + ends, text[max(0, ends - _END) : ends])
            left_out = 0
        rest = text[ends:]
        if len(rest) > LONGEST:
            shorter = rest.lstrip(b"\0")[-LONGEST:]
            left_out += len(rest) - len(shorter)
            rest = shorter
