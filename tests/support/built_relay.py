"""A relay's trees and spools, in a temporary folder or on a lab host, for the tests of what root builds from them."""

from __future__ import annotations

import compileall
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from common.paths import LIBRARY, REBUILD, Places
from common.settings import RelaySettings, Settings
from lab.host import LabHost
from lab.waiting import HANGS
from receiver.system.account import Owner
from templates import render

REPO = Path(__file__).resolve().parent.parent.parent
DAY = 86400
ROUTE = "relay:[203.0.113.25]:25"


def key_line(customer: str, name: str = "k1") -> str:
    command = f'command="/usr/local/sbin/postern-receive {customer} {name}"'
    return f'restrict,from="198.51.100.7",{command} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== {customer} {name}'


class BuiltRelay:
    """Where they are, and whose the spools are."""

    def __init__(self, folder: Path, owner: Owner, kind: str = "hash") -> None:
        self.etc, self.var, self.owner = folder / "etc/postern", folder / "var/lib/postern", owner
        (self.etc / "customers").mkdir(parents=True)
        self.tables = self.etc / "tables"
        self.places = Places(str(self.etc), str(self.var))
        self.kind(kind)

    def kind(self, kind: str) -> None:
        metrics = str(self.var / "metrics") if self.var.is_relative_to("/tmp") else "/var/lib/postern/metrics"
        (self.etc / "relay.json").write_text(RelaySettings("/etc/postfix", kind, metrics=metrics).text())

    def tree(
        self,
        customer: str,
        *domains: str,
        routes: Mapping[str, str] | None = None,
        keys: Sequence[str] | None = None,
        **settings: Any,
    ) -> Path:
        """Provision a customer; the domain is its own name where none is given."""
        domains = domains or (f"{customer}.example",)
        written = Settings(customer, "exchange-5.5", domains, **settings)
        forms = [form for domain in domains for form in (domain, written.unicode.get(domain)) if form]
        routes = dict.fromkeys(forms, ROUTE) if routes is None else routes
        files = {
            "settings.json": written.text(),
            "exclude-users.txt": "",
            "relay_domains": "".join(f"{form} OK\n" for form in forms),
            "transport": "".join(f"{form} {route}\n" for form, route in routes.items()),
            "authorized_keys": "".join(f"{line}\n" for line in ([key_line(customer)] if keys is None else keys)),
        }
        where = self.etc / "customers" / customer
        where.mkdir(exist_ok=True)
        for name, text in files.items():
            (where / name).write_text(text)
        return where

    def leaves(self, customer: str) -> None:
        shutil.rmtree(self.etc / "customers" / customer)

    def folder(self, customer: str) -> Path:
        return self.var / "customers" / customer

    def upload(self, customer: str, *addresses: str, age_days: float = 0, closes: Sequence[str] | None = None) -> None:
        """Leave in the spool what a list leaves there that was accepted in these domains, by default all it is in."""
        named = sorted({address.rpartition("@")[2] for address in addresses})
        when = int(time.time() - age_days * DAY)
        accepted = {"postern": 1, "domains": dict.fromkeys(named if closes is None else closes, when), "list": ""}
        self.put(customer, "recipients", "".join(f"{address}\n" for address in sorted(addresses)).encode())
        self.put(customer, "accepted.json", json.dumps(accepted).encode())

    def put(self, customer: str, name: str, content: bytes) -> None:
        """Write into a spool as the account does: beside, then renamed."""
        folder = self.folder(customer)
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            os.chown(folder, *self.owner)
        (folder / f".{name}").write_bytes(content)
        os.chown(folder / f".{name}", *self.owner)
        (folder / f".{name}").rename(folder / name)

    def text(self, table: str = "exchange_recipients") -> list[str]:
        return (self.tables / table).read_text().splitlines()

    def retired(self) -> list[str]:
        return sorted(path.name for path in (self.var / "retired").iterdir())


@cache
def compiled_rooms() -> list[Path]:
    """Return what a relay's library has, with its bytecode: else each host would make its own, at its first build."""
    rooms = [REPO / "receiver", REPO / "common"]
    for room in rooms:
        compileall.compile_dir(room, quiet=1)
    return rooms


class HostRelay(BuiltRelay):
    """A lab host with the receiver, its launcher and its sudoers line as provision leaves them; no Postfix running."""

    def __init__(self, host: LabHost, kind: str = "hash") -> None:
        self.host = host
        (host.root / "etc/passwd").open("a").write("postern:x:950:950::/var/lib/postern:/bin/sh\n")
        (host.root / "etc/group").open("a").write("postern:x:950:\n")
        (host.root / "etc/shadow").open("a").write("postern:*:20000::::::\n")
        super().__init__(host.root, Owner(950, 950), kind)
        for room in compiled_rooms():
            shutil.copytree(room, host.root / LIBRARY[1:] / room.name)
        facts = {"python": "/usr/bin/python3", "library": LIBRARY, "module": "receiver.tables.build"}
        self._file(REBUILD, render("relay/launcher.j2", **facts), 0o755)
        self._file("/etc/sudoers.d/postern", render("relay/sudoers.j2", rebuild=REBUILD), 0o440)
        self.var.mkdir(mode=0o755)

    def _file(self, path: str, text: str, mode: int) -> None:
        (self.host.root / path[1:]).write_text(text)
        (self.host.root / path[1:]).chmod(mode)

    def build(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(REBUILD, *arguments, check=check, timeout=HANGS)

    def as_postern(
        self, script: str, *, check: bool = False, timeout: float = HANGS
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script as somebody would who has taken over the account."""
        return self.host.run("sh", "-c", script, user="postern", check=check, timeout=HANGS)

    def finds(self, key: str, table: str = "exchange_recipients", kind: str | None = None) -> str:
        """Ask the built table as Postfix does; an empty answer: it is not there."""
        kind = kind or re.findall(r'"table_type": "(\w+)"', (self.etc / "relay.json").read_text())[0]
        done = self.host.run("postmap", "-q", key, f"{kind}:/etc/postern/tables/{table}", check=False)
        assert "fatal" not in done.stderr, done.stderr
        return done.stdout.strip()

    def closed(self, *addresses: str, domain: str = "acme.example") -> bool:
        """Return whether these are listed, and an address nobody has is not."""
        listed = all(self.finds(address) == "OK" for address in addresses)
        return listed and not self.finds(f"@{domain}") and not self.finds(f"nobody@{domain}")
