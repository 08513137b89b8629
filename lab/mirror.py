"""The mirror that roots are made from and that hosts install from: this machine's own."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def of_this_machine(etc: Path = Path("/etc")) -> str | None:
    """Return the first mirror this machine's own apt uses for Debian itself; None: it uses none."""
    system = _os_release(etc / "os-release")
    for uri, suite, components in _apt_sources(etc / "apt"):
        ours = system.get("ID") == "debian" and suite == system.get("VERSION_CODENAME") and "main" in components
        if ours and uri.startswith(("http://", "https://")):
            return uri.rstrip("/")
    return None


def _os_release(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}


def _apt_sources(apt: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Return URI, suite and components of each source of packages, in both of apt's formats."""
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        for line in path.read_text().splitlines() if path.exists() else ():
            if found := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line):
                yield found[1], found[2], found[3].split()
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", path.read_text())):
            yield from _stanza(stanza)


def _stanza(stanza: str) -> Iterator[tuple[str, str, list[str]]]:
    fields = {key.lower(): value.split() for key, value in re.findall(r"(?m)^([\w-]+):(.*(?:\n[ \t].*)*)", stanza)}
    if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
        for uri in fields.get("uris", []):
            for suite in fields.get("suites", []):
                yield uri, suite, fields.get("components", [])


def way_there(root: Path) -> dict[str, str]:
    """Return what the files of a host must hold besides to reach this root's mirrors, all it knows of outside."""
    uris = re.findall(r"(?m)^deb\s+(?:\[[^]]*\]\s+)?(\S+)", (root / "etc/apt/sources.list").read_text())
    settings = _apt_settings()
    proxies = re.findall(r'::Proxy(?:::\S+)? "(http[^"]+)"', settings)
    names = [urlsplit(each).hostname or "" for each in (proxies or dict.fromkeys(uris))]
    files = {"/etc/hosts": "".join(f"{address} {name}\n" for name in names for address in _addresses(name))}
    if any(each.startswith("https:") for each in (*uris, *proxies)) and Path(CERTIFICATES).exists():
        settings += 'Acquire::https::CAInfo "/etc/apt/lab-certificates.crt";\n'
        files["/etc/apt/lab-certificates.crt"] = Path(CERTIFICATES).read_text()
    return {**files, "/etc/apt/apt.conf.d/90lab": settings + 'Acquire::EnableSrvRecords "false";\n'}


@cache
def _apt_settings() -> str:
    """Return proxies as lines of apt.conf: those of the machine's apt, otherwise those of the environment."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r'(?m)^Acquire::https?::Proxy(?:::\S+)? "[^"]+";$', dump)
    if not lines:
        said = {scheme: os.environ.get(f"{scheme}_proxy") for scheme in ("http", "https")}
        lines = [f'Acquire::{scheme}::Proxy "{proxy}";' for scheme, proxy in said.items() if proxy]
    return "".join(f"{line}\n" for line in lines)


@cache
def _addresses(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:  # no network: the host then has none either
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
