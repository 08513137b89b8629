"""A list as bytes with its SHA-256; and a kept one as a file: in gzip, behind a line that says where it came from."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from receiver.formatting import is_time
from receiver.outcome import Failed, Origin
from receiver.system.checked_json import check_types, decode_json

LIMIT = 400 << 20  # bytes of a list as text: a million of the longest addresses
PACKED = LIMIT // 2  # bytes of it in gzip
LABEL = 64 << 10  # bytes of a kept list in which its first line ends
_SHORTEST = len("a@b\n")
_GZIP = 31  # zlib's word for gzip; importing gzip itself costs an upload 4 ms


class ListRecord(NamedTuple):
    """What is known of a kept list."""

    list: str  # its SHA-256
    total: int
    added: int  # to the list before it
    removed: int  # from it
    origin: Origin
    domains: tuple[str, ...]  # that had an accepted list while it was in force
    accepted_by: str = ""  # who accepted it, or rolled back to it; empty: the guard had nothing against it
    accepted_when: int = 0
    entry: str = ""  # the id of the log entry by which it came; empty: the first release wrote this


def encode_recipients(recipients: Iterable[str]) -> bytes:
    """Return a list as the spool's files have it: sorted, one a line."""
    return "\n".join([*sorted(recipients), ""]).encode()


def decode_recipients(content: bytes) -> frozenset[str]:
    """Return the recipients of a list. Raises ValueError for no UTF-8, and for lines too short for addresses.

    The lines are counted before they are split: a split line takes twenty times the memory of an empty line's byte.
    """
    if content.count(b"\n") * _SHORTEST > len(content):
        raise ValueError("a list has lines too short for an address")
    return frozenset(content.decode().split("\n")) - {""}


def digest(content: bytes) -> str:
    """Return the SHA-256 of a list, the same on every relay."""
    return hashlib.sha256(content).hexdigest()


def pack_list(kept: ListRecord, content: bytes) -> bytes:
    """Return the file of a kept list."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    first = json.dumps({**kept._asdict(), "origin": kept.origin._asdict()}).encode() + b"\n"
    return squeeze.compress(first) + squeeze.compress(content) + squeeze.flush()


def read_record(file: bytes) -> ListRecord:
    """Read only the first line of what pack_list() returned. Raises Failed."""
    try:
        line, end, _ = zlib.decompressobj(_GZIP).decompress(file, LABEL).partition(b"\n")
        found = decode_json(line if end else b"")
        fields = {name: value for name, value in found.items() if name in ListRecord._fields}
        origin = Origin(**fields.pop("origin"))
        return _check_types(ListRecord(**{**fields, "origin": origin, "domains": tuple(fields["domains"])}))
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failed(f"a kept list is damaged: {error}") from error


def _check_types(kept: ListRecord) -> ListRecord:
    """Return a label whose fields have the right types: an attacker may have written it. Raises TypeError."""
    origin = kept.origin
    words = (kept.list, kept.accepted_by, kept.entry, origin.key, origin.client, origin.by, *kept.domains)
    numbers = (kept.total, kept.added, kept.removed, kept.accepted_when, origin.when)
    check_types(str, *words)
    check_types(int, *numbers)
    if not (is_time(kept.accepted_when) and is_time(origin.when)):
        raise TypeError("its label has an impossible date")
    return kept


def read_content(file: bytes, limit: int = LIMIT) -> bytes:
    """Return the list in what pack_list() returned, checked by its SHA-256. Raises Failed, and beyond `limit` bytes."""
    name, unpack = read_record(file).list, zlib.decompressobj(_GZIP)
    found = unpack.decompress(file, limit + LABEL).partition(b"\n")[2]
    if unpack.unconsumed_tail or len(found) > limit:
        raise Failed(f"a list is larger than {limit} bytes")
    if digest(found) != name:
        raise Failed("a kept list is damaged: it is not what its own first line says")
    return found
