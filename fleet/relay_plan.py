"""Look at relays and plan: what would be done to each for some customers, and what stands in the way of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import NamedTuple

import inventory
from console.errors import Refused
from console.options import ProvisionOptions
from deploy.items import State
from deploy.plan import HostError, Plan
from deploy.relay_host import RelayHost
from fleet import adoption, domain_moves, domain_screen, spool_data, store_leave
from fleet.relays import connect, relays_of, run_parallel
from inventory import Inventory
from inventory.domains import ascii_form
from inventory.model import Customer, Relay
from roles import relay as relay_role
from roles.relay import Facts


class RelayPlan(NamedTuple):
    """One relay: what was read of it, what would be changed, and what stands in the way of that."""

    relay: Relay
    host: RelayHost
    customers: tuple[Customer, ...]  # who are provisioned there
    facts: Facts
    plan: Plan
    blockers: tuple[str, ...]
    givers: tuple[Customer, ...]  # who give a domain away to one of those who are provisioned
    seen: Mapping[str, frozenset[str]]  # customer: names of the keys that have been used there
    lists: Mapping[str, int]  # customer: when the last good upload came, as spool_data.lists_seen() returns it
    warnings: tuple[str, ...]  # what holds for today and should be mended, changes or none
    after: Facts  # as `facts`, without who else closes domains whose lists are accepted by now
    domains: tuple[str, ...]  # the first screen: a line for each domain that opens, closes, or is answered by another
    made: int = 0  # changes that were made before the trees

    @property
    def with_trees(self) -> tuple[Customer, ...]:
        """Return the customers whose trees the plan has: who are provisioned, and who give a domain to them."""
        return (*self.customers, *self.givers)


def look_at_all(
    everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions, connections: ExitStack
) -> Mapping[str, RelayPlan | HostError | Refused]:
    """Read all relays side by side and return their plans; the connections stay open, so that plans can be applied."""

    def look(relay: Relay) -> RelayPlan:
        host = connections.enter_context(connect(relay, install_python=not options.dry_run))
        return _look(host, relay, everything, [one for one in customers if relay.name in one.relays], options)

    return run_parallel(relays_of(everything, customers), look, "looking at")


def _look(
    host: RelayHost, relay: Relay, everything: Inventory, customers: Sequence[Customer], options: ProvisionOptions
) -> RelayPlan:
    facts, spools, unsaid = read_relay(host, relay, customers)
    standing = adoption.ask_standing(host, relay, customers, facts)
    facts = adoption.with_closers(facts, customers, standing)
    after = adoption.after_release(facts, spools)
    givers = domain_moves.find_givers(everything, customers, facts)
    every = [*customers, *givers]
    plan = Plan.of(host, relay_role.items(relay, every, after))
    blockers = [*domain_moves.find_blockers(everything, relay, every, facts, plan)] or unnamed_removals(
        plan, every, options
    )
    blockers = blockers or [*adoption.put_off(standing)]
    is_leaving = store_leave.is_leaving(relay, facts)
    if is_leaving and not blockers:
        blockers = [*store_leave.find_unsent(host, relay, everything, facts)]
    if plan.changes and not blockers:
        blockers = find_blockers(host, relay, customers, facts, options)
    known = spool_data.keys_seen(spools), spool_data.lists_seen(spools)
    warnings = tuple(relay_role.unsaid_route_warnings(customers, facts, unsaid))
    warnings += (*store_leave.leaving_warnings(facts),) if is_leaving else ()
    domains = domain_screen.screen_lines(domain_screen.find_changes(every, plan, facts, after, spools, standing))
    return RelayPlan(
        relay, host, tuple(customers), facts, plan, tuple(blockers), givers, *known, warnings, after, tuple(domains)
    )


def read_relay(
    host: RelayHost, relay: Relay, customers: Sequence[Customer]
) -> tuple[Facts, State | None, State | None]:
    """Read facts, spools, and where Postfix takes mail for those who name no next hop."""
    unsaid = relay_role.unsaid_routes(relay, customers)
    asked = (*relay_role.facts_items(relay, customers), relay_role.list_status_item(customers), *unsaid)
    facts, spools, *routes = host.read(asked)
    return Facts.of(facts), spools, routes[0] if routes else None


def find_blockers(
    host: RelayHost, relay: Relay, customers: Sequence[Customer], facts: Facts, options: ProvisionOptions
) -> list[str]:
    """Return what keeps the customers from being provisioned on a relay as it is. Raises HostError."""
    preflight = host.read(relay_role.preflight_items(relay, customers, facts))
    return relay_role.blockers(relay, customers, facts, preflight, downgrade=options.downgrade)


def install_packages(look: RelayPlan, customers: Sequence[Customer], options: ProvisionOptions) -> RelayPlan:
    """Install what is missing; return the look with what is known then: Postfix's own word on itself.

    Raises HostError, and Refused where something stands in the way that could not be known before.
    """
    first = Plan.of(look.host, relay_role.packages(look.relay, look.after))
    if not first.changes:
        return look
    first.apply()
    facts = read_relay(look.host, look.relay, customers)[0]
    facts = facts._replace(closed_by=look.after.closed_by, numbers=look.after.numbers)
    if blockers := find_blockers(look.host, look.relay, customers, facts, options):
        raise Refused("; ".join(blockers))
    return look._replace(after=facts, made=look.made + len(first.changes))


# ---- stop


def unnamed_removals(plan: Plan, customers: Sequence[Customer], options: ProvisionOptions) -> list[str]:
    """Return what would go without having been named. Leaving a thing out of the inventory does not remove it."""
    losses = [(change.item.about, loss) for change in plan.changes for loss in change.removals()]
    lost = {
        loss: owner
        for owner, loss in losses
        if (owner, loss) not in options.meant and not _is_named(loss, options.removing)
    }
    if not lost:
        return []
    takers = {f"domain:{name}": taker for name, taker in domain_moves.owners_by_domain(customers).items()}
    named = [f"{loss} ({owner}'s, for {takers[loss]})" if loss in takers else loss for loss, owner in lost.items()]
    flags = " ".join(f"--removing {name}" for name in lost if not _is_named(name, [*lost.keys() - {name}]))
    return [f"would remove {', '.join(named)}; nothing is done. If that is meant: `inv provision` with {flags}"]


def _is_named(loss: str, removing: Sequence[str]) -> bool:
    """Return whether it was named; all that goes with a domain is named by the domain, in either of its forms."""
    noun, _, name = loss.partition(":")
    of_domain = as_recorded(f"domain:{name.rpartition('@')[2]}")
    return loss in removing or (noun != "key" and of_domain in map(as_recorded, removing))


def as_recorded(word: str) -> str:
    """Return a word of `--removing` as relays and the store have it: a domain by its A-label."""
    noun, _, name = word.partition(":")
    with suppress(ValueError):  # it is no domain of an inventory: somebody's hand wrote it there
        return f"domain:{ascii_form(name)}" if noun == "domain" else word
    return word


def refuse_unknown_names(looks: Sequence[RelayPlan], removing: Sequence[str]) -> None:
    """Raise Refused where a name given with --removing is none that a plan would remove."""
    losses = {loss for look in looks for loss in look.plan.removals()}
    for name in removing:
        if looks and name not in losses:
            raise Refused(f"--removing {name}: no plan here would remove that{inventory.near(name, losses)}")
