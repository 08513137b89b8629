"""Customers whose tree is damaged, and root's copy of it too: their domains stay in the tables, open.

Nothing else says whose a domain is, so as long as a tree is lost no domain that is in force goes. Once the customer has
been provisioned again its domains close by its list as before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from receiver.tables import install
from receiver.tables.customer_recipients import CustomerRecipients
from receiver.tables.customer_tree import CustomerTree
from receiver.tables.inputs import CustomerInput, GoodCopy, SpoolFiles

LOST = "root has no copy of its tree: its domains that are in the tables stay there, open"


def keep_domains(tables: str, lost: Mapping[str, str], sources: Iterable[CustomerInput]) -> list[CustomerRecipients]:
    """Return a part with the domains in force that no other customer has, all open; none where no tree is lost.

    `lost`: the customers, each with the reason. The part bears the name of one of them.
    """
    if not lost:
        return []
    claimed = {form for source in sources for forms in source.tree.domains.values() for form in forms}
    kept = {form: [form] for form in install.read_installed(tables, "relay_domains") if form not in claimed}
    if not kept:
        return []
    customer, why = min(lost.items())
    routes = {form: route for form, route in install.read_installed(tables, "transport").items() if form in kept}
    tree = CustomerTree(
        customer=customer,
        domains=kept,
        partial=(),
        include=(),
        open_after_days=0,
        max_recipients=0,
        routes=routes,
        keys=(),
    )
    copy = GoodCopy(os.path.join(tables, "good", customer))
    source = CustomerInput(tree, SpoolFiles(), copy, why, is_opened=True)
    return [CustomerRecipients(source, (), (), frozenset(kept))]
