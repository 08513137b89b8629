"""Bring both ends of customers to their wanted state: plan, print, make keys, apply, hand lists over, write kits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, NamedTuple

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import ProvisionOptions
from customer_host.customer_keys import NewKeys, RecordedKey
from customer_host.provision_end import KeyUsage, provision_ends
from deploy.plan import HostError, NoPython, Plan, ProofFailed
from fleet import (
    adoption,
    copy_lists,
    domain_moves,
    plan_view,
    settings_numbers,
    store_access,
    store_setup,
    store_start,
)
from fleet.copy_lists import ConnectedRelay
from fleet.plan_view import RelayPlans, cost_of
from fleet.problems import NOT_REACHED
from fleet.relay_plan import (
    RelayPlan,
    install_packages,
    look_at_all,
    refuse_unknown_names,
    unnamed_removals,
)
from fleet.relays import run_parallel
from inventory import Inventory
from inventory.model import Customer, Relay
from receiver.formatting import count
from roles import relay as relay_role
from roles.relay import Facts

_PROVED = ("main.cf", "routes", "sudo", "derived")
"""Kinds of items that are put back when a proof fails, come after it, or leave nothing of their own."""


class ProvisionResult(NamedTuple):
    """The result of provisioning both ends of some customers."""

    code: int
    behind: Mapping[str, tuple[str, ...]]  # customer: relays, or its own end, that may lack what is on record
    relays: Mapping[str, Mapping[str, Any]] = MappingProxyType({})  # what became of each, as docs/json.md has it
    customers: Mapping[str, Mapping[str, Any]] = MappingProxyType({})  # what became of each one's own end


class _RelayRun(NamedTuple):
    """The result on the relays, before anything is done at the customers' ends."""

    customers: Sequence[Customer]  # as they are now, with the keys that were made
    found: RelayPlans
    changed: Mapping[str, str | HostError | Refused]  # by relay that was to be changed; empty in a dry run
    codes: Sequence[int]

    @property
    def failed(self) -> set[str]:
        """Return the relays that were to be changed and could not be."""
        return {name for name, result in self.changed.items() if not isinstance(result, str)}

    @property
    def as_wanted(self) -> set[str]:
        """Return the relays that have, or after the run would have, all that the inventory wants."""
        ready = {name for name, look in self.found.items() if isinstance(look, RelayPlan) and not look.blockers}
        return ready - self.failed


def provision_customers(
    everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions, new_keys: NewKeys
) -> ProvisionResult:
    """Provision these customers, as the inventory has them or as they will be; return the result.

    Raises InventoryError, Refused.
    """
    inventory.require_provider(everything)
    run = _provision_relays(everything, customers, options, new_keys)
    usage = {one.id: _key_usage(one, run.found, run.as_wanted, run.failed) for one in run.customers}
    ends = dict(zip(usage, provision_ends(everything, run.customers, usage, options, new_keys.ends), strict=True))
    fates = {name: _fate(look, run.changed.get(name), options) for name, look in run.found.items()}
    terminal.say(plan_view.recap(fates, [end.is_changed for end in ends.values() if end.is_there], options.dry_run))
    return ProvisionResult(
        exit_codes.worst([*run.codes, *(end.code for end in ends.values())]),
        {id_: usage[id_].behind + (() if end.is_well else ("its own end",)) for id_, end in ends.items()},
        {name: plan_view.relay_document(look, run.changed.get(name), fates[name]) for name, look in run.found.items()},
        {id_: end.document(options.dry_run) for id_, end in ends.items()},
    )


