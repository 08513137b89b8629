"""Ends a freeze: uploads take effect again, first the list that waits."""

from __future__ import annotations

from receiver.addresses import keep_domains
from receiver.lists import publishing
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Refused
from receiver.tables_client import Tables
from receiver.upload.pipeline import apply_list, build_and_verify_tables
from receiver.upload.recipient_filter import FilteredExport


def resume_uploads(spool: Spool, origin: Origin, tables: Tables) -> Outcome:
    """End the freeze, and judge the list that waits at once."""
    with publishing.transaction(spool) as settings:
        if spool.read_freeze() is None:
            raise Refused("not frozen: uploads take effect")
        waiting = spool.read_held()
        if waiting:
            opened = frozenset(waiting.open_domains)
            filtered = FilteredExport(
                keep_domains(waiting.recipients, settings.domains), waiting.left_out, opened, named=waiting.named
            )
            outcome, added = apply_list(settings, filtered, spool, waiting.origin, None)
            outcome = outcome._replace(origin=waiting.origin._replace(by=origin.by))
        else:
            total, added = len(spool.read_in_force().recipients), frozenset()
            outcome = Outcome(spool.customer, "resumed", origin, total=total, why="no list waits")
        spool.delete_freeze()  # last, so that after a killed run a second resume does the same again
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, added)
