"""A plan in a few words: how many files are new, changed and removed, and what else is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from deploy.items import Item, State

_VERBS = {"package": "install", "service": "start", "derived": "build", "sudo": "try sudo as", "timer": "set timer"}
"""What is done with kinds that are neither files nor called as they are meant to be read."""


def summarize(changes: Iterable[tuple[Item, State | None]]) -> str:
    """Return the changes in one line, as "files: 12 new, 1 changed; install make, sudo; build tables"."""
    files, others = Counter[str](), dict[str, list[str]]()
    for item, before in changes:
        if item.kind in ("file", "tree"):
            files.update(_file_fates(_texts(item, before), _texts(item, item.wanted)))
        else:
            others.setdefault(_VERBS.get(item.kind, item.kind), []).append(item.name)
    counted = ", ".join(f"{files[fate]} {fate}" for fate in ("new", "changed", "removed") if files[fate])
    return "; ".join(
        [*([f"files: {counted}"] if counted else []), *(f"{verb} {', '.join(each)}" for verb, each in others.items())]
    )


def _file_fates(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in {*before, *after}:
        if name not in before:
            yield "new"
        elif name not in after:
            yield "removed"
        elif before[name] != after[name]:
            yield "changed"


def _texts(item: Item, state: State | None) -> Mapping[str, object]:
    """Return the files of an item by name: a file is one, with its mode; a tree has several."""
    if state is None:
        return {}
    return state.get("files") or {} if item.kind == "tree" else {item.name: state}
