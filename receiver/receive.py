"""Take an export from stdin or from an SFTP inbox through the pipeline, and record what stopped that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from receiver import drop, intake
from receiver.formats import BadExport
from receiver.offer import offer, refused
from receiver.report import Busy, Origin, Outcome, Stopped, stopped
from receiver.settings import BadSettings, Settings
from receiver.spool import Spool
from receiver.tables import Tables


def receive(settings: Settings, spool: Spool, origin: Origin, tables: Tables, *, look: bool, marked: bool) -> Outcome:
    """Take an export from stdin and offer it; `marked`: only with its end mark."""
    try:
        export = intake.ended(intake.take(0, spool.places.run, settings.max_megabytes), marked)
    except BadExport as error:
        return refused(spool, origin, error, look)
    return offer(settings, export, spool, origin, tables, look)


def collect(settings: Settings, spool: Spool, origin: Origin, tables: Tables, *, look: bool) -> Outcome:
    """Take an export, only with its end mark, from the customer's drop and offer it."""
    try:
        export = drop.take(spool.places, settings.customer, settings.max_megabytes)
    except BadExport as error:
        return refused(spool, origin, error, look)
    return offer(settings, export, spool, origin, tables, look)


def run_recorded(spool: Spool, origin: Origin, run: Callable[[], Outcome]) -> Outcome:
    """Run; return what stopped it, if something did, and record a failure as the last run."""
    try:
        return run()
    except (Stopped, BadSettings, OSError, MemoryError) as error:
        ended = stopped(spool.customer, origin, error)
    if ended.did == "failed":
        with suppress(Busy, OSError), spool.locked():
            spool.record(ended)
    return ended
