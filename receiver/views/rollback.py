"""The lines that `rollback --dry-run` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import count, format_time
from receiver.views.recipients import name_recipients


def rollback_lines(preview: Mapping[str, Any]) -> list[str]:
    """Return which list would be in force, and who would come and go, name by name."""
    total, coming, going = preview["total"], preview["coming"], preview["going"]
    counts = f"{count(total, 'recipient')} (+{len(coming)} -{len(going)})"
    return [
        f"{preview['customer']}: back to list {preview['list'][:12]} of {format_time(preview['of'])}: {counts}",
        *name_recipients("+", "would come", coming),
        *name_recipients("-", "would go", going),
    ]
