"""Set up what a relay needs to ask the store, before any tree is written: that needs the customers' numbers.

A relay follows the store only for customers whose trees it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.errors import Refused
from console.options import ProvisionOptions
from deploy.plan import HostError, Plan
from fleet import store_access
from fleet.relay_plan import RelayPlan, install_packages
from fleet.relays import run_parallel
from inventory.model import Relay
from roles import relay as relay_role


def set_up_relays(
    looks: Sequence[RelayPlan], options: ProvisionOptions
) -> Mapping[str, RelayPlan | HostError | Refused]:
    """Install what relays that share a store need; return their plans, made again."""
    due = {look.relay.name: look for look in looks}

    def set_up(relay: Relay) -> RelayPlan:
        look = due[relay.name]
        store_access.send_credential(look.host, relay, look.plan)
        look = install_packages(look, look.customers, options)
        plan = Plan.of(look.host, relay_role.machine_items(relay, look.after))
        plan.apply()
        return look._replace(made=len(plan.changes))

    return run_parallel([look.relay for look in due.values()], set_up, "setting up")
