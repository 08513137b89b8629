"""The mail logs for a person's call: root opens them, and the account reads what is new in them."""

from __future__ import annotations

import fcntl
import time
from contextlib import suppress

from common.paths import Places
from common.settings import load_all_settings, load_relay
from receiver.monitoring import log_files, log_state, refusal_watch
from receiver.monitoring.log_files import OpenedLogs
from receiver.monitoring.log_findings import Watch
from receiver.outcome import Busy
from receiver.system import atomic_files, locks


def open_logs(places: Places) -> OpenedLogs:
    """Open the logs of this relay, as root. Raises BadSettings, OSError."""
    with atomic_files.hold_directory(places.run) as run:
        cursor = log_state.load(run).cursor
    return log_files.open_logs(load_relay(places).config_directory, time.time(), cursor, last_resort=log_files.ELSE)


def read_on(places: Places, logs: OpenedLogs | None, now: int) -> Watch:
    """Read what is new in opened logs; return the findings so far where the timer is reading, or no log is opened."""
    customers = load_all_settings(places)
    with atomic_files.hold_directory(places.run) as run:
        if logs is not None:
            with suppress(Busy), locks.hold_lock(run, fcntl.LOCK_EX, 0, "the timer reads them"):
                return refusal_watch.update(places, run, customers, logs, now)
        return refusal_watch.load(places, run, customers)
