"""Hold, as a first list, whom a customer's relays take today; no answer of a relay changes by it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from console.options import ProvisionOptions, read_text
from deploy.items import Item, State
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import adoption, existing_lists, relay_cli, settings_numbers, store_access, store_setup
from fleet.adoption import NOT_YET
from fleet.existing_lists import ExistingList
from fleet.relay_answers import Answers, RelayAnswer, print_answers
from fleet.relay_cli import CustomerRelays
from fleet.relay_plan import RelayPlan
from fleet.relays import connect, load_for, run_parallel
from inventory.domains import table_form
from inventory.model import Customer, Relay
from roles import relay as relay_role
from roles.relay import Facts
from roles.relay.facts import config_directory

ASKING = 120.0  # seconds in which a relay is asked about the people it lists; 10,000 take about 2

INSTALLS = (
    "adopting puts Postern's account, programs and timer on each relay that lacks them, and the customer's files; "
    "nothing into main.cf, and no route"
)


class Reading(NamedTuple):
    """What was read of a relay."""

    host: RelayHost  # connected until the command ends
    facts: Facts
    found: State
    blockers: tuple[str, ...]  # why nothing of ours can be put there


Readings = Mapping[str, Reading | HostError | Refused]


def adopt(customer: str, files: Sequence[str], dry_run: bool, as_json: bool) -> int:
    """Show what each relay takes today, and hold the union of it as a first list. Raises InventoryError, Refused.

    Returns HELD where a list is held (PENDING in a dry run), and REFUSED where none can be.
    """
    texts = [_read_people(file) for file in files]
    scope = CustomerRelays.of(customer)
    with ExitStack() as connections:
        reading = partial(_read, customer=scope.customer, texts=texts, connections=connections)
        read = run_parallel(scope.relays, reading, "asking")
        existing = _unite(read)
        if not as_json:
            _show(customer, read, existing)
        held = {} if dry_run or existing.reasons else _hold(scope, _successful(read), existing)
    if as_json:
        terminal.print_document(_document(read, existing, held))
    elif held:
        print_answers(held)
        _print_next_step(customer, held)
    elif dry_run and not existing.reasons:
        terminal.say(f"{customer}: without --dry-run {INSTALLS}")
    failed = [code_of(one) for one in read.values() if isinstance(one, Exception)]
    if existing.reasons:
        return exit_codes.worst(failed or [exit_codes.REFUSED])
    return exit_codes.worst(map(_code, held.values())) if held else exit_codes.PENDING


def _read_people(file: str) -> str:
    """Return the text of a table that the operator gives. Raises Refused where nobody can be in it."""
    text = read_text(file, "replace")
    if "@" not in text:
        raise Refused(f"{file}: has no address in it: one a line is wanted, as in relay_recipients")
    return text


def _print_next_step(customer: str, held: Answers) -> None:
    """Print what was put on the relays and what comes next, where a list is held on one."""
    if not any(_code(one) == exit_codes.HELD for one in held.values()):
        return
    terminal.say(f"{customer}: {INSTALLS}")
    terminal.say(
        f"{customer}: `inv review {customer}` shows the list and the command that accepts it; no answer of a relay"
        f" changes before `inv provision {customer}`"
    )


def _read(relay: Relay, customer: Customer, texts: Sequence[str], connections: ExitStack) -> Reading:
    """Read a relay; nothing is written there."""
    forms = {form: name for name in customer.domains for form in (name, table_form(name)) if form}
    asked = Item("existing", config_directory(relay), {"forms": forms, "seconds": ASKING, "texts": list(texts)})
    host = connections.enter_context(connect(relay))
    state, found = host.read([*relay_role.facts_items(relay, [customer]), asked])
    if found is None:
        raise Refused("it has no Postfix, and so no list to be taken over: `inv provision` sets it up")
    facts = Facts.of(state)
    preflight = host.read(relay_role.preflight_items(relay, [], facts))
    return Reading(host, facts, found, tuple(relay_role.blockers(relay, [], facts, preflight)))


def _unite(read: Readings) -> ExistingList:
    """Return the union of the relays' lists; no recipients where a relay could not be asked."""
    failed = [f"{name} could not be asked: {one}" for name, one in read.items() if isinstance(one, Exception)]
    readings = _successful(read)
    blockers = [f"{name}: {text}" for name, one in readings.items() for text in one.blockers]
    given = {address for one in readings.values() for address in one.found.get("given", ())}
    existing = existing_lists.unite({name: one.found for name, one in readings.items()}, given)
    reasons = (*failed, *existing.reasons, *blockers)
    return existing._replace(recipients=(), reasons=reasons) if reasons else existing


