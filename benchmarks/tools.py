"""What brings a relay and one customer to the same state: Postern, pyinfra, Ansible; and the floor under them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from benchmarks import peers
from benchmarks.measuring import Argv, Run, run
from common.paths import LIBRARY, REBUILD
from lab import keys
from lab.host import LabHost
from lab.operators import Operator
from roles.relay import LAUNCHERS

HERE = Path(__file__).parent
REPO = HERE.parent
CUSTOMER = "acme"
TREE = f"/etc/postern/customers/{CUSTOMER}"
TABLES = ("exchange_recipients", "relay_domains", "transport", "others")
FILES = (
    *LAUNCHERS,
    "/etc/postern/relay.json",
    "/etc/sudoers.d/postern",
    "/etc/cron.d/postern",
    "/var/lib/postern/.ssh/authorized_keys",
    *(f"/etc/postern/tables/{name}" for name in ("Makefile", *TABLES)),
)
_KEY = re.compile(r"AAAA\S+")
MAIN_CF = ("relay_domains", "transport_maps", "relay_recipient_maps")

Tool: TypeAlias = Callable[[], Run]
"""Runs it once, on the relays it was made for."""


class Door(NamedTuple):
    """The address, port and host keys by which a relay is reached."""

    address: str
    port: int
    host_keys: tuple[str, ...]

    @classmethod
    def of(cls, host: LabHost) -> Door:
        """The relay's own."""
        return cls(host.address, host.port, host.host_keys)

    @property
    def known(self) -> str:
        """Its lines of known_hosts."""
        name = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return "".join(f"{name} {key}\n" for key in self.host_keys)


def inv(operator: Operator, words: str, codes: Sequence[int] = (0,)) -> Run:
    """Run one of Postern's commands for an operator."""
    return run([sys.executable, REPO / "cli.py", *words.split()], environment=operator.environment, codes=codes)


def floor(folder: Path, doors: Sequence[Door]) -> Tool:
    """Return a tool by which Fabric opens the connections and runs `true`."""
    operator = Operator(folder)
    argv: Argv = [sys.executable, HERE / "floor.py", *(door.address for door in doors)]
    return lambda: run(argv, environment=operator.environment)


def postern(folder: Path, doors: Sequence[Door]) -> Tool:
    """Return Postern, called as its operator calls it."""
    operator = Operator(folder)
    names = [f"mx{number}" for number, _ in enumerate(doors, 1)]
    for name, door in zip(names, doors, strict=True):
        operator.table(f"relays.toml#{name}", {"address": door.address, "port": door.port})
    (operator.inventory / "known_hosts").write_text("".join(door.known for door in doors))
    operator.customer(CUSTOMER, relays=names)
    return lambda: inv(operator, f"provision {CUSTOMER}")


def pyinfra(folder: Path, doors: Sequence[Door], facts: Mapping[str, Any]) -> Tool:
    """Return pyinfra, on all relays at once, as is its default."""
    known, told = _written(folder, doors, facts)
    data = {"facts": told, "ssh_known_hosts_file": known, "ssh_strict_host_key_checking": "yes"}
    options = [word for name, value in data.items() for word in ("--data", f"{name}={value}")]
    login = ["--user", "root", "--key", str(keys.admin_key()), "--port", str(doors[0].port)]
    addresses = ",".join(door.address for door in doors)
    argv: Argv = [peers.program("pyinfra"), "-y", *options, *login, addresses, HERE / "pyinfra/deploy.py"]
    return lambda: run(argv, cwd=folder, environment={**os.environ, "HOME": str(folder)})


