"""What a relay must have, in the order in which it is made: programs, account, receiver, customers, tables, main.cf."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from common.paths import LIBRARY, PLACES, POSTERN, REBUILD, RECEIVE
from common.release import RELEASE
from common.settings import RelaySettings
from common.table_types import BUILT_IN, package_of
from deploy.items import Item, ProtectedWhole, State, account, derived, file, package, tree
from inventory.model import Customer, Relay
from roles.relay.customer import (
    customer_tree,
    domain_names,
    has_new_filter,
    no_marker,
    no_tree,
    open_marker,
    plus_notes,
    routes,
    settings,
    without_uploads,
)
from roles.relay.facts import BLANK, Facts, config_directory, facts_items
from roles.relay.main_cf import main_cf, main_cf_without_us, moved_notes
from roles.relay.missing_next_hop import unsaid_route_warnings, unsaid_routes
from roles.relay.plan_facts import FIRST, PlanFact, has_facts, plan_facts
from roles.relay.preflight import blockers, preflight_items
from roles.relay.questions import address_item, list_status_item, queue_item, smtp_verify_item
from roles.relay.reject import reject_notes
from roles.relay.revision import (
    Revision,
    held_words,
    replaced_words,
    revision_text,
    settings_hash,
    store_revision,
    tree_revision,
    wanted_revision,
)
from roles.relay.sftp_inbox import confinement, no_inbox, upload_account_item
from roles.relay.timers import timers
from templates import render

__all__ = [
    "FIRST",
    "Facts",
    "PlanFact",
    "Revision",
    "address_item",
    "blockers",
    "customer_tree",
    "domain_names",
    "facts_items",
    "has_facts",
    "held_words",
    "items",
    "items_without",
    "list_status_item",
    "machine_items",
    "no_marker",
    "notes",
    "open_marker",
    "packages",
    "plan_facts",
    "preflight_items",
    "queue_item",
    "replaced_words",
    "settings",
    "settings_hash",
    "smtp_verify_item",
    "store_revision",
    "tree_revision",
    "unsaid_route_warnings",
    "unsaid_routes",
    "wanted_revision",
]

# An upgrade replaces the library and then each of these: a module that moves leaves a shim for one release under its
# old name, or uploads fail in between.
LAUNCHERS = {
    RECEIVE: "receiver.forced_command",
    POSTERN: "receiver.admin_cli",
    REBUILD: "receiver.tables.build",
    "/usr/local/bin/parse-exchange-users": "receiver.parse_cli",
}


def items(relay: Relay, customers: Iterable[Customer], facts: Facts | None) -> Iterator[Item]:
    """Yield all that the relay must have for these customers; trees of others stay as they are."""
    facts = facts or BLANK
    # Who takes a domain over comes first: if the run is killed in between, two own the domain, never nobody.
    taken = frozenset(facts.others)
    customers = sorted(customers, key=lambda customer: (taken.isdisjoint(domain_names(customer)), customer.id))
    if relay.role == "follower":
        customers = [without_uploads(customer) for customer in customers]
    yield from machine_items(relay, facts)
    copying = [customer for customer in customers if customer.exchange.copies_files]
    yield from map(upload_account_item, copying)
    yield from (open_marker(customer) for customer in customers if customer.opened)
    for customer in customers:
        shared = revision_text(customer, facts) if relay.store else ""
        yield customer_tree(customer, facts.closed_by.get(customer.id, {}), shared)
    yield derived("tables", REBUILD)
    yield Item("sudo", "postern", {"command": REBUILD, "fault": ""})
    yield from (item for customer in copying for item in confinement(customer))
    left = {customer.id for customer in customers if customer not in copying} & {*facts.drops}
    yield from (item for customer_id in sorted(left) for item in no_inbox(customer_id))
    stay = facts.customers or customers
    wanted = main_cf(relay, customers, facts) if stay else main_cf_without_us(facts)
    yield Item("main.cf", config_directory(relay), wanted)
    wanted = {
        name: route
        for customer in customers
        for name, route in routes(customer, facts.closed_by.get(customer.id, {})).items()
    }
    if wanted:
        yield Item("routes", config_directory(relay), wanted)


def machine_items(relay: Relay, facts: Facts) -> Iterator[Item]:
    """Yield what the relay must have whoever its customers are: programs, account, receiver, timer, store."""
    yield from packages(relay, facts)
    yield account("postern", home=PLACES.var, shell="/bin/sh")  # noqa: S604  # no subprocess
    # Before the receiver: what a new one asks of root, uploads ask from the moment it is there.
    yield file("/etc/sudoers.d/postern", render("relay/sudoers.j2", rebuild=REBUILD), mode="0440")
    yield tree(LIBRARY, _receiver())
    for path, module in LAUNCHERS.items():
        yield file(path, render("relay/launcher.j2", python=facts.python, library=LIBRARY, module=module), mode="0755")
    yield file(f"{PLACES.etc}/relay.json", _relay_settings(relay, facts).text())
    yield file(f"{PLACES.tables}/Makefile", render("relay/Makefile.j2", rebuild=REBUILD))
    yield from timers(relay, facts.systemd)
    if relay.store:
        yield Item("store", PLACES.store, {**relay.store._asdict(), "credential": "sent"})
    elif facts.has_store:
        yield Item("store", PLACES.store, None, protected=(ProtectedWhole("store"),))


def items_without(relay: Relay, customer_id: str, facts: Facts) -> Iterator[Item]:
    """Yield what must be gone with a customer. Once the last has gone, main.cf is as it was before the first."""
    if customer_id in facts.drops:
        yield from no_inbox(customer_id)
    yield no_tree(customer_id)
    if facts.release:
        yield no_marker(customer_id)
        yield derived("tables", REBUILD)  # which removes its keys first, then its domains, then its addresses
    if facts.has_postfix and not {*facts.customers} - {customer_id}:
        yield Item("main.cf", config_directory(relay), main_cf_without_us(facts))


def packages(relay: Relay, facts: Facts | None) -> Iterator[Item]:
    """Yield the programs we need, the first plan of a machine: what else it needs is known when they are there.

    A Postfix that this installs is started as well; one that was there and is stopped is left alone, and refused.
    """
    facts = facts or BLANK
    yield package("postfix")
    table_type = relay.table_type or facts.table_type
    if (facts.has_postfix or relay.table_type) and table_type not in (*facts.types, *BUILT_IN):
        yield package(package_of(table_type))
    yield package("make")
    yield package("sudo")
    if not facts.systemd:
        yield package("cron" if facts.manager == "apt-get" else "cronie")
    yield package("passwd" if facts.manager == "apt-get" else "shadow-utils")  # useradd; a small Debian 14 has none
    yield package("tzdata")  # lateness is judged in the customers' own time zones; a small Debian 12 has none
    if relay.store:
        yield package("python3-psycopg2")
    if not facts.has_postfix:
        yield Item("service", "postfix", {"running": True, "starts with the machine": True})


def notes(relay: Relay, facts: Facts | None, changes: Iterable[tuple[Item, State | None]]) -> list[str]:
    """Return what an operator should know beside the plan. `changes`: its items, and what is there now."""
    changes = list(changes)
    found = [*reject_notes(relay, facts or BLANK, changes)]
    for item, before in changes:
        wanted = item.wanted or {}
        if item.kind == "main.cf":
            found += moved_notes(before)
        if item.kind == "tree" and item.about and before and wanted and has_new_filter(before, wanted):
            found.append(f"{item.about}: a changed exclude or take takes effect with the next list")
        if item.kind == "tree" and item.about and wanted and (facts or BLANK).has_postfix:
            found += plus_notes(item.about, before, wanted, (facts or BLANK).delimiter)
    return found


def _receiver() -> dict[str, str]:
    """Return receiver/ and common/ as they lie in this repository, and which release that is."""
    here = Path(__file__).parent.parent.parent
    paths = sorted(path for room in ("common", "receiver") for path in (here / room).rglob("*.py"))
    sources = {path.relative_to(here).as_posix(): path.read_text("utf-8") for path in paths}
    return {**sources, "release": f"{RELEASE}\n"}


def _relay_settings(relay: Relay, facts: Facts) -> RelaySettings:
    return RelaySettings(config_directory(relay), relay.table_type or facts.table_type, relay.alarm, relay.metrics)
