"""Look, plan, stop at losses and refusals, print, apply: both ends of a customer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import ProvisionOptions
from customer_host import customer_host
from customer_host.customer_host import KeyUsage
from customer_host.customer_keys import NewKeys
from deploy.items import State
from deploy.plan import HostError, NoPython, Plan, ProofFailed
from deploy.relay_host import RelayHost
from fleet import copy_lists, domain_moves
from fleet.copy_lists import ConnectedRelay
from fleet.relays import connect, relays_of, run_parallel
from inventory import Inventory
from inventory.domains import ascii_form
from inventory.model import Customer, Relay
from roles import relay as relay_role
from roles.relay import Facts

_PROVED = ("main.cf", "routes", "sudo", "settled")
"""Kinds of items that are put back when a proof fails, come after it, or leave nothing of their own."""


class RelayPlan(NamedTuple):
    """One relay as it was found, what would be done to it, and what stands in the way of that."""

    relay: Relay
    host: RelayHost
    now: Facts
    plan: Plan
    refusals: tuple[str, ...]
    givers: tuple[Customer, ...]  # who give a domain away to one of those who are provisioned
    seen: Mapping[str, frozenset[str]]  # customer: names of the keys that have been used there
    lists: Mapping[str, int]  # customer: when the last good upload came, as postfix.lists_seen() tells it
    warnings: tuple[str, ...]  # what holds for today and should be mended, changes or none


class ProvisionResult(NamedTuple):
    """What came of bringing both ends of some customers to their wanted state."""

    code: int
    behind: Mapping[str, tuple[str, ...]]  # customer: relays, or its own end, that may lack what is on record


def provision_customers(
    everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions, new_keys: NewKeys
) -> ProvisionResult:
    """Do it for these customers, be they as the inventory has them or as they are to be. Raises Refused."""
    with ExitStack() as connections:
        planned = [new_keys.planned(one) for one in customers]
        found = _look_at_all(everything, planned, options, connections)
        looks = [look for look in found.values() if isinstance(look, RelayPlan)]
        _refuse_unknown_names(looks, options.removing)
        codes = [*_show(found, options)]
        ready = [look for look in looks if not look.refusals]
        as_wanted, failed = {look.relay.name for look in ready}, set[str]()
        if options.dry_run:
            customers = [new if old.keys else old for old, new in zip(customers, planned, strict=True)]
        else:
            codes += _make_keys(customers, looks, new_keys)
            customers = _reload_customers(customers)
            changed = _apply(ready, customers, options)
            codes += [terminal.print_result(name, result) for name, result in changed.items()]
            failed = {name for name, result in changed.items() if not isinstance(result, str)}
            as_wanted -= failed
        reached = {
            look.relay.name: ConnectedRelay(look.host, look.lists, look.relay.name in as_wanted) for look in looks
        }
        codes += copy_lists.copy_lists(customers, reached, options.dry_run)
    known = {one.id: _key_usage(one, found, as_wanted, failed) for one in customers}
    ends = customer_host.provision(everything, customers, known, options, new_keys.ends)
    behind = {one.id: known[one.id].behind for one in customers}
    for one, code in zip(customers, ends, strict=True):
        codes.append(code)
        behind[one.id] += ("its own end",) * bool(code)
    return ProvisionResult(exit_codes.worst(codes), behind)


# ---- look


def _look_at_all(
    everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions, connections: ExitStack
) -> Mapping[str, RelayPlan | HostError | Refused]:
    """Look at all relays side by side; the connections stay open, so that what was looked at can be gone on with."""

    def look(relay: Relay) -> RelayPlan:
        host = connections.enter_context(connect(relay, install_python=not options.dry_run))
        return _look(host, relay, everything, [one for one in customers if relay.name in one.relays], options)

    return run_parallel(relays_of(everything, customers), look, "looking at")


def _look(
    host: RelayHost, relay: Relay, everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions
) -> RelayPlan:
    now, spools, unsaid = _read(host, relay, customers)
    givers = domain_moves.find_givers(everything, customers, now)
    every = [*customers, *givers]
    plan = Plan.of(host, relay_role.items(relay, every, now))
    refusals = [*domain_moves.find_obstacles(everything, relay, every, now, plan)] or _unnamed_removals(
        plan, every, options
    )
    if plan.changes and not refusals:
        refusals = _find_blockers(host, relay, customers, now, options)
    known = relay_role.keys_seen(spools), relay_role.lists_seen(spools)
    warnings = tuple(relay_role.unsaid_route_warnings(customers, now, unsaid))
    return RelayPlan(relay, host, now, plan, tuple(refusals), givers, *known, warnings)


def _read(host: RelayHost, relay: Relay, customers: Sequence[Customer]) -> tuple[Facts, State | None, State | None]:
    """Read facts, spools, and where Postfix takes mail for those who name no next hop."""
    unsaid = relay_role.unsaid_routes(relay, customers)
    asked = (*relay_role.facts_items(relay, customers), relay_role.spools(customers), *unsaid)
    facts, spools, *routes = host.read(asked)
    return Facts.of(facts), spools, routes[0] if routes else None


def _find_blockers(
    host: RelayHost, relay: Relay, customers: Sequence[Customer], now: Facts, options: ProvisionOptions
) -> list[str]:
    survey = host.read(relay_role.preflight_items(relay, customers, now))
    return relay_role.blockers(relay, customers, now, survey, downgrade=options.downgrade)


# ---- stop


def _unnamed_removals(plan: Plan, customers: Sequence[Customer], options: ProvisionOptions) -> list[str]:
    """Say what would go without having been named. Leaving a thing out of the inventory does not remove it."""
    losses = [(change.item.about, loss) for change in plan.changes for loss in change.removals()]
    lost = {
        loss: owner
        for owner, loss in losses
        if (owner, loss) not in options.meant and not _is_named(loss, options.removing)
    }
    if not lost:
        return []
    takers = {f"domain:{name}": taker for name, taker in domain_moves.owners_by_domain(customers).items()}
    told = [f"{loss} ({owner}'s, for {takers[loss]})" if loss in takers else loss for loss, owner in lost.items()]
    flags = " ".join(f"--removing {name}" for name in lost if not _is_named(name, [*lost.keys() - {name}]))
    return [f"would remove {', '.join(told)}; nothing is done. If that is meant, say {flags}"]


def _is_named(loss: str, removing: Sequence[str]) -> bool:
    """Tell whether it was named; all that goes with a domain is named by the domain, in either of its forms."""
    noun, _, name = loss.partition(":")
    domains = {_ascii(one.removeprefix("domain:")) for one in removing if one.startswith("domain:")}
    return loss in removing or (noun != "key" and _ascii(name.rpartition("@")[2]) in domains)


def _ascii(domain: str) -> str:
    try:
        return ascii_form(domain)
    except ValueError:  # it is no domain of an inventory: somebody's hand wrote it there
        return domain


def _refuse_unknown_names(looks: Sequence[RelayPlan], removing: Sequence[str]) -> None:
    losses = {loss for look in looks for loss in look.plan.removals()}
    for name in removing:
        if looks and name not in losses:
            raise Refused(f"--removing {name}: no plan here would remove that{inventory.near(name, losses)}")


# ---- print


def _show(found: Mapping[str, RelayPlan | HostError | Refused], options: ProvisionOptions) -> Iterator[int]:
    """Print what was found at each relay; gives the exit codes of those that end here."""
    for name, look in found.items():
        if isinstance(look, RelayPlan):
            yield _show_look(look, options)
        elif isinstance(look, NoPython) and options.dry_run:
            terminal.note(f"{name}: {look}; what else is to be done there is known once it is there")
            yield exit_codes.DONE
        else:
            yield terminal.print_result(name, look)


def _show_look(look: RelayPlan, options: ProvisionOptions) -> int:
    name = look.relay.name
    if not look.plan.changes:
        terminal.say(f"{name}: nothing to change ({_cost(look.host)})")
    else:
        terminal.plan(f"{name}:", look.plan.text(brief=not options.full))
        changes = [(change.item, change.before) for change in look.plan.changes]
        for text in relay_role.notes(look.relay, look.now, changes):
            terminal.note(f"{name}: {text}")
    for text in look.warnings:
        terminal.note(f"{name}: {text}")
    for text in look.refusals:
        terminal.error(f"{name}: {text}")
    return exit_codes.REFUSED if look.refusals else exit_codes.DONE


def _cost(host: RelayHost) -> str:
    return f"{_count_noun(host.connections, 'connection')}, {_count_noun(host.commands, 'remote command')}"


def _count_noun(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _make_keys(customers: Sequence[Customer], looks: Sequence[RelayPlan], new_keys: NewKeys) -> Iterator[int]:
    """Make and record a key for each customer who is to get one and whom at least one relay is ready for."""
    for customer in customers:
        theirs = [look for look in looks if look.relay.name in customer.relays]
        if new_keys.lacks(customer) and _may_have_key(customer, theirs):
            yield new_keys.record(customer, {name for look in theirs for name in look.seen.get(customer.id, ())})


def _reload_customers(customers: Sequence[Customer]) -> tuple[Customer, ...]:
    """Give the customers as the inventory has them by now."""
    now = inventory.load(inventory.inventory_path(), [one.id for one in customers]).customers
    return tuple(now[customer.id] for customer in customers)


def _may_have_key(customer: Customer, looks: Sequence[RelayPlan]) -> bool:
    """Tell whether a relay is ready, and none has a key that is not on record here: another checkout will know it."""
    unknown = [look for look in looks if look.refusals and _loses_key(customer, look.plan)]
    return not unknown and not all(look.refusals for look in looks)


def _loses_key(customer: Customer, plan: Plan) -> bool:
    losses = [loss for change in plan.changes if change.item.about == customer.id for loss in change.removals()]
    return any(loss.startswith("key:") for loss in losses)


# ---- apply


def _apply(
    ready: Sequence[RelayPlan], customers: Sequence[Customer], options: ProvisionOptions
) -> Mapping[str, str | HostError | Refused]:
    """Carry out what was planned, for the customers that have a key by now; a relay of none of them is left alone."""
    keyed = {
        look.relay.name: [one for one in customers if one.keys and look.relay.name in one.relays] for look in ready
    }
    everything = inventory.load(inventory.inventory_path(), [one.id for one in customers])
    changing = {look.relay.name: look for look in ready if look.plan.changes and keyed[look.relay.name]}

    def apply(relay: Relay) -> str:
        look = changing[relay.name]
        plan = _final_plan(look, everything, keyed[relay.name], options)
        try:
            plan.apply()
        except ProofFailed as error:
            raise ProofFailed(f"{error}\n{_what_stays(plan)}") from error
        return f"{_count_noun(len(plan.changes), 'change')} made ({_cost(look.host)})"

    return run_parallel([look.relay for look in changing.values()], apply, "changing")


def _what_stays(plan: Plan) -> str:
    """Name what was made before a proof failed: mail does not pass through it, and the next run finds it done."""
    made = [f"{change.item.kind} {change.item.name}" for change in plan.changes if change.item.kind not in _PROVED]
    return (
        f"what was made before it stays, and no mail passes through it: {', '.join(made)}; `inv retire` takes it back"
    )


def _final_plan(
    look: RelayPlan, everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions
) -> Plan:
    """Install what is missing, and plan again with what is known then: the keys, and Postfix's own word on itself."""
    now = look.now
    first = Plan.of(look.host, relay_role.packages(look.relay, now))
    if first.changes:
        first.apply()
        now, *_ = _read(look.host, look.relay, customers)
        if refusals := _find_blockers(look.host, look.relay, customers, now, options):
            raise Refused("; ".join(refusals))
    every = [*customers, *look.givers]
    plan = Plan.of(look.host, relay_role.items(look.relay, every, now))
    # Another checkout was here since the look, or a customer who was to take a domain over got no key.
    if lost := [*domain_moves.find_obstacles(everything, look.relay, every, now, plan)] or _unnamed_removals(
        plan, every, options
    ):
        raise Refused("; ".join(lost))
    return plan


def _key_usage(
    customer: Customer,
    found: Mapping[str, RelayPlan | HostError | Refused],
    as_wanted: Collection[str],
    failed: Collection[str],
) -> KeyUsage:
    """Tell what the customer's relays know of its keys."""
    looks = [found.get(name) for name in customer.relays]
    seen = [look.seen.get(customer.id, frozenset()) if isinstance(look, RelayPlan) else frozenset() for look in looks]
    behind = tuple(name for name in customer.relays if name not in as_wanted)
    broken = tuple(name for name in customer.relays if name in failed)
    return KeyUsage(frozenset.intersection(*seen), frozenset.union(*seen), behind, broken)
