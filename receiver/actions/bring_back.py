"""Mends a wrong removal: lists again whom an entry of the log removed, until a person accepts that they go."""

from __future__ import annotations

from receiver.addresses import keep_domains
from receiver.formatting import escape, first_names
from receiver.lists import list_file, publishing, removed_addresses
from receiver.lists.publishing import Decision
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Refused
from receiver.tables_client import Tables
from receiver.upload.guard import count_by_domain
from receiver.upload.judgement import log_entry
from receiver.upload.pipeline import build_and_verify_tables


def bring_back(spool: Spool, entry: str, origin: Origin, tables: Tables, look: bool = False) -> Outcome:
    """List again whom an entry of the log removed. Nothing is frozen, and a second call changes nothing.

    An upload that lacks them is held until a person accepts that they go. `look`: nothing is written. Raises Refused
    where that entry removed nobody who is known and not listed again.
    """
    with publishing.transaction(spool) as settings:
        in_force = spool.read_in_force()
        removals = removed_addresses.read_removals(spool.folder, origin.when)
        back = keep_domains(removed_addresses.find_removed_by(removals, entry), settings.domains)
        if not back:
            raise Refused(_describe_nobody(entry))
        recipients = in_force.recipients | back
        coming = first_names(back - in_force.recipients)
        outcome = Outcome(spool.customer, "unchanged", origin, total=len(recipients))
        if look:
            return outcome._replace(did="looked", added=len(back - in_force.recipients), coming=coming)
        if not back <= removed_addresses.find_brought_back(removals) & in_force.recipients:
            outcome = outcome._replace(did="published", added=len(back - in_force.recipients))
            text = list_file.encode_recipients(recipients)
            accepted = in_force.accepted._replace(counts=count_by_domain(recipients, settings))
            offered = outcome._replace(offered=list_file.digest(text))
            logged = log_entry(offered, in_force, None)._replace(did="brought back")
            decision = Decision(recipients, text, accepted, origin, clears=False, entry=logged, brings_back=back)
            publishing.publish(spool, settings, in_force, decision, origin.when)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, back - in_force.recipients)


def _describe_nobody(entry: str) -> str:
    known = f"`history` names the entries that removed somebody in the last {removed_addresses.DAYS} days"
    return f"nobody is to be brought back: everybody whom entry {escape(entry)} removed is listed again; {known}"
