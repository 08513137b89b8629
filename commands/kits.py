"""Who must carry a kit to which server, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import inventory
from common import exit_codes
from console import terminal
from fleet import kit_state, spool_data
from fleet.kit_state import KeysSeen, KitState
from fleet.relays import connect, load_for, relays_of, run_parallel, select_customers
from inventory import InventoryError
from inventory.model import Relay
from receiver.formatting import count
from roles import relay as relay_role

COLUMNS = ("customer", "in use", "written", "on", "to do")


def kits(customer: str, as_json: bool) -> int:
    """Show each customer's kit: the number in use, the number written, and why one must be carried.

    PERSON where uploads of the kit in use fail, or a record is damaged. Raises InventoryError, Refused.
    """
    where, everything = inventory.inventory_path(), load_for(customer)
    customers = kit_state.have_kits(select_customers(everything, customer, every=not customer))

    def ask(relay: Relay) -> Mapping[str, KeysSeen]:
        with connect(relay) as host:
            theirs = [one for one in customers if relay.name in one.relays]
            (spools,) = host.read([relay_role.list_status_item(theirs)])
        return {one.id: spool_data.key_uses(spools, one.id) for one in theirs}

    uploads = {name for one in customers for name in one.upload_relays}
    relays = [relay for relay in relays_of(everything, customers) if relay.name in uploads]
    found = run_parallel(relays, ask, "asking")
    reached = {name: said for name, said in found.items() if not isinstance(said, Exception)}
    states: list[KitState] = []
    codes = [everything.code]
    for one in customers:
        seen = {name: reached[name].get(one.id, {}) for name in one.upload_relays if name in reached}
        try:
            states.append(kit_state.read_kit_state(where, one, everything.relays, seen))
        except InventoryError as error:  # its record is damaged; the others' kits are shown
            terminal.error(str(error))
            codes.append(exit_codes.PERSON)
    if as_json:
        terminal.print_document({"customers": {one.customer.id: _document(one) for one in states}})
    else:
        _print(states)
    codes += [terminal.print_result(name, said) for name, said in found.items() if isinstance(said, Exception)]
    return exit_codes.worst([*codes, *(exit_codes.PERSON for one in states if one.is_failing())])


def _print(states: Sequence[KitState]) -> None:
    """Print a row for each kit, those that must be carried first."""
    ordered = sorted(states, key=lambda one: (not one.is_failing(), not one.reasons()))
    terminal.print_table(COLUMNS, [_row(one) for one in ordered])
    due = [one for one in states if one.reasons()]
    urgent = sum(one.is_failing() for one in due)
    urgently = f", {urgent} of them urgently" if urgent else ""
    terminal.say(f"{count(len(states), 'kit')}: {len(due)} to be carried{urgently}")


def _row(state: KitState) -> tuple[str, ...]:
    used = {None: "none yet", 0: "no number"}.get(state.number_used, str(state.number_used))
    written = (str(state.records[0].number), state.records[0].written.isoformat()) if state.records else ("none", "")
    reasons = state.reasons()
    do = f"{kit_state.describe_kit(state)}: {'; '.join(reasons)}" if reasons else ""
    if not state.records:
        do = f"`inv provision {state.customer.id}` writes a kit with a number, once its relays know that"
    return (state.customer.id, used, *written, do)


def _document(state: KitState) -> dict[str, Any]:
    return {
        "in_use": state.number_used,
        "relays": dict(state.used),
        "written": state.records[0].number if state.records else None,
        "written_on": state.records[0].written if state.records else None,
        "reasons": state.reasons(),
        "is_urgent": state.is_failing(),
    }
