"""Recipients by name, those with mail first, with a bound on how many are printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from receiver.formatting import NAMED, count, escape


def name_recipients(
    sign: str, what: str, names: Sequence[str], mail: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[str]:
    """Yield a headline and a line for each recipient, at most NAMED; `mail`: who has had some, by recipient."""
    delivered = mail or {}
    if names:
        yield f"{what} ({len(names)}):"
    for name in sorted(names, key=lambda name: (-delivered[name]["days"] if name in delivered else 0, name))[:NAMED]:
        seen = delivered.get(name)
        had = f"  has had mail lately: on {count(seen['days'], 'day')}, the last {seen['last']}" if seen else ""
        yield f"  {sign} {escape(name, 330)}{had}"
    if len(names) > NAMED:
        yield f"  ... and {len(names) - NAMED} more; --json names them all"
