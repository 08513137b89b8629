"""An operator's machine in a temporary folder: a HOME, an inventory, kits; and what stands at a customer's end.

Commands run as `./inv` runs them, each in a process of its own or, for speed, in the test's own. Keys are used by the
real plink and the real ssh.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from invoke import Collection

import tasks
from cli import Postern
from common.release import RELEASE
from lab import keys
from lab.host import LabHost
from lab.waiting import HANGS

REPO = Path(__file__).resolve().parent.parent
OUTSIDE = "127.77.254.1"  # of this machine, and in no relay's mynetworks and no customer's from=
MARK = b"#postern end\r\n"
ACCEPT = re.compile(r"^  inv (accept .*)$", re.MULTILINE)
PLINK = re.compile(r"^plink (-batch .* receive(?: kit=[0-9]+)?) < upload.txt", re.MULTILINE)
DEMO = {
    "name": "Demo Ltd",
    "domains": ["acme.example"],
    "relays": ["mx1"],
    "next_hop": "relay:[203.0.113.25]:25",
    "exchange": {
        "source": "exchange-5.5",
        "server": "NTSERVER",
        "basepoint": "/o=Demo",
        "addresses": ["127.77.0.0/24"],
    },
}


class Ran(NamedTuple):
    """How a command ended, and all it said."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Operator:
    """One person, one checkout of the inventory."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.inventory = folder / "inventory"
        self.kits = folder / "kits"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        (self.inventory / "customers").mkdir(parents=True)
        config = f"Host 127.77.*\n    User root\n    IdentityFile {keys.admin_key()}\n    IdentitiesOnly yes\n"
        (self.home / ".ssh" / "config").write_text(config)
        (self.inventory / "relays.toml").touch()

    # ---- inventory

    def relay(self, name: str, host: LabHost, trusted: bool = True, **table: Any) -> None:
        """Write a relay down, and its host keys as `inv trust` would."""
        self.table(f"relays.toml#{name}", {"address": host.address, **table})
        if trusted:
            with (self.inventory / "known_hosts").open("a") as known:
                known.writelines(f"{host.address} {key}\n" for key in host.host_keys)

    def customer(self, id_: str = "acme", **changes: Any) -> None:
        """Write a customer's file, the demo's with these changes; None leaves a key out."""
        table = {**DEMO, "domains": [f"{id_}.example"], **changes}
        table["exchange"] = {**DEMO["exchange"], **changes.get("exchange", {})}  # type: ignore[dict-item]
        self.table(f"customers/{id_}.toml", table)

    def table(self, place: str, table: Mapping[str, Any]) -> None:
        """Write a file of the inventory, or with FILE#NAME a table of one more."""
        file, _, name = place.partition("#")
        path = self.inventory / file
        path.write_text((path.read_text() if name else "") + _toml(table, name))

    def public_keys(self, customer: str = "acme") -> list[str]:
        """Return the names of the recorded public halves."""
        return sorted(path.stem for path in (self.inventory / "keys" / customer).glob("*.pub"))

    # ---- commands

    def run(self, words: str, *more: str) -> Ran:
        """Run `./inv` with these words; `more` are not cut at blanks."""
        return self.call([sys.executable, str(REPO / "cli.py"), *shlex.split(words), *more])

    def start(self, words: str) -> subprocess.Popen[str]:
        """Start `./inv` with these words and do not wait for its end."""
        argv = [sys.executable, str(REPO / "cli.py"), *shlex.split(words)]
        none, pipe = subprocess.DEVNULL, subprocess.PIPE
        return subprocess.Popen(argv, stdin=none, stdout=pipe, stderr=pipe, text=True, env=self.environment)

    def done(self, words: str, *more: str, code: int = 0) -> Ran:
        """Run a command; raise AssertionError if it ends with another exit code or in a traceback."""
        ran = self.run(words, *more)
        assert ran.code == code, f"inv {words} ended with {ran.code}, not {code}:\n{ran.text}"
        assert "Traceback" not in ran.text, ran.text
        return ran

    def accept(self, customer: str, number: str, code: int = 0) -> Ran:
        """Review what is held, and run the command that the review ends with, which must be of these numbers.

        How many had mail, and that a log may be incomplete, is as the review says.
        """
        (command,) = {*ACCEPT.findall(self.run(f"review {customer}").out)}
        mail = r"(?: --although-mail \d+)?(?: --log-incomplete)?"
        assert re.fullmatch(f"accept {customer} {number}{mail} --list [0-9a-f]{{64}}", command), command
        return self.done(command, code=code)

    @property
    def environment(self) -> dict[str, str]:
        own = {"HOME": str(self.home), "POSTERN_INVENTORY": str(self.inventory)}
        return {**{k: v for k, v in os.environ.items() if k != "SSH_AUTH_SOCK"}, **own}

    # ---- what a customer's server does

    def upload(self, export: bytes, customer: str = "acme", relay: int = 0) -> Ran:
        """Do what runexport.bat does after ADMIN.EXE has ended, by its own line for one of the relays."""
        kit = self.kits / customer
        lines = PLINK.findall((kit / "runexport.bat").read_text("ascii"))
        return self.call(["plink", *lines[relay].split()], stdin=export + MARK, cwd=kit)

    def client(self, program: str, host: LabHost, customer: str = "acme") -> list[str]:
        """Return how a client of OpenSSH's or PuTTY's is called with a customer's key; options come after it."""
        if program in ("plink", "pscp", "psftp"):
            host_keys = [word for key in host.host_keys for word in ("-hostkey", key.split()[1])]
            return [program, "-batch", "-i", str(self._key_file(customer)), *host_keys]
        options = ("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=no", "LogLevel=ERROR")
        known = f"UserKnownHostsFile={self.home / 'known_by_ssh'}"
        words = [word for option in (*options, known) for word in ("-o", option)]
        return [program, "-F", "none", "-i", str(self.openssh_key(customer)), *words]

    def call(self, argv: Sequence[str], stdin: bytes = b"", cwd: Path | None = None) -> Ran:
        """Run a program of this machine to its end."""
        done = subprocess.run(
            argv, input=stdin, capture_output=True, env=self.environment, cwd=cwd or self.home, timeout=HANGS
        )
        return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def openssh_key(self, customer: str = "acme") -> Path:
        """Return the private key of a kit, in the form that ssh reads."""
        path = self.home / f"{customer}.key"
        if not path.exists():
            argv = ["puttygen", str(self._key_file(customer)), "-O", "private-openssh-new", "-o", str(path)]
            subprocess.run(argv, check=True)
        return path

    def _key_file(self, customer: str) -> Path:
        (file,) = (self.kits / customer).glob("exchupdate-*.ppk")
        return file


