"""Takes an export from stdin or from an SFTP inbox through the pipeline, and records what stopped that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from common.settings import BadSettings, Settings
from receiver.lists.spool import Spool
from receiver.outcome import Busy, Origin, Outcome, Stopped, outcome_of_error
from receiver.tables_client import Tables
from receiver.upload import sftp_inbox, stream
from receiver.upload.formats import BadExport
from receiver.upload.pipeline import WAIT, process_export, record_refusal


def receive_stdin(
    settings: Settings, spool: Spool, origin: Origin, tables: Tables, *, look: bool, marked: bool, wait: float = WAIT
) -> Outcome:
    """Read an export from stdin and process it; `marked`: only with its end mark; `wait`: see process_export."""
    try:
        export = stream.strip_end_mark(stream.read_upload(0, spool.places.run, settings.max_megabytes), marked)
    except BadExport as error:
        return record_refusal(spool, origin, error, look)
    return process_export(settings, export, spool, origin, tables, look, wait=wait)


def receive_inbox(
    settings: Settings, spool: Spool, origin: Origin, tables: Tables, *, look: bool, wait: float = WAIT
) -> Outcome:
    """Read an export, only with its end mark, from the customer's SFTP inbox and process it; `wait`: as above."""
    try:
        export = sftp_inbox.read_inbox(spool.places, settings.customer, settings.max_megabytes)
    except BadExport as error:
        return record_refusal(spool, origin, error, look)
    return process_export(settings, export, spool, origin, tables, look, wait=wait)


def run_recorded(spool: Spool, origin: Origin, run: Callable[[], Outcome]) -> Outcome:
    """Run it and return its outcome, or that of the error which stopped it; record a failure as the last run."""
    try:
        return run()
    except (Stopped, BadSettings, OSError, MemoryError) as error:
        ended = outcome_of_error(spool.customer, origin, error)
    if ended.did == "failed":
        with suppress(Busy, OSError), spool.hold_lock():
            spool.store_last_run(ended)
    return ended
