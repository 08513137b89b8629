"""Remove a customer: from its relays, keys first; from its own server; its public keys. Or from one relay alone.

Moving its file to customers/retired commits the retirement: from then on no command provisions the customer, and the
next run finishes what was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.grouping import group_names
from customer_host import customer_host
from deploy.kit import Kit
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import plan_view
from fleet.mx_records import describe_mx_records
from fleet.problems import NOT_REACHED
from fleet.relays import connect, load_for, relays_of, run_parallel
from inventory import Inventory, key_records, kit_records, opened_records
from inventory.model import Customer, Relay
from receiver.formatting import count
from roles import customer_host as customer_role
from roles import relay as relay_role
from roles.relay import Facts


class RetireOptions(NamedTuple):
    """The options of `inv retire`."""

    yes: bool = False  # nobody is asked
    force: bool = False  # mail may wait in a queue
    relay: str = ""  # only from this one
    dry_run: bool = False
    diff: bool = False  # the plan's diffs are printed below its summary


class RetirementPlan(NamedTuple):
    """One relay: what would be removed from it, and what stands in the way of that."""

    relay: Relay
    host: RelayHost
    plan: Plan
    refusals: tuple[str, ...]


RetirementPlans = Mapping[str, RetirementPlan | HostError | Refused]


class Retirement(NamedTuple):
    """The result: what each relay had, what was removed there and here, and what a person still has to do."""

    code: int
    found: RetirementPlans
    gone: Mapping[str, str | HostError | Refused] = MappingProxyType({})
    here: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()


def retire(customer_id: str, options: RetireOptions, as_json: bool) -> int:
    """Show what a retirement removes, stop where mail waits, ask, and remove it. Raises InventoryError, Refused."""
    with terminal.document_alone(as_json):
        done = _retire(customer_id, options)
    if as_json:
        terminal.print_document(_document(done, options.dry_run))
    return done.code


def _retire(customer_id: str, options: RetireOptions) -> Retirement:
    where = inventory.inventory_path()
    everything = load_for(customer_id, options.relay)
    customer = _find_leaving(where, everything, customer_id)
    with ExitStack() as connections:
        found = _look_at_all(_relays(everything, customer, options), customer, options, connections)
        codes = [*_show(found, options.diff)]
        if exit_codes.REFUSED in codes:
            return Retirement(exit_codes.worst(codes), found)
        here = () if options.relay else (*_removals_here(where, everything, customer),)
        looks = [look for look in found.values() if isinstance(look, RetirementPlan) and look.plan.changes]
        _print_what_else(customer, here, [everything.relays[name] for name in found], is_all=not (looks or here))
        if not (looks or here):
            return Retirement(exit_codes.worst(codes), found)
        if options.dry_run:
            return Retirement(exit_codes.worst([*codes, exit_codes.PENDING]), found, here=here)
        _ask(customer, options)
        if not options.relay:
            _move_away(where, everything, customer_id)
        gone = run_parallel([look.relay for look in looks], partial(_apply, found), "retiring from")
    codes += [terminal.print_result(name, result) for name, result in gone.items()]
    by_hand: tuple[str, ...] = ()
    if not options.relay:
        codes += [_clear_end(everything, customer)]
        by_hand = (*_steps_by_hand(where, customer),)
    for text in by_hand:
        terminal.say(f"{customer.id}: {text}")
    return Retirement(exit_codes.worst(codes), found, gone, here, by_hand)


def _print_what_else(customer: Customer, here: Sequence[str], relays: Sequence[Relay], is_all: bool) -> None:
    """Print what is removed besides what relays have, and where the customer's MX records point today."""
    if is_all:
        terminal.say(f"{customer.id}: nothing to change")
        return
    for text in here:
        terminal.say(f"{customer.id}: {text} is removed as well")
    for text in describe_mx_records(customer, relays):
        terminal.note(f"{customer.id}: {text}")


def _document(done: Retirement, dry_run: bool) -> dict[str, Any]:
    """Return what docs/json.md describes."""
    relays = {name: _relay_document(look, done.gone.get(name), dry_run) for name, look in done.found.items()}
    return {"code": done.code, "relays": relays, "goes": done.here, "by_hand": done.by_hand}


def _relay_document(
    look: RetirementPlan | HostError | Refused, gone: str | HostError | Refused | None, dry_run: bool
) -> dict[str, Any]:
    if not isinstance(look, RetirementPlan):
        return {"result": NOT_REACHED, "error": str(look)}
    shown = {
        "changes": plan_view.summary_lines(look.plan),
        "removals": list(look.plan.removals()),
        "blockers": list(look.refusals),
    }
    if isinstance(gone, Exception):
        return {"result": "failed", **shown, "error": str(gone)}
    fate = "refused" if look.refusals else "would change" if dry_run or gone is None else "changed"
    return {"result": fate if look.plan.changes else "unchanged", **shown}


def _move_away(where: Path, everything: Inventory, customer_id: str) -> None:
    if customer_id in everything.customers:
        inventory.retire(where, customer_id)
    opened_records.forget(where, customer_id)


def _find_leaving(where: Path, everything: Inventory, customer_id: str) -> Customer:
    """Return the customer to retire, or the one whose retirement has begun. Raises InventoryError."""
    if customer_id in everything.customers:
        if inventory.retired_file(where, customer_id).exists():
            raise Refused(f"{inventory.retired_file(where, customer_id)} is there already: move it elsewhere first")
        return everything.customers[customer_id]
    if not customer_id:
        raise Refused("which customer? Name one; `inv list` shows them")
    return inventory.find_retired(where, customer_id) or inventory.find(everything, customer_id)


