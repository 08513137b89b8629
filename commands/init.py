"""Write customer files to fill in: one, or one for each row of a table."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import read_text
from inventory import validators
from inventory.domains import ascii_form
from inventory.json_schema import write_schemas
from inventory.sources import Source
from templates import render

if TYPE_CHECKING:
    from _csv import Reader as CsvReader


class Draft(NamedTuple):
    """The known values of a new customer; empty ones are left to be filled in.

    The fields are the columns of a table.
    """

    id: str
    name: str = ""
    domains: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()
    next_hop: str = ""
    source: str = ""
    server: str = ""
    basepoint: str = ""
    addresses: tuple[str, ...] = ()
    timezone: str = ""


_PLACEHOLDER = re.compile(r'^[^#\n].*"<', re.MULTILINE)
_LISTS = ("domains", "relays", "addresses")


def init(draft: Draft, table: str, as_json: bool) -> int:
    """Write a customer file, or those of a CSV file; never over one that is there. Raises InventoryError, Refused."""
    where = _own_inventory()
    if table and draft.id:
        raise Refused(f"either '{draft.id}' or --from {table}, not both")
    if not (table or draft.id):
        raise Refused("which customer? Name the new one's id, or say --from FILE.csv")
    drafts = _read_table(table, draft) if table else {"": draft}
    known = inventory.relay_names(where)
    faults = [f"{place}{fault}" for place, one in drafts.items() for fault in _faults(where, one, known)]
    if faults := [*faults, *_claimed_twice(drafts)]:
        raise Refused("\n".join(faults))
    files = {where / "customers" / f"{one.id}.toml": _text(one, known) for one in drafts.values()}
    _write_all(files)
    write_schemas(where)
    if as_json:
        terminal.print_document({"written": [str(path) for path in files]})
        return exit_codes.DONE
    written = str(next(iter(files))) if len(files) == 1 else f"{len(files)} files in {where / 'customers'}"
    is_open = any(map(_PLACEHOLDER.search, files.values()))
    terminal.say(f"{written} written: {'fill in what stands between < and >, then' if is_open else 'next'} `inv check`")
    if not known:
        terminal.note(f"no relay is named: {where / 'relays.toml'} has none yet")
    return exit_codes.DONE


def _write_all(files: Mapping[Path, str]) -> None:
    """Write all files or none: those that were written before one fails are taken away again. Raises OSError."""
    done: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                done.append(path)
                file.write(text)
    except BaseException:
        for path in done:
            path.unlink()
        raise


def _own_inventory() -> Path:
    """Return the operator's inventory. Raises Refused where none is named: the one of this repository is the demo's."""
    if not os.environ.get("POSTERN_INVENTORY"):
        raise Refused(
            f"POSTERN_INVENTORY is not set, and {inventory.inventory_path()} belongs to the demo: make a directory of "
            "your own and say `export POSTERN_INVENTORY=DIRECTORY`"
        )
    return inventory.inventory_path()


def _text(draft: Draft, known: Sequence[str]) -> str:
    facts = {**draft._asdict(), "customer": draft.id, "relays": draft.relays or known}
    return render("inventory/customer.toml.j2", **facts)


def _faults(where: Path, draft: Draft, known: Sequence[str]) -> Iterator[str]:
    """Yield what keeps a draft from being written."""
    try:
        validators.name(draft.id)
    except ValueError as error:
        yield f"'{draft.id}' cannot be an id: it {error}"
        return
    if (path := where / "customers" / f"{draft.id}.toml").exists():
        yield f"{path} is there already; edit it, or choose another id"
    sources = get_args(Source)
    if draft.source and draft.source not in sources:
        near = inventory.near(draft.source, sources)
        yield f"{draft.id}: no source '{draft.source}'{near}; there are {', '.join(sources)}"
    for relay in draft.relays:
        if relay not in known:
            yield f"{draft.id}: no relay '{relay}' in relays.toml{inventory.near(relay, known)}"
    for domain in draft.domains:
        try:
            ascii_form(domain)
        except ValueError as error:
            yield f"{draft.id}: domain '{domain}' {error}"
    try:
        validators.next_hop(draft.next_hop or validators.BY_MX)
    except ValueError as error:
        yield f"{draft.id}: next_hop '{draft.next_hop}' {error}"


def _claimed_twice(drafts: Mapping[str, Draft]) -> Iterator[str]:
    """Yield which ids and domains stand in two rows."""
    owners: dict[str, str] = {}
    for place, draft in drafts.items():
        for name in (draft.id, *draft.domains):
            first = owners.setdefault(name.lower(), place)
            if first != place:
                yield f"{place}{name} stands there twice, first in {first.rpartition(': ')[0].rpartition(': ')[2]}"


# ---- a table of customers


def _read_table(file: str, common: Draft) -> Mapping[str, Draft]:
    """Read a CSV file with a line of columns; what a row leaves empty is taken from the command line.

    Returns the rows by what messages about them begin with, "FILE: line N: ".
    """
    try:
        text = read_text(file)
    except UnicodeDecodeError:
        raise Refused(f"{file}: is neither UTF-8 nor UTF-16; save it as CSV in UTF-8") from None
    delimiter, rows = _rows(text)
    drafts: dict[str, Draft] = {}
    try:
        columns = [name.strip().lower() for name in next(rows, ())]
        _check_columns(file, columns)
        for cells in rows:
            place = f"{file}: line {rows.line_num}: "
            if any(map(str.strip, cells)):
                drafts[place] = _draft(place, columns, cells, common)
    except csv.Error as error:
        raise Refused(f"{file}: line {rows.line_num}: {error}; cells are parted by {delimiter!r}") from None
    if not drafts:
        raise Refused(f"{file}: has no row below its first line")
    return drafts


def _rows(text: str) -> tuple[str, CsvReader]:
    """Return what parts cells, and the rows. Spreadsheets take it from their language, or from a line `sep=;`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    said = re.match(r"sep=(.)\n", text)
    head = text.partition("\n")[0]
    delimiter = said[1] if said else max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    if said:
        next(rows)
    return delimiter, rows


def _check_columns(file: str, columns: Sequence[str]) -> None:
    """Raise Refused for names that are none; a spreadsheet leaves empty columns behind."""
    for column in filter(None, columns):
        if column not in Draft._fields:
            near = inventory.near(column, Draft._fields)
            raise Refused(f"{file}: no column '{column}' is known{near}; there are {', '.join(Draft._fields)}")
        if columns.count(column) > 1:
            raise Refused(f"{file}: column '{column}' stands there twice")
    if "id" not in columns:
        raise Refused(f"{file}: the first line must name the columns, id among them")


def _draft(place: str, columns: Sequence[str], row: Sequence[str], common: Draft) -> Draft:
    """Make a draft of a row; lists are cut at blanks, commas and semicolons."""
    cells = {name: cell.strip() for name, cell in zip(columns, row, strict=False) if name}
    beyond = [cell for name, cell in zip_longest(columns, row, fillvalue="") if not name and cell.strip()]
    if len(row) < len(columns) or beyond:
        raise Refused(f"{place}has fewer or more cells than the first line has columns")
    given = {
        name: tuple(re.split(r"[\s,;]+", cell.strip(",; "))) if name in _LISTS else cell
        for name, cell in cells.items()
        if cell
    }
    return Draft(**{**common._asdict(), "id": "", **given})
