"""Names of database hosts to addresses, by a child in bounded time: libpq's own look-up counts against no timeout."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from common.paths import Places
from receiver.outcome import Failed
from receiver.system import atomic_files, subprocesses

SECONDS = 3.0  # that one name may take
ADDRESSES = 3  # of one name that are tried
_KNOWN = "store-hosts.json"


class Endpoint(NamedTuple):
    """Where a database may be."""

    host: str
    address: str
    port: str


def resolve_hosts(hosts: str, ports: str, places: Places) -> tuple[Endpoint, ...]:
    """Return where to connect, in order. A name that is not answered has the addresses it had last. Raises Failed."""
    names = hosts.split(",")
    every = ports.split(",") if "," in ports else [ports or "5432"] * len(names)
    known = _read_known(places)
    found = {name: _look_up(name) or known.get(name, []) for name in names}
    if found != {name: known.get(name) for name in names}:
        _keep(places, {name: each for name, each in found.items() if each})
    ends = [Endpoint(name, each, port) for name, port in zip(names, every) for each in found[name][:ADDRESSES]]
    if not ends:
        raise Failed(f"no address is known of {hosts}")
    return tuple(ends)


def _read_known(places: Places) -> Mapping[str, list[str]]:
    with suppress(FileNotFoundError), atomic_files.hold_directory(places.run) as run:  # no tree yet: nothing was built
        hosts = (atomic_files.load_json(run, _KNOWN) or {}).get("hosts")
        found = hosts.items() if isinstance(hosts, dict) else ()
        return {name: [*map(str, each)] for name, each in found if isinstance(each, list)}
    return {}


def _keep(places: Places, found: Mapping[str, list[str]]) -> None:
    with suppress(FileNotFoundError), atomic_files.hold_directory(places.run) as run:
        atomic_files.store_json(run, _KNOWN, {"hosts": found})


def _look_up(name: str) -> list[str]:
    with suppress(ValueError):
        return [str(ipaddress.ip_address(name))]
    try:
        done = subprocesses.run_command(("/usr/bin/getent", "ahosts", name), seconds=SECONDS)
    except Failed:
        return []
    return list(dict.fromkeys(line.split()[0] for line in done.out.splitlines() if line.split()))
