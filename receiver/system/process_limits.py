"""What a process of ours drops of its caller's environment, and what it may use when it reads an export."""

from __future__ import annotations

import os
import resource
import signal
import syslog
from collections.abc import MutableMapping
from contextlib import suppress

from common.settings import MEGABYTE, Settings
from receiver.outcome import Failed
from receiver.system.subprocesses import ENVIRONMENT

CPU = 100  # seconds; well under the time that another customer waits for a place to parse in
_AFTER = 20  # seconds of CPU until the kernel ends a process that went on all the same
_BASE = 256 << 20  # bytes of memory without an export
_MEMORY = 10  # bytes of memory for each byte that an export may have
_FILE_BASE = 64 << 20  # bytes of one file without an export
_FILE = 4  # bytes of one file for each byte that an export may have


def reset_environment(environ: MutableMapping[str, str]) -> None:
    """Reset the environment, umask and working directory that this process was started with."""
    environ.clear()
    environ.update(ENVIRONMENT)
    os.umask(0o077)
    os.chdir("/")
    syslog.openlog("postern", syslog.LOG_PID, syslog.LOG_MAIL)


def give_way() -> None:
    """Mark this process as the first to be killed when memory ends, before a build that others wait for."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def limit_resources(settings: Settings) -> None:
    """Limit memory, CPU and file size by what the customer may send. The build raises its own limits again."""
    export = settings.max_megabytes * MEGABYTE
    signal.signal(signal.SIGXCPU, _out_of_time)
    for what, most in (
        (resource.RLIMIT_AS, _BASE + _MEMORY * export),
        (resource.RLIMIT_CPU, CPU),
        (resource.RLIMIT_FSIZE, _FILE_BASE + _FILE * export),
        (resource.RLIMIT_CORE, 0),
    ):
        _limit(what, most)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _out_of_time(*_: object) -> None:
    _limit(resource.RLIMIT_CPU, CPU + _AFTER)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)  # what follows is short, unless somebody took this for a damaged file
    raise Failed(f"this export took more than {CPU} s of CPU")
