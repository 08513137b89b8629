"""What stands in the way of setting up a relay: all of it at once, each with what is wrong, where, what would help."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from common.main_cf_params import DOMAINS, RECIPIENTS, RELOCATED, ROUTES, TABLE_OF, TABLES, is_ours, members
from common.main_cf_references import Reference
from common.paths import PLACES
from common.release import RELEASE
from common.table_types import BUILT_IN, OURS
from deploy.items import Item, State
from inventory.domains import table_form
from inventory.model import Customer, Relay
from inventory.validators import BY_MX
from roles.relay.customer import domain_names
from roles.relay.facts import Facts, config_directory
from roles.relay.login import ACCOUNT, HOME, login_refusals
from roles.relay.main_cf import ASK, REFUSE, is_others_needed

OTHER_CLASSES = {
    "local": "mydestination",
    "virtual alias": "virtual_alias_domains (unset, that is the keys of virtual_alias_maps)",
    "virtual mailbox": "virtual_mailbox_domains",
}


def preflight_items(relay: Relay, customers: Sequence[Customer], facts: Facts) -> tuple[Item, ...]:
    """List what is read only when something is going to be written: it takes a while."""
    copying = [customer for customer in customers if customer.exchange.copies_files]
    questions = {
        "domains": {name: customer.next_hop for customer in customers for name in domain_names(customer)},
        "unlisted": {
            name: customer.unlisted
            for customer in customers
            if customer.unlisted not in (None, REFUSE)
            for name in domain_names(customer)
        },
        "addresses": sorted({address for customer in customers for address in customer.exchange.addresses}),
        "port": relay.uploads_to[1],
        "table_type": relay.table_type or facts.table_type,
        "accounts": [customer.upload_account for customer in copying],
        "homes": {ACCOUNT: HOME, **{one.upload_account: PLACES.drop(one.id) for one in copying}},
    }
    return (Item("preflight", config_directory(relay), questions),)


def blockers(
    relay: Relay, customers: Sequence[Customer], facts: Facts, found: Sequence[State | None], *, downgrade: bool = False
) -> list[str]:
    """Return the reasons to write nothing.

    `found`: what was read of preflight_items(), part of it where there is no Postfix. `downgrade`: an older release may
    replace a newer one.
    """
    preflight = found[0] or {}
    owners = {name: customer for customer in customers for name in domain_names(customer)}
    return [
        *_release(facts.release, downgrade),
        *login_refusals(preflight, customers),
        *_sudo(preflight),
        *preflight.get("ground", ()),
        *_instances(relay, preflight),
        *_postfix(preflight),
        *_others(preflight, is_others_needed(facts)),
        *_delimiter(customers, facts.delimiter),
        *_same_file(relay.table_type or facts.table_type, facts),
        *_domains(preflight, owners, facts.customers),
    ]


def _release(there: str, downgrade: bool) -> Iterator[str]:
    if _sort_key(there) > _sort_key(RELEASE) and not downgrade:
        older = f"it has release {there} of our receiver and this is {RELEASE}"
        yield f"{older}: use the newer checkout, or `inv provision` with --downgrade"


def _sort_key(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def _sudo(preflight: State) -> Iterator[str]:
    if not preflight["sudoers.d"]:
        yield "/etc/sudoers does not read /etc/sudoers.d, where our rule goes: add the line @includedir /etc/sudoers.d"


def _instances(relay: Relay, preflight: State) -> Iterator[str]:
    if preflight.get("instances") and relay.config_directory is None:
        all_ = ", ".join([config_directory(relay), *preflight["instances"]])
        yield f"it has several instances of Postfix ({all_}): name one as config_directory in relays.toml"


def _postfix(preflight: State) -> Iterator[str]:
    if preflight.get("running") is False:
        yield "Postfix is stopped: start it; its answers are compared before and after a change"
    if preflight.get("smtp"):
        yield f"{preflight['smtp']}\nit is asked before and after a change what it answers; see its log"
    if preflight.get("scratch"):
        yield (
            f"tables of the wanted type cannot be built there: {preflight['scratch']}\n"
            "name another as table_type in relays.toml, or install what the type needs (as package postfix-lmdb)"
        )
    for place in preflight.get("overrides", ()):
        yield f"{place}: with it our tables are not asked about unknown recipients; remove it"


def _others(preflight: State, others: bool) -> Iterator[str]:
    """Yield what our tables would change for mail to other domains.

    `others`: a table that lets everybody else's recipients pass goes into the list of recipients as well.
    """
    for one in (Reference(*each) for each in preflight.get("references", ())):
        if not one.is_harmless(others):
            yield (
                f"{one.place} takes in {one.list}, and so would take in our table there, which means something else; "
                f"write out what it is to have, as a table of its own and not as ${one.list}"
            )
    for why in preflight.get("unreadable", ()):
        yield f"{why}: Postfix puts off all mail that it asks that table about; mend it first"
    for why in preflight.get("unlisted", ()):
        yield f'only unlisted = "refuse" is possible here: {why}'
    for place in preflight.get("senders", ()):
        yield (
            f"{place}: with it our tables are asked about senders too, and mail from a customer's address that is not "
            "listed, as those it excludes, would be refused; remove it"
        )
    for place in preflight.get("parents", ()):
        yield (
            f"{place}: with it mail for every name below a customer's domain would go where that domain's goes; take "
            f"{ROUTES} out, and write .example.com in your own tables for what is below a domain"
        )
    if preflight.get("nothing"):
        yield (
            f"{RECIPIENTS} = {preflight['nothing']} expands to nothing, so Postfix accepts every recipient of other "
            f"relay domains; our table would start rejecting them: unset it (postconf -X {RECIPIENTS})"
        )


def _delimiter(customers: Iterable[Customer], delimiter: str) -> Iterator[str]:
    """Yield a blocker for unlisted = "ask" where Postfix passes tagged addresses that the server may refuse."""
    for customer in customers:
        if customer.unlisted == ASK and delimiter and not (delimiter == "+" and customer.plus_addresses):
            yield (
                f'{customer.id}: unlisted = "ask" would ask its server about addresses with a tag, which '
                f"recipient_delimiter = {delimiter} accepts today, and would refuse those that it refuses: "
                f"{'say plus_addresses = true' if delimiter == '+' else 'it goes with + alone'}"
            )


def _same_file(wanted: str, facts: Facts) -> Iterator[str]:
    """A hash table cannot be built beside a btree table, nor the other way: Postfix has one name for both files."""
    members_ = [member for name in TABLE_OF for member in members(facts.settings[name].value) if is_ours(name, member)]
    there = {kind for kind in BUILT_IN for member in members_ if f"{kind}:{TABLES}/" in member}
    if wanted in BUILT_IN and there - {wanted}:
        others = " or ".join(name for name in OURS if name not in BUILT_IN)
        yield (
            f"our tables there are of type {there.pop()}; tables of type {wanted} would have the same file names, and "
            f"Postfix could read neither: leave table_type as it is, or name {others}"
        )


# ---- the customers' domains


def _domains(preflight: State, owners: Mapping[str, Customer], known: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the domains.

    `known`: customers on the relay, who are warned where new ones are refused.
    """
    for domain, kind in preflight.get("classes", {}).items():
        if kind in OTHER_CLASSES:
            yield (
                f"{domain} ({owners[domain].id}) is in {OTHER_CLASSES[kind]} there, which comes before relay_domains: "
                "take it out, or take the domain out of the customer's file"
            )
    yield from _catch_alls(preflight, owners)
    for domain, why in preflight.get("refused", {}).items():
        if owners[domain].id not in known:
            yield (
                f"{domain} ({owners[domain].id}): {why}: strangers' mail to people on the customer's list would be "
                f"refused; a check_recipient_access table before it that says `{domain} OK` leaves it to our list; "
                f"where that table is a list of its people, `inv adopt {owners[domain].id}` takes it over"
            )
    for domain, member in preflight.get("taken out", {}).items():
        yield (
            f"{domain} ({owners[domain].id}): {DOMAINS} has {member} before our table, and so the relay would take no "
            "mail for it: remove that member"
        )
    for domain in preflight.get("by mx", ()):
        if owners[domain].id not in known:
            yield (
                f"{domain} ({owners[domain].id}) has no way on: the customer's file names no next_hop, and "
                f'transport_maps and relayhost know nothing of it; name next_hop, or say next_hop = "{BY_MX}" if its '
                "mail is to go where its MX records say, which must not be back to this relay"
            )
    for domain, route in preflight.get("dead ends", {}).items():
        yield (
            f"{domain} ({owners[domain].id}) has no way on: the customer's file names no next_hop, and the relay "
            f"itself takes its mail to {route}; name next_hop, or mend transport_maps"
        )


def _catch_alls(preflight: State, owners: Mapping[str, Customer]) -> Iterator[str]:
    """Yield entries that stand for everybody in a domain; only a domain that is never closed may have one."""
    for domain, parameter, table, entry in preflight.get("everybody", ()):
        owner = owners[domain]
        if preflight["classes"][domain] in OTHER_CLASSES:
            continue
        if parameter == RELOCATED:
            yield f"{table} ({parameter}) has an entry {entry}: all of {domain} ({owner.id}) is refused: remove it"
        elif parameter != RECIPIENTS or domain not in _partial(owner):
            yield (
                f"{table} ({parameter}) has an entry {entry}, so that no address of {domain} ({owner.id}) "
                "is unknown: remove it"
            )


def _partial(customer: Customer) -> set[str]:
    """Return the domains that are never closed, in both their forms."""
    return {form for name in customer.partial for form in (name, table_form(name)) if form}