def _relays(everything: Inventory, customer: Customer, options: RetireOptions) -> tuple[Relay, ...]:
    if not options.relay:
        return relays_of(everything, [customer])
    relay = inventory.find_relay(everything, options.relay)
    if customer.id in everything.customers and relay.name in customer.relays:
        raise Refused(
            f"customers/{customer.id}.toml still has {relay.name} in relays, so the next provision would put it back: "
            f"take it out there, provision, and carry the new kit first; then no upload fails"
        )
    return (relay,)


# ---- look


def _look_at_all(
    relays: Sequence[Relay], customer: Customer, options: RetireOptions, connections: ExitStack
) -> RetirementPlans:
    def look(relay: Relay) -> RetirementPlan:
        host = connections.enter_context(connect(relay))
        facts = Facts.of(host.read(relay_role.facts_items(relay))[0])
        plan = Plan.of(host, relay_role.items_without(relay, customer.id, facts))
        return RetirementPlan(relay, host, plan, tuple(_blockers(relay, host, plan, options)))

    return run_parallel(relays, look, "looking at")


def _blockers(relay: Relay, host: RelayHost, plan: Plan, options: RetireOptions) -> Iterator[str]:
    """Yield why the customer's tree may not be removed yet: mail waits for domains that the tree has."""
    domains = [loss.partition(":")[2] for loss in plan.removals() if loss.startswith("domain:")]
    (queue,) = host.read([relay_role.queue_item(relay, domains)]) if plan.changes else (None,)
    if queue is None:
        return
    if not queue["running"]:
        yield "Postfix is stopped: start it; its answers are compared before and after a change"
    waiting = ", ".join(f"{count} for {domain}" for domain, count in queue["waiting"].items())
    if waiting and not options.force:
        yield (
            f"mail waits in its queue ({waiting}) and cannot be delivered without the customer: deliver it first "
            "(postqueue -f, or postqueue -s DOMAIN), or say --force"
        )


# ---- print, and ask


def _show(found: RetirementPlans, diff: bool) -> Iterator[int]:
    """Print what would be removed from each relay, equal relays once; yield an exit code for each."""
    looks = {name: look for name, look in found.items() if isinstance(look, RetirementPlan)}
    for (title, text), names in group_names((name, _texts(look, diff)) for name, look in looks.items()).items():
        terminal.print_plan(f"{', '.join(names)}: {title}", text)
    for name, look in found.items():
        if not isinstance(look, RetirementPlan):
            yield terminal.print_result(name, look)
            continue
        for text in look.refusals:
            terminal.error(f"{name}: {text}")
        yield exit_codes.REFUSED if look.refusals else exit_codes.DONE


def _texts(look: RetirementPlan, diff: bool) -> tuple[str, str]:
    """Return the heading of a relay's plan and the lines below it."""
    if not look.plan.changes:
        return "nothing to change", ""
    lines = "\n".join(plan_view.summary_lines(look.plan))
    return count(len(look.plan.changes), "change"), f"{lines}\n{look.plan.text(brief=True) if diff else ''}"


def _removals_here(where: Path, everything: Inventory, customer: Customer) -> Iterator[str]:
    """Yield what is removed on this machine and at the customer's end."""
    if customer.id in everything.customers:
        yield f"{where / 'customers' / customer.id}.toml (to {inventory.retired_file(where, customer.id).parent})"
    if customer.opened:
        yield f"the record that its domains are open ({where / 'opened' / customer.id}.json)"
    if customer.keys:
        with customer_host.connect(customer) as end:
            yield f"what we put into {end.name}"
        yield f"{where / 'keys' / customer.id} ({', '.join(key.name for key in customer.keys)})"


def _ask(customer: Customer, options: RetireOptions) -> None:
    place = f" from {options.relay}" if options.relay else ""
    if not (options.yes or terminal.ask_yes(f"retire {customer.id}{place}?")):
        raise Refused("nothing is done" + ("" if terminal.can_ask() else "; say --yes where no question can be asked"))


# ---- go


def _apply(found: RetirementPlans, relay: Relay) -> str:
    look = found[relay.name]
    assert isinstance(look, RetirementPlan)
    look.plan.apply()
    return f"{count(len(look.plan.changes), 'change')} made"


def _clear_end(everything: Inventory, customer: Customer) -> int:
    """Remove our files from the customer's end, then its keys from the inventory; return an exit code."""
    if not customer.keys:
        return exit_codes.DONE
    known = tuple(name for name in customer.relays if name in everything.relays)
    wanted = customer_role.items(
        customer.model_copy(update={"relays": known}), [everything.relays[name] for name in known]
    )
    gone = [replace(item, wanted=None) for item in wanted if item.kind != "access"]
    try:
        with customer_host.connect(customer) as end:
            Plan.of(end, reversed(gone)).apply()
            for key in customer.keys:
                customer_host.delete_key(end, customer, key.name)
            if isinstance(end, Kit):
                end.remove_if_empty()
    except HostError as error:
        return terminal.print_result(customer.id, error)
    kit_records.forget(inventory.inventory_path(), customer.id)
    for key in customer.keys:
        key_records.forget(inventory.inventory_path(), customer.id, key.name)
    return exit_codes.DONE


def _steps_by_hand(where: Path, customer: Customer) -> Iterator[str]:
    """Yield what a person still has to do."""
    there = customer.exchange
    if there.reach == "ssh" and customer.keys:
        yield f"what is left in {there.directory} on its server, its last export above all, belongs to the customer"
    elif customer.keys:
        files = ", ".join(customer_role.key_file(customer, key.name) for key in customer.keys)
        script = f"{there.directory}/schedule.sh" if there.is_posix else f"{there.directory}\\schedule.bat"
        yield (
            f"by hand on its server: run {script} remove, then delete {there.directory}, {files} above all; "
            "and kits that were written elsewhere (--kit-dir)"
        )
    yield f"commit {where}"