def _successful(read: Readings) -> dict[str, Reading]:
    return {name: one for name, one in read.items() if isinstance(one, Reading)}


def _show(customer: str, read: Readings, existing: ExistingList) -> None:
    for name, one in _successful(read).items():
        for line in existing_lists.describe(one.found):
            terminal.say(f"{name}: {line}")
    for reason in existing.reasons:
        terminal.error(f"{customer}: no list is taken over: {reason}")
    for note in existing.notes:
        terminal.note(f"{customer}: {note}")


def _document(read: Readings, existing: ExistingList, held: Answers) -> dict[str, Any]:
    relays: dict[str, Any] = {
        name: {"code": code_of(one), "error": str(one)} for name, one in read.items() if isinstance(one, Exception)
    }
    for name, one in _successful(read).items():
        relays[name] = {**one.found, "lines": existing_lists.describe(one.found), "held": None}
    for name, answer in held.items():
        failed = {"code": code_of(answer), "error": str(answer)} if isinstance(answer, Exception) else {}
        relays[name]["held"] = failed or (answer.record if isinstance(answer, RelayAnswer) else None)
    return {
        "lists": list(existing.recipients),
        "refuses": "; ".join(existing.reasons) or None,
        "notes": list(existing.notes),
        "relays": relays,
    }


# ---- hold


def _hold(scope: CustomerRelays, readings: Mapping[str, Reading], existing: ExistingList) -> Answers:
    """Write the customer's tree on each relay, with who closes its domains there, and hold the list."""
    prepared = _prepare(scope, readings)
    failed = {name: one for name, one in prepared.items() if isinstance(one, (HostError, Refused))}
    ready = scope.upload_relays().restrict(prepared.keys() - failed.keys())
    recipients = json.dumps(existing.recipients).encode()

    def hold_on(relay: Relay) -> RelayAnswer:
        return relay_cli.ask(readings[relay.name].host, scope.customer, "adopt", stdin=recipients)

    return {**failed, **run_parallel(ready.relays, hold_on, "holding on")}


def _prepare(scope: CustomerRelays, readings: Mapping[str, Reading]) -> Mapping[str, RelayPlan | HostError | Refused]:
    """Install what holds a list, and the customer's tree; not our members in main.cf, and no route.

    Where the customer has a tree already nothing is written: who closes its domains is known from the first write.
    With a store its settings get their number before any tree is there.
    """
    looks = run_parallel(scope.relays, lambda relay: _look(relay, scope.customer, readings[relay.name]), "looking at")
    able = [look for look in looks.values() if isinstance(look, RelayPlan)]
    set_up = store_setup.set_up_relays([look for look in able if look.relay.store], ProvisionOptions())
    ready = {name: look for name, look in {**looks, **set_up}.items() if isinstance(look, RelayPlan)}
    made = store_access.migrate(load_for(scope.customer.id).store, [(look.relay, look.host) for look in ready.values()])
    if code := exit_codes.worst([*made]):
        refusal = Refused(f"the store's tables could not be made ({code}); nothing that it answers has changed")
        return {**looks, **set_up, **dict.fromkeys(ready, refusal)}
    taken = settings_numbers.take_numbers([*ready.values()], [scope.customer], ())
    if refused := taken.refused.get(scope.customer.id):
        return {**looks, **set_up, **dict.fromkeys(ready, refused)}

    def write_tree(relay: Relay) -> RelayPlan:
        look = settings_numbers.with_numbers(ready[relay.name], taken.numbers)
        if scope.customer.id not in look.facts.customers:
            _apply(look.host, relay, scope.customer, look.after)
        return look

    return {**looks, **set_up, **run_parallel([look.relay for look in ready.values()], write_tree, "preparing")}


def _look(relay: Relay, customer: Customer, reading: Reading) -> RelayPlan:
    """Return the relay as it was read, with what would be written there. Raises HostError."""
    facts = adoption.with_closers(reading.facts, [customer], reading.found["domains"])
    plan = Plan.of(reading.host, _items(relay, customer, facts))
    return RelayPlan(relay, reading.host, (), reading.facts, plan, (), (), {}, {}, (), facts, ())


def _items(relay: Relay, customer: Customer, facts: Facts) -> list[Item]:
    return [item for item in relay_role.items(relay, [customer], facts) if item.kind not in NOT_YET]


def _apply(host: RelayHost, relay: Relay, customer: Customer, facts: Facts) -> None:
    try:
        Plan.of(host, _items(relay, customer, facts)).apply()
    except HostError as error:
        raise type(error)(f"nothing that it answers has changed: {error}") from error


def _code(answer: RelayAnswer | HostError | Refused) -> int:
    return answer.code if isinstance(answer, RelayAnswer) else code_of(answer)
