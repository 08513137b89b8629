"""What stands in the way of setting up a relay: all of it at once, each with what is wrong, where, what would help."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import receiver
from deploy.items import Item, State
from inventory.model import Customer, Relay
from receiver.settings import Places
from roles.postfix.customer import names
from roles.postfix.now import Now, config_directory
from roles.postfix.there.members import BUILT_IN, RECIPIENTS, ROUTES, TABLE_OF, TABLES, is_ours, members

ACCOUNT = "postern"
HOME = Places().var
OTHER_CLASSES = {
    "local": "mydestination",
    "virtual alias": "virtual_alias_domains (unset, that is the keys of virtual_alias_maps)",
    "virtual mailbox": "virtual_mailbox_domains",
}


def surveyed(relay: Relay, customers: Sequence[Customer], now: Now) -> tuple[Item, ...]:
    """List what is read only when something is going to be written: it takes a while."""
    facts = {
        "domains": {name: customer.next_hop for customer in customers for name in names(customer)},
        "addresses": sorted({address for customer in customers for address in customer.exchange.addresses}),
        "table_type": relay.table_type or now.table_type,
        "accounts": [customer.upload_account for customer in customers if customer.exchange.copies_files],
    }
    return (Item("survey", config_directory(relay), facts),)


def refusals(
    relay: Relay, customers: Sequence[Customer], now: Now, survey: Sequence[State | None], *, downgrade: bool = False
) -> list[str]:
    """Return the reasons to write nothing. `survey`: what was read of surveyed(), part of it where there is no Postfix.

    `downgrade`: an older release may replace a newer one.
    """
    facts = survey[0] or {}
    return [
        *_release(now.release, downgrade),
        *_sshd(facts),
        *_upload_accounts(facts.get("uploads")),
        *_sudo(facts),
        *_instances(relay, facts),
        *_postfix(facts),
        *_others(facts),
        *_same_file(relay.table_type or now.table_type, now),
        *_domains(facts, {name: customer.id for customer in customers for name in names(customer)}),
    ]


def _release(there: str, downgrade: bool) -> Iterator[str]:
    if _ordered(there) > _ordered(receiver.RELEASE) and not downgrade:
        yield (
            f"it has release {there} of our receiver and this is {receiver.RELEASE}: use the newer checkout, "
            "or say --downgrade"
        )


def _ordered(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def _sudo(facts: State) -> Iterator[str]:
    if not facts["sudoers.d"]:
        yield "/etc/sudoers does not read /etc/sudoers.d, where our rule goes: add the line @includedir /etc/sudoers.d"


def _instances(relay: Relay, facts: State) -> Iterator[str]:
    if facts.get("instances") and relay.config_directory is None:
        all_ = ", ".join([config_directory(relay), *facts["instances"]])
        yield f"it has several instances of Postfix ({all_}): name one as config_directory in relays.toml"


def _postfix(facts: State) -> Iterator[str]:
    if facts.get("running") is False:
        yield "Postfix is stopped: start it, as it is asked before and after a change what it answers"
    if facts.get("smtp"):
        yield f"{facts['smtp']}\nit is asked before and after a change what it answers; see its log"
    if facts.get("scratch"):
        yield (
            f"tables of the wanted type cannot be built there: {facts['scratch']}\n"
            "name another as table_type in relays.toml, or install what the type needs (as package postfix-lmdb)"
        )
    for place in facts.get("overrides", ()):
        yield f"{place}: with it our tables are not asked about unknown recipients; remove it"


def _others(facts: State) -> Iterator[str]:
    """Judge what our tables would do to mail that is not to our customers."""
    for place in facts.get("senders", ()):
        yield (
            f"{place}: with it our tables are asked about senders too, and mail from a customer's address that is not "
            "listed, as those it excludes, would be refused; remove it"
        )
    for place in facts.get("parents", ()):
        yield (
            f"{place}: with it mail for every name below a customer's domain would go where that domain's goes; take "
            f"{ROUTES} out, and write .example.com in your own tables for what is below a domain"
        )
    if facts.get("nothing"):
        yield (
            f"{RECIPIENTS} = {facts['nothing']} says nothing as it stands, so all recipients of other relay domains "
            f"are taken, which a table of ours beside it would end: unset it (postconf -X {RECIPIENTS})"
        )


def _same_file(wanted: str, now: Now) -> Iterator[str]:
    """A hash table cannot be built beside a btree table, nor the other way: Postfix has one name for both files."""
    members_ = [member for name in TABLE_OF for member in members(now.settings[name].value) if is_ours(name, member)]
    there = {kind for kind in BUILT_IN for member in members_ if f"{kind}:{TABLES}/" in member}
    if wanted in BUILT_IN and there - {wanted}:
        yield (
            f"our tables there are of type {there.pop()}, in whose very files tables of type {wanted} would lie, and "
            "Postfix could read neither: leave table_type as it is, or name lmdb or cdb"
        )


# ---- the customers' domains


def _domains(facts: State, owners: Mapping[str, str]) -> Iterator[str]:
    for domain, kind in facts.get("classes", {}).items():
        if kind in OTHER_CLASSES:
            yield (
                f"{domain} ({owners[domain]}) is in {OTHER_CLASSES[kind]} there, which comes before relay_domains: "
                "take it out, or take the domain out of the customer's file"
            )
    for key, table in facts.get("aliases", {}).items():
        domain = key.lstrip("@")
        if facts["classes"][domain] not in OTHER_CLASSES:
            yield (
                f"{table} (virtual_alias_maps) has an entry {key}, so that no address of {domain} ({owners[domain]}) "
                "is unknown: remove it"
            )
    for domain, why in facts.get("refused", {}).items():
        yield (
            f"{domain} ({owners[domain]}): {why}: strangers' mail to people on the customer's list would be refused; "
            f"before it, a check_recipient_access table that says `{domain} OK` leaves it to our list, or remove it"
        )
    for domain, why in facts.get("no way", {}).items():
        yield (
            f"{domain} ({owners[domain]}) has no way on: the customer's file names no next_hop, transport_maps and "
            f"relayhost know nothing of it, and {why}; name next_hop"
        )


# ---- sshd, as it would treat the account


def _sshd(facts: State) -> Iterator[str]:
    if fault := facts["sshd"].get("fault"):
        yield f"uploads need OpenSSH there, and it cannot be asked how it would treat account {ACCOUNT}: {fault}"
        return
    found = [text for options in facts["sshd"].values() for text in _options(options, facts["groups"])]
    yield from dict.fromkeys(found)


def _upload_accounts(uploads: State | None) -> Iterator[str]:
    """Judge what confines the accounts of customers whose client only copies files."""
    if uploads is None:
        return
    if not uploads["include"]:
        yield (
            "/etc/ssh/sshd_config does not read /etc/ssh/sshd_config.d, where an upload account is locked into its "
            "folder: add, as the first line, Include /etc/ssh/sshd_config.d/*.conf (OpenSSH 8.2 or later)"
        )
    for account, options in uploads["options"].items():
        yield from _listed(options, account, [account])


def _options(options: Mapping[str, list[str]], groups: Sequence[str]) -> Iterator[str]:
    def says(name: str) -> str:
        return f"sshd says {name} {' '.join(options.get(name.lower(), []))}"

    yield from _listed(options, ACCOUNT, groups)
    if options.get("pubkeyauthentication") == ["no"]:
        yield f"{says('PubkeyAuthentication')}: account {ACCOUNT} has nothing but keys; allow them in a Match block"
    if not any(_expanded(path) == f"{HOME}/.ssh/authorized_keys" for path in options.get("authorizedkeysfile", [])):
        yield f"{says('AuthorizedKeysFile')}: add .ssh/authorized_keys, at least in a Match User {ACCOUNT} block"
    for name in ("ForceCommand", "ChrootDirectory"):
        if options.get(name.lower(), ["none"]) != ["none"]:
            yield f"{says(name)}: it overrules command= of our keys; exempt it (Match User !{ACCOUNT},*)"
    methods = options.get("authenticationmethods", ["any"])
    if not {"any", "publickey"} & set(methods):
        yield f"{says('AuthenticationMethods')}: a key alone must do; add publickey in a Match User {ACCOUNT} block"


def _listed(options: Mapping[str, list[str]], account: str, groups: Sequence[str]) -> Iterator[str]:
    """Judge deny and allow lists; patterns may be USER@HOST, of which only the user is known to matter here."""
    for name, mine in (("Users", [account]), ("Groups", groups)):
        denied, allowed = options.get(f"deny{name.lower()}", []), options.get(f"allow{name.lower()}", [])
        if _matches(mine, denied):
            yield f"sshd says Deny{name} {' '.join(denied)}: that shuts out {account}; exempt it"
        if allowed and not _matches(mine, allowed):
            yield f"sshd says Allow{name} {' '.join(allowed)}: add {account}"


def _matches(mine: Iterable[str], patterns: Iterable[str]) -> bool:
    positive = [pattern.partition("@")[0] for pattern in patterns if not pattern.startswith("!")]
    negative = [pattern[1:].partition("@")[0] for pattern in patterns if pattern.startswith("!")]
    return any(_any(name, positive) and not _any(name, negative) for name in mine)


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _expanded(path: str) -> str:
    path = path.replace("%u", ACCOUNT).replace("%h", HOME).replace("%%", "%")
    return path if path.startswith("/") else f"{HOME}/{path}"