def _provision_relays(
    everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions, new_keys: NewKeys
) -> _RelayRun:
    """Plan, print, make keys, apply, and copy lists to relays that have none. Raises Refused."""
    with ExitStack() as connections:
        planned = [new_keys.planned(one) for one in customers]
        found = settings_numbers.agree_on_numbers(look_at_all(everything, planned, options, connections), planned)
        looks = [look for look in found.values() if isinstance(look, RelayPlan)]
        if everything.store is None:  # which may have what no relay has
            refuse_unknown_names(looks, options.removing)
        codes = plan_view.print_plans(found, options)
        store_start.print_first_lists([look for look in looks if not look.blockers], planned)
        changed: Mapping[str, str | HostError | Refused] = {}
        if options.dry_run:
            customers = [new if old.keys else old for old, new in zip(customers, planned, strict=True)]
        else:
            made = _make_keys(customers, looks, new_keys)
            codes += made
            if made:
                everything = inventory.load(inventory.inventory_path(), [one.id for one in customers])
                customers = [everything.customers[one.id] for one in customers]
            ready, changed = _set_up([look for look in looks if not look.blockers], customers, options)
            codes += store_access.migrate(everything.store, [(look.relay, look.host) for look in ready])
            taken = settings_numbers.take_numbers(ready, [one for one in customers if one.keys], options.removing)
            ready = [settings_numbers.with_numbers(look, taken.numbers) for look in ready]
            refused = _refused_relays(ready, taken.refused)
            changed = {**changed, **_apply(ready, everything, customers, options, taken.refused), **refused}
            codes += terminal.print_results(changed)
        run = _RelayRun(customers, found, changed, codes)
        reached = {
            look.relay.name: ConnectedRelay(look.host, look.lists, look.relay.name in run.as_wanted) for look in looks
        }
        if everything.store is None:
            codes += copy_lists.copy_lists(customers, reached, options.dry_run)
        else:
            done = {name for name, result in changed.items() if isinstance(result, str)}
            _follow_store({name: reached[name] for name in done})
            codes += store_start.merge_first_lists([look for look in looks if look.relay.name in done], customers)
        return run._replace(codes=codes)


def _set_up(
    looks: Sequence[RelayPlan], customers: Sequence[Customer], options: ProvisionOptions
) -> tuple[list[RelayPlan], Mapping[str, str | HostError | Refused]]:
    """Set up what relays need to ask the store; return the plans of those that are ready, and why others are not."""
    keyed = {name for one in customers if one.keys for name in one.relays}
    sharing = [look for look in looks if look.relay.store and look.relay.name in keyed]
    made = store_setup.set_up_relays(sharing, options)
    every = [made.get(look.relay.name, look) for look in looks]
    failed = {name: error for name, error in made.items() if not isinstance(error, RelayPlan)}
    return [look for look in every if isinstance(look, RelayPlan)], failed


def _refused_relays(looks: Sequence[RelayPlan], refused: Mapping[str, Refused]) -> dict[str, Refused]:
    """Return the relays that may not be changed, with the reason: one of their customers was refused."""
    return {look.relay.name: refused[one.id] for look in looks for one in look.with_trees if one.id in refused}


def _follow_store(relays: Mapping[str, ConnectedRelay]) -> None:
    """Take the lists from the store at once on the relays that were changed."""
    for name, relay in relays.items():
        if why := store_access.follow(relay.host):
            terminal.note(f"{name}: has not followed the store, and tries it again each minute: {why}")


def _fate(
    look: RelayPlan | HostError | Refused, changed: str | HostError | Refused | None, options: ProvisionOptions
) -> str:
    """Return the relay's result, a word of plan_view.FATES."""
    if not isinstance(look, RelayPlan):
        return "would change" if isinstance(look, NoPython) and options.dry_run else NOT_REACHED
    if look.blockers or isinstance(changed, Refused):
        return "refused"
    if isinstance(changed, HostError):
        return "failed"
    if options.dry_run and look.plan.changes:
        return "would change"
    return "changed" if changed else "unchanged"


def _make_keys(customers: Sequence[Customer], looks: Sequence[RelayPlan], new_keys: NewKeys) -> list[int]:
    """Make and record a key for each customer that lacks one and has a relay that is ready."""
    recorded: list[RecordedKey] = []
    try:
        for customer in customers:
            theirs = [look for look in looks if look.relay.name in customer.relays]
            if new_keys.lacks(customer) and _may_have_key(customer, theirs):
                seen = {name for look in theirs for name in look.seen.get(customer.id, ())}
                recorded.append(new_keys.record(customer, seen))
    finally:  # an interrupted run must say which keys are to be committed
        terminal.print_sentences(sentence for one in recorded for sentence in one.said)
    return [one.code for one in recorded]


