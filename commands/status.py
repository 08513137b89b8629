"""Show what each relay reports beside what is wanted there, and what needs a person."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from fleet import overview, status_view
from fleet.overview import RelayState
from fleet.relays import connect, load_for, relays_of, run_parallel, select_customers, split_names
from fleet.status_view import Overview
from inventory import Inventory, InventoryError
from inventory.model import Relay


class StatusOptions(NamedTuple):
    """The options of `inv status`."""

    as_json: bool = False
    problems: bool = False  # only rows that have one
    relay: str = ""  # only this one, or these with commas between
    nagios: bool = False  # as a monitoring plugin speaks


def status(customer: str, options: StatusOptions) -> int:
    """Print a row for each customer on each relay; return PERSON if anything needs a person.

    `customer`: one, or several with commas between; empty: all.
    """
    if options.as_json and options.nagios:
        raise Refused("either --json or --nagios, not both")
    if options.nagios:
        return _print_for_nagios(customer, options)
    everything = load_for(customer, options.relay)
    found = _look_at_all(everything, customer, options)
    if options.as_json:
        terminal.print_document(_document(found))
    else:
        _show(found, options.problems)
    return exit_codes.worst([found.code(), everything.code])


def _print_for_nagios(customer: str, options: StatusOptions) -> int:
    """Print what a monitoring plugin prints; its exit codes are its own, and UNKNOWN is that nothing was asked."""
    try:
        everything = load_for(customer, options.relay)
        found = _look_at_all(everything, customer, options)
        code, text = status_view.nagios(found, everything.faults if everything.code else ())
    except (Refused, InventoryError) as error:
        code, text = status_view.NAGIOS_UNKNOWN, status_view.nagios_unknown(str(error))
    terminal.say(text)
    return code


def _look_at_all(everything: Inventory, customer: str, options: StatusOptions) -> Overview:
    customers = select_customers(everything, customer, every=not customer)
    asked = overview.relays_to_ask(everything)
    if names := split_names(options.relay):
        asked = tuple(inventory.find_relay(everything, name) for name in names)

    def ask(relay: Relay) -> RelayState:
        with connect(relay) as host:
            return overview.read_relay_state(host, relay, customers)

    found = run_parallel(asked, ask, "asking")
    wanted = {relay.name for relay in relays_of(everything, customers)} if customer else set(found)
    return overview.make_overview(everything, customers, found, wanted)


# ---- show


def _document(found: Overview) -> dict[str, Any]:
    customers = [{**row._asdict(), "needs": [need._asdict() for need in row.needs]} for row in found.rows]
    relays = {name: [one._asdict() for one in each] for name, each in found.relays.items()}
    return {"relays": relays, "customers": customers}


def _show(found: Overview, only_problems: bool) -> None:
    """Print a row for each list, and for each relay with a problem; on a terminal a summary, and sentences below."""
    if not terminal.is_terminal():
        terminal.print_table(status_view.COLUMNS, [*status_view.pipe_rows(found, only_problems)])
        return
    terminal.say(status_view.summary(found))
    if rows := [*status_view.brief_rows(found, int(time.time()), only_problems)]:
        terminal.print_table(status_view.BRIEF_COLUMNS, rows)
    for text in status_view.sentences(found):
        terminal.note(text)
