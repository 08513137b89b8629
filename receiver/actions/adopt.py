"""Holds the list that the relay's own tables had before Postern, for a person to accept like any first list."""

from __future__ import annotations

import json
from typing import Any

from common.settings import Settings
from receiver.addresses import OCTETS, domain_of, is_address
from receiver.formatting import escape
from receiver.lists import list_file, publishing
from receiver.lists.held import Held
from receiver.lists.publishing import Decision
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Refused
from receiver.tables_client import Tables
from receiver.upload.judgement import log_entry
from receiver.upload.pipeline import build_and_verify_tables

LIMIT = 512 << 20  # bytes of JSON


def read_adopted(text: bytes, settings: Settings) -> frozenset[str]:
    """Return the addresses that `inv adopt` sends, as a JSON array, each in the form of a list. Raises Refused."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the addresses to adopt are no JSON: {escape(str(error))}") from error
    if not isinstance(given, list) or not given:
        raise Refused("the addresses to adopt are no list")
    wrong = next((one for one in given if not _is_listed(one, settings)), None)
    if wrong is not None:
        raise Refused(f"{escape(str(wrong), 80)!r} is no address in the customer's domains as a list has it")
    return frozenset(given)


def hold_adopted(settings: Settings, spool: Spool, given: frozenset[str], origin: Origin, tables: Tables) -> Outcome:
    """Hold and list these addresses, together with those that uploads have brought meanwhile; no domain closes.

    Raises Refused where all of their domains have an accepted list already.
    """
    with spool.hold_lock():
        publishing.complete_publication(spool)
        in_force, waiting = spool.read_in_force(), spool.read_held()
        first = sorted({*map(domain_of, given)} - in_force.accepted.domains.keys())
        if not first:
            raise Refused("its domains have accepted lists already: there is nothing to adopt")
        recipients = given | in_force.recipients | (waiting.recipients if waiting else frozenset())
        if len(recipients) > settings.max_recipients:
            raise Refused(f"{len(recipients)} addresses are more than max_recipients, {settings.max_recipients}")
        text = list_file.encode_recipients(recipients)
        name = list_file.digest(text)
        reasons = (f"first list of {', '.join(first)} ({len(recipients)}), of whom this relay takes mail for today",)
        open_domains = waiting.open_domains if waiting else ()
        spool.store_held(Held(name, recipients, origin, origin.when, reasons, {}, open_domains=open_domains), text)
        both = in_force.recipients | given
        outcome = Outcome(spool.customer, "held", origin, total=len(both), reasons=reasons, offered=name)
        outcome = outcome._replace(added=len(both) - len(in_force.recipients))
        if outcome.added:  # as those of any held list are, so that a later upload without them shows who would go
            text, logged = list_file.encode_recipients(both), log_entry(outcome, in_force, None)
            decision = Decision(both, text, in_force.accepted, origin, clears=False, entry=logged)
            publishing.publish(spool, settings, in_force, decision, origin.when)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, given - in_force.recipients)


def _is_listed(one: Any, settings: Settings) -> bool:
    if not isinstance(one, str) or one != one.casefold() or len(one.encode(errors="replace")) > OCTETS:
        return False
    return bool(is_address(one.encode(errors="replace"))) and domain_of(one) in settings.domains
