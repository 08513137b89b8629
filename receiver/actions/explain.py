"""Finds all that this relay knows about one address of a customer, for the helpdesk. Changes nothing."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from common.settings import UNLISTED, Settings
from receiver.addresses import domain_of, without_tag
from receiver.lists import history, left_out, removed_addresses, upload_log
from receiver.lists.spool import Spool
from receiver.lists.upload_log import LogEntry
from receiver.monitoring.log_findings import WatchedCustomer
from receiver.outcome import Failed, Refused
from receiver.tables_client import Tables
from receiver.upload.address_rules import EXCLUDED, listed_form, reason_left_out

MOST_FOUND = 1_000  # addresses that a pattern finds


def explain(
    spool: Spool, settings: Settings, address: str, tables: Tables, watched: WatchedCustomer | None, now: int
) -> dict[str, Any]:
    """Return the state of an address: listed or not and since when, left out and why, refused, in the tables.

    Raises Refused for an address that is in none of the customer's domains, or is none at all.
    """
    name = listed_form(address, settings)
    if not name:
        reason = reason_left_out(f"smtp:{address}", settings)
        raise Refused(f"{reason}: an address in {', '.join(settings.domains)} is wanted")
    in_force, held = spool.read_in_force(), spool.read_held()
    log = {entry.entry: entry for entry in upload_log.read_entries(spool.folder)}
    frozen, domain = spool.read_freeze(), domain_of(name)
    return {
        "address": name,
        "domain": domain,
        "domain_is": _domain_state(domain, settings, in_force.accepted.opens(settings, now)),
        "unlisted": settings.unlisted or UNLISTED[0],
        "put_off": settings.unlisted == UNLISTED[-1] and spool.is_put_off(),
        "left_out_of_tables": tables.find_faulty_customers().get(spool.customer, ""),
        "last_good": in_force.accepted.domains.get(domain, 0),
        "listed": _why_listed(name, settings, in_force.recipients),
        "since": _listed_since(spool, name) if name in in_force.recipients else None,
        "removed": _removal(spool, name, log, now),
        "left_out": _left_out(spool, name, settings),
        "plus": _plus(spool, settings, name, in_force.recipients),
        "excluded": reason_left_out(f"smtp:{name}", settings) == EXCLUDED,
        "held": held
        and {"list": held.list, "since": held.since, "reasons": held.reasons, "has_it": name in held.recipients},
        "pinned": frozen and frozen._asdict(),
        "in_table": _is_in_table(tables, name, domain),
        **_mail(name, watched),
    }


def find_addresses(spool: Spool, settings: Settings, pattern: str) -> dict[str, Any]:
    """Return the listed addresses in which a pattern is found, the first MOST_FOUND of them, and how many there are.

    A pattern is a part of an address, or has `*` and `?` for any letters and any one letter and is a whole address.
    """
    listed = spool.read_in_force().recipients | frozenset(settings.include)
    found = sorted(find_matching(listed, pattern))
    return {"pattern": pattern, "found": found[:MOST_FOUND], "total": len(found), "listed": len(listed)}


def find_matching(addresses: Iterable[str], pattern: str) -> Iterable[str]:
    """Yield the addresses that a pattern finds, whatever its case, and whether or not it has the address's quotes."""
    folded = pattern.casefold()
    if not set("*?") & set(folded):
        return (address for address in addresses if folded in address or folded in address.replace('"', ""))
    fits = re.compile(fnmatch.translate(folded.replace("[", "[[]"))).match
    return (address for address in addresses if fits(address) or fits(address.replace('"', "")))


def _domain_state(domain: str, settings: Settings, opens: Iterable[str]) -> str:
    return "partial" if domain in settings.partial else "open" if domain in opens else "closed"


def _why_listed(name: str, settings: Settings, in_force: frozenset[str]) -> str:
    if name in in_force:
        return "list"
    if name in settings.include:
        return "include"
    return "postmaster" if name.startswith("postmaster@") else ""


def _listed_since(spool: Spool, name: str) -> dict[str, Any] | None:
    """Return the kept list with which an address came; `at_least`: all kept lists have it, so it may be older."""
    line = f"\n{name}\n".encode()
    since: dict[str, Any] | None = None
    for entry in history.read_entries(spool.folder):
        with suppress(Failed):  # a list that is damaged says nothing
            if line not in b"\n" + history.read_list(spool.folder, entry.number):
                return since and {**since, "at_least": False}
        name_of_step, label = history.entry_name(entry.kept), entry.kept
        since = {"entry": name_of_step, **label.origin._asdict(), "accepted_by": label.accepted_by, "at_least": True}
    return since


def _removal(spool: Spool, name: str, log: dict[str, LogEntry], now: int) -> dict[str, Any] | None:
    """Return when, how and by whose upload an address left the list; None: not in the last 90 days."""
    removal = removed_addresses.read_removals(spool.folder, now).get(name)
    if removal is None:
        return None
    entry = log.get(removal.entry)
    who = {each: getattr(entry, each) if entry else "" for each in ("key", "client", "by", "accepted_by")}
    return {**removal._asdict(), **who}


def _plus(spool: Spool, settings: Settings, name: str, in_force: frozenset[str]) -> dict[str, Any] | None:
    """Return what is known of user@ for user+tag@; None for an address without a tag."""
    base = without_tag(name)
    if not base:
        return None
    said = spool.read_last_export().plus_addresses if settings.plus_addresses is None else settings.plus_addresses
    return {"base": base, "is_listed": base in in_force, "is_taken": bool(said)}


def _left_out(spool: Spool, name: str, settings: Settings) -> dict[str, str] | None:
    """Return the value of the last export that is this address and was left out, as exported, and why."""
    found = (each for each in left_out.read_left_out(spool.folder) if listed_form(each.value, settings) == name)
    value = next(found, None)
    return value._asdict() if value else None


def _is_in_table(tables: Tables, name: str, domain: str) -> bool | None:
    """Return whether the built table has an address, or its whole domain; None: it cannot be read."""
    try:
        return len(tables.find_missing([name, f"@{domain}"])) < 2
    except Failed:
        return None


def _mail(name: str, watched: WatchedCustomer | None) -> dict[str, Any]:
    """Return what the mail log says of an address in the last 14 days."""
    if watched is None:
        return {"refused": {}, "refused_days": [], "had_mail": "", "waiting": "", "log_since": ""}
    refusals = watched.refusals
    refused, mail, waiting = refusals.refused.get(name), refusals.had_mail.get(name), refusals.waiting.get(name)
    return {
        "refused": dict(refused.kinds) if refused else {},
        "refused_days": refused.days if refused else [],
        "had_mail": mail.last if mail else "",
        "waiting": waiting.day if waiting else "",
        "log_since": watched.since,
    }