class AtOnce(Operator):
    """Its commands run in this process, which saves each half a second; `start` is as for any."""

    def run(self, words: str, *more: str) -> Ran:
        """Run `./inv` with these words."""
        code, out, err = 0, io.StringIO(), io.StringIO()
        program = Postern(name="Postern", binary="inv", version=RELEASE, namespace=Collection.from_module(tasks))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("HOME", str(self.home))
            patch.setenv("POSTERN_INVENTORY", str(self.inventory))
            patch.delenv("SSH_AUTH_SOCK", raising=False)
            try:
                program.run(["inv", *shlex.split(words), *more])
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Ran(code, out.getvalue(), err.getvalue())


def _toml(table: Mapping[str, Any], name: str = "") -> str:
    """Write a table: what JSON and TOML write alike, and the tables in it."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"[{name}]"] * bool(name) + [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    inner = [_toml(value, f"{name}.{key}".lstrip(".")) for key, value in table.items() if isinstance(value, Mapping)]
    return "\n".join([*lines, ""]) + "".join(inner)


def export(*locals_: str, domain: str = "acme.example") -> bytes:
    """Return an export as ADMIN.EXE writes it, with a mailbox for each local part (or whole address)."""
    header = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses"
    whole = [one if "@" in one else f"{one}@{domain}" for one in locals_]
    rows = [f"Mailbox\tSMTP:{one}%X400:c=US;a= ;p=Acme;s={one.partition('@')[0]};\t" for one in whole]
    return "".join(f"{row}\r\n" for row in (header, *rows)).encode("ascii")


def people(count: int) -> tuple[str, ...]:
    """Return local parts, always the same."""
    return tuple(f"user{number:04d}" for number in range(count))


def answers(host: LabHost, *recipients: str) -> dict[str, str]:
    """Return what a relay answers about each, asked from outside: the first three digits."""
    return {one: host.ask(one, from_address=OUTSIDE)[:3] for one in recipients}
