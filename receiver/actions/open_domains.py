"""Opens a customer's domains: no list counts as accepted any more, and each waits for a first list again."""

from __future__ import annotations

from receiver.formatting import count
from receiver.lists import publishing
from receiver.lists.publishing import Decision
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome
from receiver.tables_client import Tables
from receiver.upload.judgement import log_entry
from receiver.upload.pipeline import build_and_verify_tables


def open_domains(spool: Spool, origin: Origin, tables: Tables) -> Outcome:
    """Forget that any list was accepted; recipients stay listed. A second call changes nothing."""
    with publishing.transaction(spool) as settings:
        in_force = spool.read_in_force()
        total = len(in_force.recipients)
        why = f"{', '.join(settings.domains)}, until a list is accepted again; {count(total, 'recipient')}"
        outcome = Outcome(spool.customer, "opened", origin, total=total, why=why)
        accepted = in_force.accepted._replace(domains={}, list="")
        if spool.read_accepted().domains or spool.commit:  # the store may count what the timer forgot here already
            logged = log_entry(outcome, in_force, None)
            decision = Decision(in_force.recipients, in_force.text, accepted, origin, clears=False, entry=logged)
            publishing.publish(spool, settings, in_force, decision, origin.when)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, ())
