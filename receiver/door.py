"""What both front doors put around a run: limits, an environment of their own, and an answer whatever happens."""

from __future__ import annotations

import errno
import os
import resource
import signal
import syslog
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from receiver import drop, intake
from receiver.formats import BadExport
from receiver.offer import offer, refused
from receiver.report import DONE, Busy, Failed, Origin, Outcome, Stopped
from receiver.settings import BadSettings, Settings
from receiver.spool import Spool
from receiver.tables import Tables

CPU = 100  # seconds; well under the time that another customer waits for a place to parse in
_BASE = 256 << 20  # bytes of memory without an export
_MEMORY = 10  # bytes of memory, and
_FILE = 4  # bytes of one file, for each byte that an export may have
_ANSWER = 60  # seconds for the other side to take a piece of the answer
_PIECE = 1 << 16  # bytes


def prepare(environ: MutableMapping[str, str]) -> None:
    """Leave behind what this process was started with: environment, umask, working directory."""
    environ.clear()
    environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C")
    os.umask(0o077)
    os.chdir("/")
    syslog.openlog("postern", syslog.LOG_PID, syslog.LOG_MAIL)


def give_way() -> None:
    """Let this process be the first that ends where memory ends, before a build that others wait for."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def confine(settings: Settings) -> None:
    """Bound memory, CPU and file size by what the customer may send. The build raises its own limits again."""
    export = settings.max_megabytes * intake.MEGABYTE
    signal.signal(signal.SIGXCPU, _out_of_time)
    for what, most in (
        (resource.RLIMIT_AS, _BASE + _MEMORY * export),
        (resource.RLIMIT_CPU, CPU),
        (resource.RLIMIT_FSIZE, intake.SPARE * intake.MEGABYTE + _FILE * export),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


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


def outcome(spool: Spool, origin: Origin, run: Callable[[], Outcome]) -> Outcome:
    """Run, and tell what stopped it, if something did; what failed is recorded as the last run."""
    try:
        return run()
    except (Stopped, BadSettings, OSError, MemoryError) as error:
        ended = stopped(spool.customer, origin, error)
    if ended.did == "failed":
        with suppress(Busy, OSError), spool.locked():
            spool.record(ended)
    return ended


def stopped(customer: str, origin: Origin, error: BaseException) -> Outcome:
    """Tell what stopped a run."""
    why = str(error)
    if isinstance(error, MemoryError):
        why = "this export needs more memory than max_megabytes allows for"
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = f"no room on the disk: {error.strerror}"
    return Outcome(customer, error.did if isinstance(error, Stopped) else "failed", *origin, why=why)


def log(outcome: Outcome) -> None:
    """Write what a run came to where the mail log goes."""
    priority = syslog.LOG_NOTICE if outcome.code == DONE else syslog.LOG_WARNING
    syslog.syslog(priority, outcome.line)


def say(text: str) -> None:
    """Tell the other side, if it is still there. What was done stays done without it."""
    answer = text.encode("utf-8", "backslashreplace")
    with suppress(OSError):
        for start in range(0, len(answer), _PIECE):
            rest = answer[start : start + _PIECE]
            while rest:
                signal.alarm(_ANSWER)  # ends a process whose other side takes nothing and does not go either
                rest = rest[os.write(1, rest) :]
    signal.alarm(0)


def _out_of_time(*_: object) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # once; what follows is short
    raise Failed(f"this export took more than {CPU} s of CPU")
