"""How times, people, counts and text from outside are printed."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice

from common.spool_files import LATEST

DAY = 86_400  # seconds
NAMED = 1_000  # names of each kind that a dry run lists
_LEFT_OUT = 20  # values left out that are named to people
_SOME = 10  # names in a sentence


def escape(text: str, limit: int = 200) -> str:
    """Return text from outside, fit for a terminal and a log: printable characters, the rest as escapes, bounded.

    It stays on one line and cannot move a cursor, reverse the direction of writing or colour anything. It is plain
    text: whoever prints it through a program with markup must switch the markup off.
    """
    kept = text[:limit]
    safe = kept if kept.isprintable() else "".join(c if c.isprintable() else _escape_character(c) for c in kept)
    return safe if len(text) <= limit else safe + "..."


def printable(line: str) -> str:
    """Return a line as programs of ours print it: whatever a value in it holds, it stays one line of plain text."""
    return escape(line, len(line))


def count(number: int, noun: str) -> str:
    """Return the number with its noun, which takes s or es where there are several."""
    return f"{number} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def format_actor(key: str, client: str, by: str) -> str:
    """Return who brought a list: a key, or a person by `postern`, and from where."""
    who = f"key {key}" if key else by or "somebody"
    return f"{escape(who)} from {escape(client)}" if client else escape(who)


def format_time(when: int) -> str:
    """Return a time in UTC as people read it; for a number that is no date, words that say so."""
    if not is_time(when):
        return "an impossible time"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def is_time(when: object) -> bool:
    """Return whether a value can be a time, in epoch seconds."""
    return isinstance(when, int) and 0 <= when <= LATEST


def format_age(seconds: int) -> str:
    """Return an age in its largest unit, as `3 min`, `5 h` or `12 d`; a negative one, of a wrong clock, is `ahead`."""
    if seconds < 0:
        return "ahead"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 2 * DAY else f"{seconds // DAY} d"


def name_left_out(left_out: Sequence[Mapping[str, str]]) -> list[str]:
    """Return lines that name the first values that were left out, each a `value` as it was exported and a `reason`."""
    lines = [f"  left out: {escape(each['value'])} ({escape(each['reason'])})" for each in left_out[:_LEFT_OUT]]
    more = len(left_out) - len(lines)
    return [*lines, f"  ... and {more} more; --json names them"] if more else lines


def name_some(names: Collection[str], most: int = _SOME, longest: int = 200) -> str:
    """Return the first names, each bounded to `longest` characters, and how many more there are."""
    first = ", ".join(escape(name, longest) for name in islice(names, most))
    return f"{first} and {len(names) - most} more" if len(names) > most else first


def first_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a dry run lists: sorted, at most NAMED."""
    return tuple(sorted(names)[:NAMED])


def sort_by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return reasons and their counts, the most frequent first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _escape_character(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
