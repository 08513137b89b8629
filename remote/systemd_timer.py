"""Runs on the relay: kind `timer`, a service that systemd starts by a timer; the texts of both, and whether it runs.

The state is {"service": text, "timer": text, "enabled": bool, "running": bool}. A unit whose file is newer than what
systemd has read does not count as running.
"""

from __future__ import annotations

import os

from remote.files import read_text, replace
from remote.main import Failed, Kind, Request, State, last_lines
from remote.programs import find_tool, run_command

UNITS = "/etc/systemd/system"
_ENDS = ("service", "timer")


def _read(asked: list[Request]) -> list[State | None]:
    return [_read_timer(one.name) for one in asked]


def _read_timer(name: str) -> State | None:
    texts = {end: read_text(_path(name, end)) for end in _ENDS if os.path.exists(_path(name, end))}
    if not texts:
        return None
    shown = _systemctl("show", f"{name}.timer", "-p", "ActiveState,UnitFileState,NeedDaemonReload")
    state = dict(line.partition("=")[::2] for line in shown.splitlines())
    is_running = state.get("ActiveState") == "active" and state.get("NeedDaemonReload") == "no"
    return {**texts, "enabled": state.get("UnitFileState") == "enabled", "running": is_running}


def _make(name: str, wanted: State | None) -> None:
    if wanted is None:
        _systemctl("disable", "--now", f"{name}.timer")
        for end in _ENDS:
            os.unlink(_path(name, end))
        _systemctl("daemon-reload")
        return
    for end in _ENDS:
        replace(_path(name, end), wanted[end].encode(), 0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", f"{name}.timer")
    _systemctl("restart", f"{name}.timer")


def _systemctl(*words: str) -> str:
    ran = run_command(find_tool("systemctl") or "systemctl", *words)
    if ran.code:
        raise Failed(f"systemctl {' '.join(words)} ended {ran.code}: {last_lines(ran.out + ran.err)}")
    return ran.out


def _path(name: str, end: str) -> str:
    return os.path.join(UNITS, f"{name}.{end}")


KINDS = {"timer": Kind(_read, _make)}
