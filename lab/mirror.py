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

DEBIAN = "http://deb.debian.org/debian"
ARCHIVE = "http://archive.debian.org/debian"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def of_this_machine() -> str:
    """The first mirror this machine's own apt uses for Debian itself, else deb.debian.org."""
    codename = _os_release().get("VERSION_CODENAME", "") if _os_release().get("ID") == "debian" else None
    for uri, suite, components in _apt_sources(Path("/etc/apt")):
        if suite == codename and "main" in components and uri.startswith(("http://", "https://")):
            return uri.rstrip("/")
    return DEBIAN


def _apt_sources(etc: Path) -> Iterator[tuple[str, str, list[str]]]:
    """URI, suite and components of each source of packages, in both of apt's formats."""
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for line in "".join(path.read_text() for path in lists if path.exists()).splitlines():
        if fields := re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line):
            yield fields[1], fields[2], fields[3].split()
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", path.read_text())):
            fields_of = {
                key.lower(): value.split() for key, value in re.findall(r"(?m)^([\w-]+):((?:.*(?:\n[ \t].*)*))", stanza)
            }
            if "deb" in fields_of.get("types", []):
                for uri in fields_of.get("uris", []):
                    for suite in fields_of.get("suites", []):
                        yield uri, suite, fields_of.get("components", [])


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: "".join(shlex.split(value)) for key, _, value in (line.partition("=") for line in lines)}


def way_there(root: Path, hosts: str) -> dict[str, tuple[int, str]]:
    """The files (mode, text) by which a host of this root reaches its mirror, and by name nothing else outside."""
    uri = (root / "etc/apt/sources.list").read_text().split()[1]
    settings = _apt_settings()
    proxies = re.findall(r'::Proxy "(http[^"]+)"', settings)
    settings += 'Acquire::EnableSrvRecords "false";\n'
    files = {}
    if any(each.startswith("https:") for each in (uri, *proxies)) and Path(CERTIFICATES).exists():
        settings += 'Acquire::https::CAInfo "/etc/apt/lab-certificates.crt";\n'
        files["/etc/apt/lab-certificates.crt"] = (0o644, Path(CERTIFICATES).read_text())
    names = [urlsplit(each).hostname or "" for each in (proxies or [uri])]
    lines = [f"{address} {name}\n" for name in names for address in _addresses(name)]
    return {**files, "/etc/apt/apt.conf.d/90lab": (0o644, settings), "/etc/hosts": (0o644, hosts + "".join(lines))}


@cache
def _apt_settings() -> str:
    """Proxies as lines of apt.conf: those of the machine's apt, else those of the environment."""
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
