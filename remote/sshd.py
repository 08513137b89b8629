"""Runs on the relay: kind `sshd`, a file of sshd_config.d, edited so that sshd goes on accepting logins.

An edit is one step here: note the old content, write, have sshd test it, put the old content back if sshd refuses the
new one, reload. A note that is still there means an unfinished edit, which the next run finishes.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress

from common.paths import PLACES
from remote.files import read_text, replace, tidy
from remote.main import Failed, Kind, Request, State, last_lines
from remote.postfix.gather_facts import SYSTEMD
from remote.programs import find_tool, run_command

CONFIG = "/etc/ssh/sshd_config"
INCLUDE = re.compile(r"^\s*Include\s+(.*\s)?\"?(/etc/ssh/)?sshd_config\.d/\*(\.conf)?\"?(\s|$)", re.IGNORECASE)
NOTE = f"{PLACES.etc}/sshd.pending"
SERVICES = ("ssh", "sshd")  # Debian's name, and everybody else's


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(one.name) for one in asked]


def _state(path: str) -> State | None:
    pending = _read_noted().get("path") == path
    if not os.path.lexists(path):
        return {"content": None, "in force": False} if pending else None
    return {"content": read_text(path), "in force": not pending}


def _make(path: str, wanted: State | None) -> None:
    before = _read_noted()
    if before.get("path") != path:
        _settle_other(before)
        _must_be_sound()
        before = {"path": path, "content": read_text(path) if os.path.lexists(path) else None}
        replace(NOTE, json.dumps(before).encode(), 0o600)
    _write(path, wanted["content"] if wanted else None)
    found = list(_faults(wanted["content"] if wanted else ""))
    if found:
        _write(path, before["content"])
    _reload()
    os.unlink(NOTE)
    if found:
        raise Failed("sshd does not take it; it is as it was before:\n" + "\n".join(found))


def reads_pieces() -> bool:
    """Return whether sshd reads sshd_config.d for all users, not only within a Match block."""
    for line in read_text(CONFIG).splitlines():
        if INCLUDE.match(line):
            return True
        if line.strip().lower().startswith("match "):
            return False
    return False


def _settle_other(before: State) -> None:
    """Finish what a killed run began with another file: what sshd accepts stays, the rest is put back."""
    if before:
        if run_command(_sshd(), "-t").code:
            _write(before["path"], before["content"])
        _reload()
        os.unlink(NOTE)


def _must_be_sound() -> None:
    ran = run_command(_sshd(), "-t")
    if ran.code:
        raise Failed(f"sshd would not start again with its own configuration, which comes first: {last_lines(ran.err)}")


def _faults(content: str) -> Iterator[str]:
    """Yield why sshd does not apply it: it cannot read it, or another setting overrules it."""
    ran = run_command(_sshd(), "-t")
    if ran.code:
        yield last_lines(ran.err)
        return
    user = re.search(r"^Match User (\S+)$", content, re.MULTILINE)
    if not user:
        return
    ran = run_command(_sshd(), "-T", "-C", f"user={user[1]},host=localhost,addr=127.0.0.1,lport={find_local_port(22)}")
    if ran.code:
        yield last_lines(ran.err)
        return
    says = {name.lower(): value for name, _, value in (line.partition(" ") for line in ran.out.splitlines())}
    for name, value in re.findall(r"^ +(\w+) (.+)$", content, re.MULTILINE):
        if says.get(name.lower()) != value:
            yield f"for {user[1]} it says {name} {says.get(name.lower())}, not {value}: another Match block comes first"


def _reload() -> None:
    """Reload the running sshd's configuration; one that does not run reads it when it starts."""
    systemctl = find_tool("systemctl")
    if systemctl and os.path.isdir(SYSTEMD):
        for service in SERVICES:
            if run_command(systemctl, "is-active", "--quiet", service).code == 0:
                ran = run_command(systemctl, "reload", service)
                if ran.code:
                    raise Failed(f"sshd does not reload: {last_lines(ran.err)}")
        return
    with suppress(ValueError, ProcessLookupError):
        os.kill(int(read_text(_pid_file())), signal.SIGHUP)


def find_local_port(wanted: int) -> int:
    """Return the port of sshd at which connections to `wanted` arrive: another one where that port is forwarded.

    With a `Match LocalPort` in its configuration, sshd -T -C needs a port.
    """
    ports = [int(value) for value in _main_options("port") if value.isdigit()]
    return wanted if wanted in ports or not ports else ports[0]


def _pid_file() -> str:
    return next(iter(_main_options("pidfile")), "/run/sshd.pid")


def _main_options(name: str) -> list[str]:
    """Return the values of an option before any Match block."""
    pairs = (line.split(None, 1) for line in run_command(_sshd(), "-T").out.splitlines() if " " in line)
    return [value for option, value in pairs if option.lower() == name]


def _sshd() -> str:
    sshd = find_tool("sshd")
    if sshd is None:
        raise Failed("sshd is not in any system directory")
    return sshd


def _read_noted() -> State:
    written = read_text(NOTE)
    return dict(json.loads(written)) if written else {}


def _write(path: str, content: str | None) -> None:
    if content is not None:
        replace(
            path, content.encode("utf-8", "surrogateescape"), 0o644
        )  # what it drafts is hidden: sshd reads *.conf only
    elif os.path.lexists(path):
        os.unlink(path)


KINDS = {"sshd": Kind(_read, _make, tidy)}
