"""Bring the list that a customer's relays go by today, before the customer is ours; nothing they answer changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from console.options import read_file
from deploy.items import Item, State
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import adoption, existing_lists, relay_cli
from fleet.adoption import NOT_YET
from fleet.existing_lists import ExistingList
from fleet.relay_cli import CustomerRelays, RelayAnswer
from fleet.relays import connect, run_parallel
from inventory.domains import table_form
from inventory.model import Customer, Relay
from roles import relay as relay_role
from roles.relay import Facts
from roles.relay.facts import config_directory

ASKING = 120.0  # seconds in which a relay is asked about the people it lists; 10,000 take about 2


class Reading(NamedTuple):
    """What a relay says."""

    now: Facts
    found: State
    blockers: tuple[str, ...]  # why nothing of ours can be put there


def adopt(customer: str, files: Sequence[str], dry_run: bool, as_json: bool) -> int:
    """Show what each relay takes today, and hold the union of it as a first list. Raises InventoryError, Refused.

    Gives HELD where a list is held (PENDING in a dry run), and REFUSED where none is brought.
    """
    texts = [read_file(file).decode("utf-8", "surrogateescape") for file in files]
    place = CustomerRelays.of(customer)
    answers = run_parallel(place.relays, lambda relay: _read(relay, place.customer, texts), "asking")
    failed = {name: one for name, one in answers.items() if not isinstance(one, Reading)}
    readings = {name: one for name, one in answers.items() if isinstance(one, Reading)}
    codes = [terminal.print_result(name, one) for name, one in failed.items()]
    if failed:  # whom a relay takes that was not asked is not known
        terminal.error(f"{customer}: nothing is brought, as {', '.join(failed)} could not be asked")
        return exit_codes.worst(codes)
    brought = _unite(readings)
    if as_json:
        terminal.document(_document(readings, brought))
    else:
        _show(customer, readings, brought)
    if brought.reasons:
        return exit_codes.REFUSED
    return exit_codes.PENDING if dry_run else _hold(place, readings, brought, as_json)


def _read(relay: Relay, customer: Customer, texts: Sequence[str]) -> Reading:
    """Read a relay; nothing is written there."""
    forms = {form: name for name in customer.domains for form in (name, table_form(name)) if form}
    asked = Item("existing", config_directory(relay), {"forms": forms, "seconds": ASKING, "texts": list(texts)})
    with connect(relay) as host:
        facts, found = host.read([*relay_role.facts_items(relay, [customer]), asked])
        now = Facts.of(facts)
        survey = host.read(relay_role.preflight_items(relay, [], now))
        blockers = relay_role.blockers(relay, [], now, survey)
    if found is None:
        raise Refused("it has no Postfix, and so no list to be taken over: `inv provision` sets it up")
    return Reading(now, found, tuple(blockers))


def _unite(readings: dict[str, Reading]) -> ExistingList:
    given = {address for one in readings.values() for address in one.found.get("given", ())}
    brought = existing_lists.unite({name: one.found for name, one in readings.items()}, given)
    blockers = [f"{name}: {text}" for name, one in readings.items() for text in one.blockers]
    return ExistingList((), (*brought.reasons, *blockers)) if blockers else brought


def _show(customer: str, readings: dict[str, Reading], brought: ExistingList) -> None:
    for name, one in readings.items():
        for line in existing_lists.describe(one.found):
            terminal.say(f"{name}: {line}")
    for reason in brought.reasons:
        terminal.error(f"{customer}: no list is brought: {reason}")
    for note in brought.notes:
        terminal.note(f"{customer}: {note}")


def _document(readings: dict[str, Reading], brought: ExistingList) -> dict[str, Any]:
    return {
        "lists": list(brought.recipients),
        "refuses": "; ".join(brought.reasons) or None,
        "notes": list(brought.notes),
        "relays": {name: {**one.found, "lines": existing_lists.describe(one.found)} for name, one in readings.items()},
    }


# ---- hold


def _hold(place: CustomerRelays, readings: dict[str, Reading], brought: ExistingList, as_json: bool) -> int:
    """Write the customer's tree on each relay, with who closes its domains there, and hold the list."""
    prepared = run_parallel(
        place.relays, lambda relay: _prepare(relay, place.customer, readings[relay.name]), "preparing"
    )
    codes = [terminal.print_result(name, one) for name, one in prepared.items() if isinstance(one, Exception)]
    ready = [name for name, one in prepared.items() if not isinstance(one, Exception)]
    held = relay_cli.restrict_relays(place, ready)
    answers = relay_cli.ask_relays(held, "holding on", "adopt", stdin=json.dumps(brought.recipients).encode())
    if as_json:
        said = (one.code if isinstance(one, RelayAnswer) else code_of(one) for one in answers.values())
        return exit_codes.worst([*codes, *said])
    codes.append(relay_cli.print_answers(answers))
    id_ = place.customer.id
    terminal.say(f"{id_}: nothing else has changed; `inv review {id_}` shows the list and the command that accepts it")
    terminal.say(f"{id_}: after that, `inv provision {id_}` has the relays go by it")
    return exit_codes.worst(codes)


def _prepare(relay: Relay, customer: Customer, reading: Reading) -> str:
    """Install what holds a list, and the customer's tree; not our members in main.cf, and no route. Raises HostError.

    Where the customer has a tree already nothing is written: what closes its domains is known from the first write.
    """
    if customer.id in reading.now.customers:
        return "has the customer already"
    now = adoption.with_closers(reading.now, [customer], reading.found["domains"])
    with connect(relay, install_python=True) as host:
        _apply(host, relay, customer, now)
    return "prepared"


def _apply(host: RelayHost, relay: Relay, customer: Customer, now: Facts) -> None:
    items = [item for item in relay_role.items(relay, [customer], now) if item.kind not in NOT_YET]
    try:
        Plan.of(host, items).apply()
    except HostError as error:
        raise type(error)(f"nothing that it answers has changed: {error}") from error