def ansible(folder: Path, doors: Sequence[Door], facts: Mapping[str, Any]) -> Tool:
    """Return Ansible, with pipelining and a fork for each relay."""
    # What main.cf says looks like a template to Ansible, so the playbook has it, marked as none.
    known, told = _written(folder, doors, {name: fact for name, fact in facts.items() if name != "main_cf"})
    (folder / "hosts.ini").write_text("".join(f"{door.address} ansible_port={door.port}\n" for door in doors))
    forks = ["--forks", str(len(doors)), "--user", "root", "--private-key", str(keys.admin_key())]
    argv: Argv = [
        peers.program("ansible-playbook"),
        "-i",
        "hosts.ini",
        *forks,
        "-e",
        f"@{told}",
        HERE / "ansible/site.yml",
    ]
    own = {
        "HOME": str(folder),
        "ANSIBLE_CONFIG": str(HERE / "ansible/ansible.cfg"),
        "ANSIBLE_SSH_COMMON_ARGS": f"-F none -o UserKnownHostsFile={known}",
    }

    def once() -> Run:
        ran = run(argv, cwd=folder, environment={**os.environ, **own})
        for master in (folder / ".ansible/cp").iterdir():  # a connection it leaves open for a minute
            subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={master}", "any"], check=True, capture_output=True)
        return ran

    return once


def facts_of(host: LabHost) -> dict[str, Any]:
    """Return the facts of a relay that Postern has provisioned, from which the other tools make the same state."""
    receiver = {path.removeprefix(f"{LIBRARY}/"): _text(host, path) for path in _list_files(host, LIBRARY)}
    settings = json.loads(_text(host, f"{TREE}/settings.json"))
    return {
        "python": "/usr/bin/python3",
        "library": LIBRARY,
        "rebuild": REBUILD,
        "launchers": LAUNCHERS,
        "templates": str(REPO / "templates/relay"),
        "receiver": receiver,
        "relay": json.loads(_text(host, "/etc/postern/relay.json")),
        "settings": settings,
        "customer": {"id": CUSTOMER, "exclude": settings.get("exclude", [])},
        "names": settings["domains"],
        "routes": dict(line.split(" ", 1) for line in _text(host, f"{TREE}/transport").splitlines()),
        "key_line": _text(host, f"{TREE}/authorized_keys").strip(),
        "main_cf": dict(line.split(" = ", 1) for line in host.run("postconf", *MAIN_CF).stdout.splitlines()),
    }


def state_of(host: LabHost) -> list[str]:
    """Return the state of a relay: mode and content of every file, its account, its main.cf, but not its keys."""
    files = sorted([*_list_files(host, LIBRARY), *_list_files(host, TREE), *FILES])
    modes, texts = (host.run(*argv, *files).stdout for argv in (("stat", "-Lc", "%n %a %U"), ("tail", "-vn", "+1")))
    account = host.run("getent", "passwd", "postern").stdout.split(":")[-2:]
    said = [*modes.splitlines(), *_KEY.sub("KEY", texts).split("==> "), *account]
    return [*said, *host.run("postconf", *MAIN_CF).stdout.splitlines()]


def _list_files(host: LabHost, folder: str) -> list[str]:
    own = ("-name", "__pycache__", "-prune", "-o")  # what the receiver made there by itself
    return sorted(host.run("find", "-L", folder, *own, "-type", "f", "-print").stdout.split())


def _text(host: LabHost, path: str) -> str:
    return host.run("cat", path).stdout


def _written(folder: Path, doors: Sequence[Door], facts: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write what a peer goes by: known_hosts, the facts, and the receiver in an archive, the same each time."""
    folder.mkdir()
    known, told, archive = folder / "known_hosts", folder / "facts.json", folder / "receiver.tar"
    known.write_text("".join(door.known for door in doors))
    with tarfile.open(archive, "w") as tar:
        for name, content in facts["receiver"].items():
            (folder / "file").write_text(content)
            info = tar.gettarinfo(folder / "file", name)
            info.mode, info.mtime, info.uid, info.gid = 0o644, 0, 0, 0
            with (folder / "file").open("rb") as file:
                tar.addfile(info, file)
    told.write_text(json.dumps({**facts, "receiver": None, "archive": str(archive)}))
    return known, told
