"""Write a page that shows every relay, every customer and their last 90 days."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.plan import HostError
from fleet import overview, relay_cli
from fleet.overview import RelayState
from fleet.problems import figures_unknown
from fleet.relay_figures import Figures, read_all_figures
from fleet.relays import connect, load_for, run_parallel
from fleet.report_charts import HEIGHT, WIDTH
from fleet.report_data import FiguresOf, make_report
from fleet.status_view import Overview
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver.formatting import escape
from receiver.monitoring.daily_figures import DAYS
from templates import render_report

PAGE = "report.html"
_LONGEST = 20_000  # characters of a value on the page; a path of a chart is the longest


class RelayLook(NamedTuple):
    """The state of one relay, and its customers' last days, or why they are not known."""

    state: RelayState
    figures: dict[str, Figures | str] | HostError


def report(out: str) -> int:
    """Ask every relay, write the page into folder `out` (empty: report/ beside the inventory), and print its path.

    A relay that is down is said on the page; FAILED where no relay answered. Raises InventoryError, Refused, OSError.
    """
    folder = Path(out) if out else inventory.inventory_path().absolute().parent / "report"
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder}: is a file; --out names the folder that the page is written into")
    everything, now = load_for(""), int(time.time())
    customers = tuple(everything.customers.values())
    found = run_parallel(overview.relays_to_ask(everything), lambda relay: _look(relay, customers, now), "asking")
    states = {name: look.state if isinstance(look, RelayLook) else look for name, look in found.items()}
    known = overview.make_overview(everything, customers, states, found)
    figures = {name: look.figures for name, look in found.items() if isinstance(look, RelayLook)}
    path = write_page(folder, make_page(everything, known, figures, now))
    for name, look in found.items():
        if not isinstance(look, RelayLook):
            terminal.note(figures_unknown(name, look))
    terminal.say(str(path))
    return exit_codes.worst([everything.code, exit_codes.FAILED if found and not figures else exit_codes.DONE])


def make_page(everything: Inventory, known: Overview, figures: FiguresOf, now: int) -> str:
    """Return the page's text. Pure."""
    content = make_report(everything, known, figures, now, relay_cli.operator_name())
    return render_report(lambda text: escape(text, _LONGEST), report=content, window=DAYS, width=WIDTH, height=HEIGHT)


def write_page(folder: Path, page: str) -> Path:
    """Write the page into a folder, which is made where it is missing; only their owner can read both."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{PAGE}.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(page, "utf-8")
    return draft.replace(folder / PAGE)


def _look(relay: Relay, customers: Sequence[Customer], now: int) -> RelayLook:
    with connect(relay) as host:
        state = overview.read_relay_state(host, relay, customers)
        try:
            records = relay_cli.ask_figures(host)
        except HostError as error:  # an older release has no such command; the rest of the page is of use all the same
            return RelayLook(state, error)
        return RelayLook(state, read_all_figures(records, datetime.fromtimestamp(now, UTC).date()))
