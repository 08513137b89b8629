"""What our files on other machines say. The folder decides how a file ends its lines and what letters it may have."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path

import jinja2

_WINDOWS = "windows/"
_HERE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  # configuration and batch files; the inventory checks values against these formats
)


_HERE.filters["sh"] = shlex.quote
_HERE.filters["toml"] = functools.partial(json.dumps, ensure_ascii=False)  # a text of JSON is one of TOML


def render(name: str, /, **facts: object) -> str:
    """Fill in one template, as `relay/sudoers.j2`.

    Files below windows/ come out as cmd.exe and Notepad have them: CRLF, and ASCII, since no two code pages of
    an NT agree on anything else. Raises jinja2.UndefinedError for a fact left out, and ValueError for such a letter.
    """
    text = _HERE.get_template(name).render(**facts)
    odd = re.search(r"[^\t\n\x20-\x7e]", text) if name.startswith(_WINDOWS) else None
    if odd:
        raise ValueError(f"{name}: {odd[0]!r} is no printable ASCII character")
    return text.replace("\n", "\r\n") if name.startswith(_WINDOWS) else text


def names(folder: str) -> tuple[str, ...]:
    """Return the templates that lie in a folder, not in folders below it, by name."""
    return tuple(sorted(path.name for path in (Path(__file__).parent / folder).glob("*.j2")))
