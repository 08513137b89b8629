"""The heads that a relay has of a customer, with their lists: `heads.json` and `heads/` in the customer's spool.

`heads.json` is replaced in one rename, under the customer's lock. What is in force is made of it, so that a run which
was killed after that rename is finished by the next.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from common.spool_files import HEADS_IN_FORCE, LATEST
from receiver.formatting import escape
from receiver.lists import history, list_file, removed_addresses, review_record
from receiver.lists.accepted import Accepted
from receiver.lists.spool import Spool
from receiver.outcome import Failed
from receiver.store.head import Freeze, Head, Tip, decode_head, encode_head, new_point
from receiver.store.settings import load_revision
from receiver.system import atomic_files

_NAME = "heads.json"
_FOLDER = "heads"
_LIMIT = 256 << 20  # bytes of heads.json: a million addresses that a rollback brought back


def read_heads(spool: Spool) -> tuple[Tip, ...]:
    """Return this relay's heads, as far as they can be read."""
    return tuple(tip for tip in map(partial(_read_tip, spool), _load(spool) or ()) if tip)


def read_texts(spool: Spool) -> tuple[str, ...]:
    """Return this relay's heads as they are written, without their lists: enough to see whether they have changed."""
    return tuple(_load(spool) or ())


def adopt_list(spool: Spool, now: int) -> None:
    """Make a head of the list in force, with a random point and no past, where no readable head has it.

    A relay begins so that had a list before there was a store, or whose heads are damaged: nobody is removed by that.
    The caller holds the customer's lock.
    """
    known = _load(spool)
    tips = read_heads(spool)
    if (known is None or len(tips) < len(known)) and spool.read_text():
        write_heads(spool, (*tips, _head_of_spool(spool, now)))


def forget_heads(spool: Spool) -> None:
    """Delete this relay's heads: recipients published without the store would go if an old head counted again."""
    for name in (HEADS_IN_FORCE, _NAME):
        atomic_files.remove(spool.folder, name)


def _head_of_spool(spool: Spool, now: int) -> Tip:
    text, waits, freeze = spool.read_text(), spool.summarize_held(), spool.read_freeze()
    frozen = Freeze(escape(freeze.by), max(0, min(freeze.since, now)), escape(freeze.list), "") if freeze else None
    back = removed_addresses.read_removals(spool.folder, now)
    kept = {name: back[name].entry for name in removed_addresses.find_brought_back(back)}
    accepted = spool.read_accepted()
    dates = {name: when for name, when in accepted.domains.items() if 0 <= when <= LATEST}
    head = Head(new_point(), now, list_file.digest(text), Accepted())
    head = head._replace(settings=load_revision(spool.places, spool.customer))
    parts = {"accepted": accepted._replace(domains=dates), "held": waits and waits.fields(), "kept": kept}
    return Tip(_with_sound_parts(head, {**parts, "frozen": frozen, "export": spool.read_last_export()}), text)


def _with_sound_parts(head: Head, parts: Mapping[str, Any]) -> Head:
    """Return a head with those of some fields that can be read back: a damaged file of a spool takes no list away."""
    for name, part in parts.items():
        with suppress(ValueError):
            head = decode_head(encode_head(head._replace(**{name: part})))
    return head


def _read_tip(spool: Spool, text: str) -> Tip | None:
    with suppress(ValueError):
        head = decode_head(text)
        content = find_list(spool, head.list)
        return None if content is None else Tip(head, content)
    return None


def write_heads(spool: Spool, tips: Sequence[Tip]) -> None:
    """Replace this relay's heads. The caller holds the customer's lock."""
    atomic_files.make(spool.folder, _FOLDER)
    with atomic_files.hold_directory(_FOLDER, spool.folder) as directory:
        for tip in tips:
            if _read_packed(directory, tip.head.list) is None:
                atomic_files.replace(directory, tip.head.list, zlib.compress(tip.text, 1))
    texts = [encode_head(tip.head) for tip in tips]
    atomic_files.replace(spool.folder, _NAME, atomic_files.encode_json({"postern": 1, "heads": texts}))
    with atomic_files.hold_directory(_FOLDER, spool.folder) as directory:
        for name in set(atomic_files.list_names(spool.folder, _FOLDER)) - {tip.head.list for tip in tips}:
            atomic_files.remove(directory, name)


def find_list(spool: Spool, name: str) -> bytes | None:
    """Return a list, or the record of a review, by its SHA-256 wherever this relay keeps it; None: it does not."""
    return next((text for text in _copies(spool, name) if list_file.digest(text) == name), None)


def _copies(spool: Spool, name: str) -> Iterator[bytes]:
    with suppress(FileNotFoundError), atomic_files.hold_directory(_FOLDER, spool.folder) as directory:
        yield _read_packed(directory, name) or b""
    yield spool.read_text()
    with suppress(FileNotFoundError, Failed), atomic_files.hold_directory("held", spool.folder) as directory:
        for kept in ("recipients", review_record.NAME):
            yield atomic_files.read(directory, kept, list_file.LIMIT) or b""
    for entry in history.read_entries(spool.folder):
        if entry.kept.list == name:
            with suppress(Failed):
                yield history.read_list(spool.folder, entry.number)


def _read_packed(directory: int, name: str) -> bytes | None:
    with suppress(Failed, zlib.error):
        packed = atomic_files.read(directory, name, list_file.PACKED)
        text = None if packed is None else zlib.decompressobj().decompress(packed, list_file.LIMIT)
        return text if text is not None and list_file.digest(text) == name else None
    return None


def _load(spool: Spool) -> list[str] | None:
    """Return the heads as they are written; None: there are none, or the file is damaged."""
    with suppress(Failed, ValueError, TypeError, KeyError, RecursionError):
        fields = json.loads(atomic_files.read(spool.folder, _NAME, _LIMIT) or b"{}")
        return [str(text) for text in fields["heads"]]
    return None
