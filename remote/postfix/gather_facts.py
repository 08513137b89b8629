"""Runs on the relay: kind `facts`, what a plan depends on, and kind `service`, a Postfix that was installed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from common.main_cf_params import PARAMETERS, REJECT, SOFT
from common.names import ACCOUNT_PREFIX
from common.paths import LIBRARY, PLACES
from common.spool_files import FOLLOW, HEADS_IN_FORCE, TIMER
from common.table_types import BUILT_IN
from remote.account_files import open_directory, read_json
from remote.files import read_text
from remote.main import Failed, Kind, Request, State, last_lines, refuse_making
from remote.postfix.customer_trees import list_customers, read_tree_settings
from remote.postfix.instance import Postfix
from remote.postfix.relay_domains import find_foreign_domains
from remote.programs import find_tool, run_command

PIECES = ("/etc/ssh/sshd_config.d", "/etc/security/limits.d")
RECORD = f"{PLACES.etc}/main.cf.before"
_ALARMS = 50  # of a relay that are read
SYSTEMD = "/run/systemd/system"  # it exists where systemd runs the machine: sd_booted(3)


def _read_facts(asked: list[Request]) -> list[State | None]:
    return [_facts(Postfix(one.name), one.wanted or {}) for one in asked]


def _facts(postfix: Postfix, relay: State) -> State:
    """Return the fields of roles.relay.Facts; those of Postfix are left out where there is none."""
    wanted = relay["domains"]
    trees = {name: read_tree_settings(name) for name in list_customers()}
    owners = find_owners(wanted, trees)
    state: dict[str, Any] = {
        "python": sys.executable,
        "manager": os.path.basename(find_tool("apt-get", "dnf", "yum") or ""),
        "systemd": os.path.isdir(SYSTEMD) and find_tool("systemctl") is not None,
        "customers": list(trees),
        "others": {name: one for name, ids in owners.items() for one in ids if one != wanted[name]},
        "unserved": [name for name, ids in owners.items() if not ids],
        "closed_by": closers_of(trees),
        "unlisted": {name: str(settings.get("unlisted") or "") for name, settings in trees.items()},
        "revisions": read_revisions(),
        "drops": find_upload_accounts(),
        "release": read_text(f"{LIBRARY}/release").strip(),
        "has_store": os.path.exists(f"{PLACES.store}/store.json"),
        "followed": read_followed(),
        "timer": read_timer(),
        "clock": int(time.time()),
        "record": read_record(),
    }
    if not postfix.is_there():
        return state
    found = postfix.raw(*PARAMETERS, "default_database_type")
    settings, table_type = postfix.settings(found), found["default_database_type"]
    if "$" in table_type:
        table_type = postfix.value("default_database_type")
    is_changing = REJECT in state["record"] or (relay["reject"] == "soft" and settings[REJECT].value != SOFT)
    return {
        **state,
        "has_postfix": True,
        "table_type": table_type,
        "types": [] if (relay["table_type"] or table_type) in BUILT_IN else postfix.types(),
        "settings": settings,
        "delimiter": postfix.value("recipient_delimiter"),
        "foreign": find_foreign_domains(postfix) if is_changing else [],
    }


def find_owners(domains: Iterable[str], customers: Iterable[str]) -> dict[str, list[str]]:
    """Return for each of these domains those of the customers whose trees have it."""
    found: dict[str, list[str]] = {name: [] for name in domains}
    for customer in customers if found else ():
        lines = read_text(f"{PLACES.tree(customer)}/relay_domains").splitlines()
        for name in {line.partition(" ")[0] for line in lines} & found.keys():
            found[name].append(customer)
    return found


def closers_of(trees: Mapping[str, State]) -> dict[str, dict[str, str]]:
    """Return by customer what else closes its domains while their lists are adopted; `trees`: their settings."""
    found = {name: settings.get("closed_by") for name, settings in trees.items()}
    return {name: closers for name, closers in found.items() if isinstance(closers, dict) and closers}


def read_revisions() -> dict[str, Any]:
    """Return by customer the settings of its tree, and those by which the store's list in force here was judged."""
    names = list_customers() if os.path.exists(PLACES.store) else []
    found = {
        name: (_json(f"{PLACES.tree(name)}/store.json"), _account_json(PLACES.spool(name), HEADS_IN_FORCE))
        for name in names
    }
    return {
        name: {"tree": [tree.get("number"), tree.get("hash")], "store": made.get("settings")}
        for name, (tree, made) in found.items()
        if tree or made
    }


