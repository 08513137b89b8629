"""Resets what root's programs inherit: an attacker who has the account may have started them."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress

from receiver.system.subprocesses import ENVIRONMENT

_LIMITS = ("AS", "CPU", "DATA", "FSIZE", "NPROC", "STACK")
_FILES = 4096  # open at once; a build needs some ten


def reset_environment() -> None:
    """Remove the caller's environment and limits: they could change what postmap does, or end a build halfway."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    os.umask(0o022)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # while it is ignored, every child seems to end 0
    for stop in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(stop, signal.SIG_IGN)  # a terminal could stop this process while it holds the lock
    _own_limits()
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("500")  # where memory ends, a customer's call ends first (1000), then this, and Postfix last


def _own_limits() -> None:
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    limits = {getattr(resource, f"RLIMIT_{name}"): everything for name in _LIMITS}
    for limit, values in {**limits, resource.RLIMIT_NOFILE: (_FILES, _FILES)}.items():
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, values)
