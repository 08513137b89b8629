"""A relay leaves the store only once every customer's server sends to it as well.

Without uploads its lists would grow old, and in time its domains would open.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.relay_host import RelayHost
from fleet import spool_data
from inventory import Inventory
from inventory.model import Relay
from receiver.formatting import escape
from roles import relay as relay_role
from roles.relay import Facts


def is_leaving(relay: Relay, facts: Facts) -> bool:
    """Return whether the relay shares a store, and is to share none."""
    return relay.store is None and facts.has_store


def find_unsent(host: RelayHost, relay: Relay, everything: Inventory, facts: Facts) -> Iterator[str]:
    """Yield why a relay cannot do without the store yet: whose server has never sent to it. Raises HostError."""
    for name in (one for one in facts.customers if one not in everything.customers):
        yield f"the store cannot go while {escape(name)} is there, whom this inventory does not have: pull first"
    theirs = [one for one in everything.customers.values() if one.id in facts.customers and relay.name in one.relays]
    (spools,) = host.read([relay_role.list_status_item(theirs)])
    seen = spool_data.keys_seen(spools)
    for customer in theirs:
        if not seen.get(customer.id):
            yield (
                f"the store cannot go yet: {customer.id}'s server has not sent to this relay; provision it as an "
                "upload relay, carry the new kit, and wait for an upload"
            )


def leaving_warnings(facts: Facts) -> Iterator[str]:
    """Yield that what the relay takes with it may not be the newest."""
    if why := str(facts.followed.get("why", "")):
        yield f"does not follow the store now, so it keeps what it had: {escape(why, 300)}"