def read_followed() -> dict[str, Any]:
    """Return when the relay reached the store last, when it tried, and why that failed; empty where it never tried."""
    found = _account_json(PLACES.run, FOLLOW)
    why, reached, tried = found.get("why"), found.get("reached"), found.get("tried")
    if not (isinstance(why, str) and isinstance(reached, int) and isinstance(tried, int)):
        return {}
    return {"why": why[:300], "reached": reached, "tried": tried}


def read_timer() -> dict[str, Any]:
    """Return when the timer ran last, and what it found that no spool says; nothing: it never has."""
    found = _account_json(PLACES.run, TIMER)
    ran, alarms = found.get("ran"), found.get("alarms")
    if not (isinstance(ran, int) and isinstance(alarms, list)):
        return {}
    pairs = (each for each in alarms[:_ALARMS] if isinstance(each, list) and len(each) == 2)
    return {"ran": ran, "alarms": [[str(kind)[:40], str(text)[:1_000]] for kind, text in pairs]}


def _account_json(folder: str, name: str) -> dict[str, Any]:
    """Return an object that account `postern` wrote; a file that is gone, damaged or no plain file says nothing."""
    try:
        directory = open_directory(folder, None)
    except OSError:
        return {}
    try:
        found = read_json(directory, name)
    finally:
        os.close(directory)
    return found if isinstance(found, dict) else {}


def _json(path: str) -> dict[str, Any]:
    """Return an object; a file that is gone or damaged says nothing."""
    try:
        return dict(json.loads(read_text(path) or "{}"))
    except (ValueError, TypeError):
        return {}


def find_upload_accounts() -> list[str]:
    """Return the customers with an upload account, or with a part of one that a killed run left."""
    accounts = [line.partition(":")[0] for line in read_text("/etc/passwd").splitlines() if f":{PLACES.drops}/" in line]
    pieces = [name for folder in PIECES if os.path.isdir(folder) for name in os.listdir(folder)]
    names = [*accounts, *(name[: -len(".conf")] for name in pieces if name.endswith(".conf"))]
    return sorted({name[len(ACCOUNT_PREFIX) :] for name in names if name.startswith(ACCOUNT_PREFIX)})


def read_record() -> dict[str, Any]:
    """Return the parameters as they were before our first edit: by name, whether it was set, and its value."""
    written = read_text(RECORD)
    return dict(json.loads(written)) if written else {}


def _read_service(asked: list[Request]) -> list[State | None]:
    return [_service(one.name) for one in asked]


def _service(name: str) -> State | None:
    if find_tool(name) is None:
        return None
    return {
        "running": run_command(find_tool(name) or name, "status").code == 0,
        "starts with the machine": _is_enabled(name),
    }


def _is_enabled(name: str) -> bool:
    systemctl = find_tool("systemctl")
    if not systemctl or not os.path.isdir(SYSTEMD):
        return True  # without systemd a package's own script has seen to it
    return run_command(systemctl, "is-enabled", "--quiet", name).code == 0


def _make_service(name: str, _wanted: State | None) -> None:
    """Start it as the machine does; its own `start` would omit what the distribution does before."""
    systemctl, service = find_tool("systemctl"), find_tool("service")
    if systemctl and os.path.isdir(SYSTEMD):
        ran = run_command(systemctl, "enable", "--now", name)
    else:
        ran = run_command(service, name, "start") if service else run_command(find_tool(name) or name, "start")
    if ran.code:
        raise Failed(f"{name} does not start: {last_lines(ran.out + ran.err)}")


KINDS = {"facts": Kind(_read_facts, refuse_making), "service": Kind(_read_service, _make_service)}
