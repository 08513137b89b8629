"""The line of a customer's file that says something, for a person who is to change it."""

from __future__ import annotations

import re
from pathlib import Path


def find_line(where: Path, customer_id: str, key: str, word: str = "") -> str:
    """Return `customers/ID.toml:LINE: text` of the line that has a word, else of the one that sets a key; else empty.

    Both may be on different lines: a list may have one for each of its words.
    """
    name = f"customers/{customer_id}.toml"
    lines = (where / name).read_text("utf-8").split("\n")
    uncommented = {number: line for number, line in enumerate(lines, 1) if not line.lstrip().startswith("#")}
    begins = [number for number, line in uncommented.items() if re.match(rf"\s*{re.escape(key)}\s*=", line)]
    if not begins:
        return ""
    after = (number for number, line in uncommented.items() if number >= begins[0] and word and word in line)
    number = next(after, begins[0])
    return f"{name}:{number}: {uncommented[number].strip()}"
