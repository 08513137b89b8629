"""Sentences about many customers or relays, in few lines: those with the same sentence are named together. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Said = TypeVar("Said", bound=Hashable)
NAMED = 3  # names that are written out where there may be many
CUSTOMER = "\0customer\0"
"""Stands in a sentence for the customer's id: several customers share the sentence, and read CUSTOMER there."""


class Sentence(NamedTuple):
    """A sentence about one customer."""

    customer: str
    text: str
    is_note: bool = False  # for who reads along, not for a program that reads stdout


def name_some(names: Sequence[str], most: int = NAMED) -> str:
    """Return the names, or the first of them and how many more there are."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def group_names(said: Iterable[tuple[str, Said]]) -> Mapping[Said, list[str]]:
    """Return the names by text; texts stand in the order in which each came first."""
    found: dict[Said, list[str]] = {}
    for name, text in said:
        found.setdefault(text, []).append(name)
    return found


def merge_sentences(sentences: Iterable[Sentence]) -> list[tuple[str, bool]]:
    """Return the lines to print, and whether each is a note."""
    found = group_names((one.customer, (one.text, one.is_note)) for one in sentences)
    return [
        (f"{name_some(names)}: {text.replace(CUSTOMER, names[0] if len(names) == 1 else 'CUSTOMER')}", is_note)
        for (text, is_note), names in found.items()
    ]
