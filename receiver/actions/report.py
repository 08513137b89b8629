"""Counts the last days of every customer of this relay, for the operator's report."""

from __future__ import annotations

from typing import Any

from common.paths import Places
from common.settings import list_customers
from receiver.formatting import escape
from receiver.lists import upload_log
from receiver.lists.spool import Spool
from receiver.monitoring import refusals_file
from receiver.monitoring.daily_figures import DAYS, figures_record, sum_days
from receiver.outcome import Stopped


def report_customers(places: Places, now: int) -> dict[str, Any]:
    """Return, by customer, its figures as plain JSON, or why there are none. Raises OSError."""
    return {"window": DAYS, "customers": {name: _report(places, name, now) for name in list_customers(places)}}


def _report(places: Places, customer: str, now: int) -> dict[str, Any]:
    """Return one customer's figures; a broken spool does not keep the others from being reported."""
    try:
        with Spool(places, customer) as spool:
            refused = refusals_file.load_refused(spool.folder)
            record = figures_record(sum_days(upload_log.read_entries(spool.folder, with_inputs=False), now), refused)
            return {**record, "keys": {name: seen["last"] for name, seen in spool.read_keys().items()}}
    except (Stopped, OSError) as error:
        return {"fault": escape(str(error))}
