"""What people see: tables on a terminal, plain lines in a pipe, JSON for programs. The only room that prints.

Each line is made safe here before it is printed: it may hold a relay's own words, and whoever controls a relay
could control the operator's terminal with them.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from common import exit_codes
from console.documents import with_iso_times
from console.errors import Refused, code_of
from console.grouping import Sentence, group_names, merge_sentences, name_some
from deploy.plan import HostError
from receiver.formatting import escape

_NARROWEST = 12  # columns of a terminal that a wrapped cell needs
LONGEST = 20_000  # characters of a line that are shown
_CONTROLS = re.compile(r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]")
_DIFF = {"+": "green", "-": "red", "@": "cyan"}

Show: TypeAlias = Callable[[str], None]

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(text: str, style: str | None = None) -> None:
    """Print lines to stdout."""
    for line in text.split("\n"):
        out.print(escape(line, LONGEST), style=style)


def error(text: str) -> None:
    """Print what went wrong to stderr, each line made safe: a host's own words may be in it."""
    for line in text.splitlines():
        err.print(escape(line, 2000), style="red")


def note(text: str) -> None:
    """Print to stderr what the operator should know and a program that reads stdout need not."""
    err.print(escape(text, 2000), style="yellow")


def print_plan(title: str, text: str) -> None:
    """Print a plan in the colours of a diff, each line made safe: files on a relay may hold anything."""
    out.print(escape(title, LONGEST), style="bold")
    for line in text.splitlines():
        out.print(Text("  " + escape(line, 2000), style=_DIFF.get(line[:1], "")))


def print_answer(names: Sequence[str], text: str) -> None:
    """Print an answer behind the names of all who gave it, which stand out."""
    for number, line in enumerate(text.splitlines()):
        out.print(Text.assemble((f"{', '.join(names)}: " if number == 0 else "  ", "bold"), escape(line, 2000)))


def is_terminal() -> bool:
    """Return whether a person reads along, and not a program."""
    return out.is_terminal


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: a table on a terminal, tab-separated lines in a pipe."""
    if not is_terminal():
        for row in [columns, *rows]:
            print("\t".join(escape(cell, 2000) for cell in row))
        return
    header, *lines = layout(columns, rows, out.width)
    out.print(Text(header, style="bold"))
    for line in lines:
        out.print(Text(line))


def layout(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table. Only the last column is wrapped to the width, at blanks, below itself.

    No other cell is folded or cut, whatever the width: a fingerprint in two parts cannot be compared by eye.
    """
    cells = [[escape(cell, 2000) for cell in row] for row in [columns, *rows]]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)][:-1]
    used = sum(widths) + 2 * len(widths)
    return [line for row in cells for line in _row_lines(row, widths, used, width)]


def _row_lines(row: Sequence[str], widths: Sequence[int], used: int, width: int) -> Iterator[str]:
    start = "".join(cell + " " * (most + 2 - cell_len(cell)) for cell, most in zip(row[:-1], widths, strict=True))
    indent = used if width - used >= _NARROWEST else 4  # else below the row, where there is room
    wrapped = textwrap.wrap(row[-1], max(width - indent, _NARROWEST), break_long_words=False, break_on_hyphens=False)
    if wrapped and used + cell_len(wrapped[0]) <= width:
        start += wrapped.pop(0)
    yield start.rstrip()
    yield from (" " * indent + line for line in wrapped)


def print_document(value: Any) -> None:
    """Print one JSON document; controls stand in it as escapes, those that JSON itself lets through too."""
    text = json.dumps(with_iso_times(value), indent=2, ensure_ascii=False, default=str)
    print(_CONTROLS.sub(lambda found: json.dumps(found[0])[1:-1], text))


@contextmanager
def document_alone(as_json: bool) -> Iterator[None]:
    """Send what is printed to stderr, so that one JSON document alone comes to stdout afterwards."""
    if not as_json:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def print_lines(lines: Iterator[str]) -> None:
    """Print what another program will read, as it is."""
    sys.stdout.writelines(line + "\n" for line in lines)


def can_ask() -> bool:
    """Return whether there is somebody to answer."""
    return sys.stdin.isatty()


def ask_yes(question: str) -> bool:
    """Return whether the operator answers yes. Without a terminal the answer is no."""
    if not can_ask():
        return False
    return err.input(f"{escape(question, LONGEST)} [y/N] ", markup=False).strip().lower() in ("y", "yes")


@contextmanager
def progress(doing: str, names: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """Show on a terminal how many of the names are done; yield the function to call with each name that is."""
    if not err.is_terminal or not names:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        waiting = list(names)
        task = bar.add_task(f"{doing} {name_some(waiting)}", total=len(names))

        def advance(name: str) -> None:
            waiting.remove(name)
            bar.update(task, advance=1, description=f"{doing} {name_some(waiting)}")

        yield advance


def print_result(name: str, result: str | HostError | Refused) -> int:
    """Print the result of one relay or customer; return the exit code."""
    if isinstance(result, str):
        say(f"{name}: {result}")
        return exit_codes.DONE
    error(f"{name}: {result}")
    return code_of(result)


def print_results(results: Mapping[str, str | HostError | Refused]) -> list[int]:
    """Print the results of several relays, equal ones in one line; return the exit codes."""
    for names in group_names((name, str(result)) for name, result in results.items()).values():
        print_result(", ".join(names), results[names[0]])
    return [exit_codes.DONE if isinstance(result, str) else code_of(result) for result in results.values()]


def print_sentences(sentences: Iterable[Sentence]) -> None:
    """Print the sentences about several customers, equal ones once."""
    for text, is_note in merge_sentences(sentences):
        (note if is_note else say)(text)