def _may_have_key(customer: Customer, looks: Sequence[RelayPlan]) -> bool:
    """Return whether a relay is ready, and no relay has a key that only another checkout has recorded."""
    unknown = [look for look in looks if look.blockers and _loses_key(customer, look.plan)]
    return not unknown and not all(look.blockers for look in looks)


def _loses_key(customer: Customer, plan: Plan) -> bool:
    losses = [loss for change in plan.changes if change.item.about == customer.id for loss in change.removals()]
    return any(loss.startswith("key:") for loss in losses)


# ---- apply


def _apply(
    ready: Sequence[RelayPlan],
    everything: Inventory,
    customers: Sequence[Customer],
    options: ProvisionOptions,
    refused: Mapping[str, Refused],
) -> Mapping[str, str | HostError | Refused]:
    """Apply the plans for the customers that have a key by now; a relay without such a customer is not changed.

    `refused`: customers for whom nothing may be changed, and so nothing on their relays.
    """
    keyed = {
        look.relay.name: [one for one in customers if one.keys and look.relay.name in one.relays] for look in ready
    }
    changing = {
        look.relay.name: look
        for look in ready
        if (look.plan.changes or store_access.is_given(look.relay)) and keyed[look.relay.name]
        if look.relay.name not in _refused_relays(ready, refused)
    }

    def apply(relay: Relay) -> str:
        look = install_packages(changing[relay.name], keyed[relay.name], options)
        plan = _final_plan(look, everything, keyed[relay.name], options)
        made = look.made + len(plan.changes)  # those that prove an adopted list are among them
        try:
            if _prove_adopted(look, keyed[relay.name]):
                plan = Plan.of(look.host, plan.items)
            plan.apply()
        except ProofFailed as error:
            raise ProofFailed(f"{error}\n{_what_stays(plan)}") from error
        return f"{count(made, 'change')} made ({cost_of(look.host)})"

    return run_parallel([look.relay for look in changing.values()], apply, "changing")


def _prove_adopted(look: RelayPlan, customers: Sequence[Customer]) -> bool:
    """Put our lists in force where another list closed the domain, and test the answers, before routes are written.

    Returns whether there were such domains. Raises ProofFailed after putting back what closed the domains before.
    """
    domains = adoption.released_domains(look.facts, look.after)
    if not domains:
        return False

    def plan_with(facts: Facts) -> Plan:
        return Plan.of(look.host, relay_role.items(look.relay, [*customers, *look.givers], facts))

    plan_with(look.facts).apply()
    plan_with(adoption.while_proving(look.facts, look.after)).apply()
    try:
        look.host.make([adoption.proof(look.relay, domains)])
    except ProofFailed:
        plan_with(look.facts).apply()
        raise
    return True


def _what_stays(plan: Plan) -> str:
    """Return a sentence on what was made before the proof failed: no mail uses it, and the next run keeps it."""
    made = [f"{change.item.kind} {change.item.name}" for change in plan.changes if change.item.kind not in _PROVED]
    return f"what was made before stays, and no mail uses it: {', '.join(made)}; `inv retire` removes it"


def _final_plan(
    look: RelayPlan, everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions
) -> Plan:
    """Return the plan, made again with the new keys and with what an installed Postfix says."""
    every = [*customers, *look.givers]
    plan = Plan.of(look.host, relay_role.items(look.relay, every, look.after))
    # Another checkout changed the relay since it was read, or a customer that takes over a domain got no key.
    if lost := [*domain_moves.find_blockers(everything, look.relay, every, look.after, plan)] or unnamed_removals(
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
    """Return what the customer's relays know of its keys."""
    looks = [found.get(name) for name in customer.upload_relays]
    seen = [look.seen.get(customer.id, frozenset()) if isinstance(look, RelayPlan) else frozenset() for look in looks]
    behind = tuple(name for name in customer.upload_relays if name not in as_wanted)
    broken = tuple(name for name in customer.upload_relays if name in failed)
    return KeyUsage(frozenset.intersection(*seen), frozenset.union(*seen), behind, broken)
