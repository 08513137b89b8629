"""Runs on the relay: kind `now`, what a plan depends on, and kind `service`, a Postfix that was installed just now."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from deploy.agent import Asked, Failed, Kind, State, run, tail, tool
from roles.postfix.there.domains import foreign
from roles.postfix.there.members import BUILT_IN, PARAMETERS, REJECT, SOFT
from roles.postfix.there.postfix import Postfix

ETC = "/etc/postern"
DROPS = "/var/lib/postern/drop"
UPLOADER = "postern-"
PIECES = ("/etc/ssh/sshd_config.d", "/etc/security/limits.d")
RECORD = f"{ETC}/main.cf.before"
RELEASE = "/usr/local/lib/postern/release"
SYSTEMD = "/run/systemd/system"


def _read_now(asked: list[Asked]) -> list[State | None]:
    return [_now(Postfix(one.name), one.wanted or {}) for one in asked]


def _now(postfix: Postfix, relay: State) -> State:
    """Give the fields of roles.postfix.Now; those of Postfix are left out where there is none."""
    state: dict[str, Any] = {
        "python": sys.executable,
        "manager": os.path.basename(tool("apt-get", "dnf", "yum") or ""),
        "customers": customers(),
        "others": others(relay["domains"]),
        "drops": drops(),
        "release": text(RELEASE).strip(),
        "clock": int(time.time()),
        "record": record(),
    }
    if not postfix.is_there():
        return state
    found = postfix.raw(*PARAMETERS, "default_database_type")
    settings, table_type = postfix.settings(found), found["default_database_type"]
    if "$" in table_type:
        table_type = postfix.value("default_database_type")
    softened = relay["reject"] == "soft" and settings[REJECT].value != SOFT
    return {
        **state,
        "has_postfix": True,
        "table_type": table_type,
        "types": [] if (relay["table_type"] or table_type) in BUILT_IN else postfix.types(),
        "settings": settings,
        "foreign": foreign(postfix) if softened else [],
    }


def customers() -> list[str]:
    """List whose trees are here. What begins with a dot is a tree that is being changed."""
    try:
        return sorted(name for name in os.listdir(f"{ETC}/customers") if not name.startswith("."))
    except FileNotFoundError:
        return []


def others(domains: Mapping[str, str]) -> dict[str, str]:
    """Find those of these domains that a tree has whose they are not to be, and whose that is."""
    found = {}
    for customer in customers() if domains else ():
        lines = text(f"{ETC}/customers/{customer}/relay_domains").splitlines()
        names = {line.partition(" ")[0] for line in lines}
        found.update({name: customer for name in names if domains.get(name, customer) != customer})
    return found


def drops() -> list[str]:
    """List who has an upload account, or a part of one that a killed run left."""
    accounts = [line.partition(":")[0] for line in text("/etc/passwd").splitlines() if f":{DROPS}/" in line]
    pieces = [name for folder in PIECES if os.path.isdir(folder) for name in os.listdir(folder)]
    names = [*accounts, *(name[: -len(".conf")] for name in pieces if name.endswith(".conf"))]
    return sorted({name[len(UPLOADER) :] for name in names if name.startswith(UPLOADER)})


def record() -> dict[str, Any]:
    """Read how parameters were before our first edit: name, whether it was set, value."""
    written = text(RECORD)
    return dict(json.loads(written)) if written else {}


def text(path: str) -> str:
    """Read a file; nothing if it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def nothing_to_make(name: str, _wanted: State | None) -> None:
    """Refuse: this is a kind that only tells."""
    raise Failed(f"{name} is read and never made")


def _read_service(asked: list[Asked]) -> list[State | None]:
    return [_service(one.name) for one in asked]


def _service(name: str) -> State | None:
    if tool(name) is None:
        return None
    return {"running": run(tool(name) or name, "status").code == 0, "starts with the machine": _is_enabled(name)}


def _is_enabled(name: str) -> bool:
    systemctl = tool("systemctl")
    if not systemctl or not os.path.isdir(SYSTEMD):
        return True  # without systemd a package's own script has seen to it
    return run(systemctl, "is-enabled", "--quiet", name).code == 0


def _make_service(name: str, _wanted: State | None) -> None:
    """Start it as the machine does. Its own `start` would leave out what a distribution does before."""
    systemctl, service = tool("systemctl"), tool("service")
    if systemctl and os.path.isdir(SYSTEMD):
        ran = run(systemctl, "enable", "--now", name)
    else:
        ran = run(service, name, "start") if service else run(tool(name) or name, "start")
    if ran.code:
        raise Failed(f"{name} does not start: {tail(ran.out + ran.err)}")


KINDS = {"now": Kind(_read_now, nothing_to_make), "service": Kind(_read_service, _make_service)}
