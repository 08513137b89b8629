"""How far the relay's logs have been read, in the account's own directory: a small file, bounded, replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from receiver.monitoring.last_hop import Trace
from receiver.monitoring.log_reading import Position
from receiver.system import atomic_files

_FILE = "mail-log.json"
_MOST_HELD_BACK = 2_000


class LogState(NamedTuple):
    """The state that one reading keeps for the next."""

    read: int = 0  # when the last reading ended, epoch seconds; 0: there was none
    positions: Mapping[str, Position] = {}  # by the log's path
    cuts: tuple[int, ...] = ()  # lengths at which lines are cut
    held_back: tuple[tuple[str, Trace], ...] = ()  # hops whose queue ids may yet turn up
    cursor: str = ""  # of the journal
    unread: int = 0  # lines that were not understood
    gap: str = ""  # the last day on which lines were seen to be missing
    is_behind: bool = False  # the time did not suffice for all that is there
    heard: str = ""  # the newest day on which smtpd or a delivery agent wrote a line, or that of the first reading


def load(directory: int) -> LogState:
    """Read it. Where it is damaged, or there is none, the logs are read anew."""
    fields = atomic_files.load_json(directory, _FILE)
    try:
        return _state(fields) if fields else LogState()
    except (TypeError, ValueError, KeyError, AttributeError):
        return LogState()


def save(directory: int, state: LogState) -> None:
    """Replace it."""
    atomic_files.store_json(directory, _FILE, {**state._asdict(), "held_back": state.held_back[-_MOST_HELD_BACK:]})


def _state(fields: Mapping[str, Any]) -> LogState:
    positions = {
        str(path): Position(int(offset), int(length), str(digest))
        for path, (offset, length, digest) in fields["positions"].items()
    }
    held_back = tuple(
        (str(queue_id), Trace(str(day), int(order), tuple(map(str, names)), str(status)))
        for queue_id, (day, order, names, status) in fields["held_back"]
    )
    cuts, cursor = tuple(map(int, fields["cuts"])), str(fields["cursor"])
    numbers = int(fields["unread"]), str(fields["gap"]), bool(fields["is_behind"])
    heard = str(fields.get("heard", ""))
    return LogState(int(fields["read"]), positions, cuts, held_back, cursor, *numbers, heard)
