"""What our files on other machines say. The folder decides how a file ends its lines and what letters it may have."""

from __future__ import annotations

import functools
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import jinja2
from markupsafe import Markup

_WINDOWS = "windows/"
_OURS = jinja2.FileSystemLoader(Path(__file__).parent)
_HERE = jinja2.Environment(
    loader=_OURS,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  # configuration and batch files; the inventory checks values against these formats
)


_HERE.filters["sh"] = shlex.quote
_HERE.filters["toml"] = functools.partial(json.dumps, ensure_ascii=False)  # a text of JSON is one of TOML


class BadTemplate(Exception):
    """A template of the operator's own cannot be filled in; the text says which and why."""


def render_own(folder: Path, name: str, /, **facts: object) -> str:
    """Return a rendered template, or the operator's own of the same name, which may include ours.

    Raises BadTemplate where the operator's cannot be filled in.
    """
    if not (folder / name).is_file():
        return render(name, **facts)
    environment = _HERE.overlay(loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder), _OURS]))
    try:
        return _with_line_ends(name, environment.get_template(name).render(**facts))
    except (jinja2.TemplateError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise BadTemplate(f"{folder / name}: {error}") from None


def render(name: str, /, **facts: object) -> str:
    """Return one rendered template, as `relay/sudoers.j2`.

    Files below windows/ come out as cmd.exe and Notepad have them: CRLF, and ASCII, since no two code pages of
    an NT agree on anything else. Raises jinja2.UndefinedError for a fact left out, and ValueError for such a letter.
    """
    return _with_line_ends(name, _HERE.get_template(name).render(**facts))


def _with_line_ends(name: str, text: str) -> str:
    odd = re.search(r"[^\t\n\x20-\x7e]", text) if name.startswith(_WINDOWS) else None
    if odd:
        raise ValueError(f"{name}: {odd[0]!r} is no printable ASCII character")
    return text.replace("\n", "\r\n") if name.startswith(_WINDOWS) else text


@functools.cache
def names(folder: str) -> tuple[str, ...]:
    """Return the templates that lie in a folder, not in folders below it, by name."""
    return tuple(sorted(path.name for path in (Path(__file__).parent / folder).glob("*.j2")))


def render_report(shown: Callable[[str], str], /, **facts: object) -> str:
    """Return the page of `inv report`: every value goes through `shown`, then is escaped for HTML.

    Its policy lets a browser load nothing, and run no style and no script but its own.
    """
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    style, script = (_read_inline(name) for name in ("report.css", "report.js"))
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    policy += "; base-uri 'none'; form-action 'none'"
    text = page.get_template("report.html.j2").render(policy=policy, style=style, script=script, **facts).lstrip()
    return text.replace(">\n<", "><")  # a line end between two elements costs a browser as much as an element


def _read_inline(name: str) -> Markup:
    return Markup((Path(__file__).parent / "report" / name).read_text("utf-8"))  # noqa: S704  # our own file


def _hash(text: str) -> str:
    """Return a style or a script as a policy names it."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
