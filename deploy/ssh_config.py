"""What OpenSSH makes of ~/.ssh/config for a machine: `ssh -G` says it, with Include, Match and all it knows.

paramiko's own reading knows no Include and takes a Match it does not know for one that holds. It does not know all
tokens either (%n, %k, ...), no ${NAME}, and runs a ProxyCommand without a shell.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from paramiko import SSHConfig

from deploy.plan import HostError

SYSTEM = "/etc/ssh/ssh_config"
SECONDS = 30  # a Match exec may ask a directory or the network
# What ssh has done already (canonical names), what Fabric would do otherwise than ssh (jumps), what is never done.
NOT_HANDED_ON = ("canonicalizehostname", "canonicaldomains", "proxyjump", "forwardagent")
AS_WRITTEN = ("identityfile", "certificatefile", "proxycommand")  # `ssh -G` expands no tokens in these
NONE = "none"
_INCLUDE = re.compile(r"^(\s*include\s*[\s=]\s*)(.+)$", re.IGNORECASE)


class SshSays(NamedTuple):
    """What ssh says of one machine: options as Fabric reads them; hops of ProxyJump, the nearest to us first."""

    options: SSHConfig
    jumps: tuple[str, ...]


def ask_ssh(address: str, user: str | None, port: int | None, default_user: str | None) -> SshSays:
    """Return how ssh would connect to a machine. `user`, `port`: the inventory's, which win. Raises HostError.

    `default_user`: who logs in where neither the inventory nor a file names anybody; None: as ssh, the operator's name.
    """
    ssh = shutil.which("ssh")
    if ssh is None:
        raise HostError(
            "there is no program `ssh` here, which says what ~/.ssh/config means: install OpenSSH's client "
            "(Debian: apt-get install openssh-client)"
        )
    words = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    text = "\n".join(_lines(default_user))
    try:
        argv = [ssh, "-G", "-F", "/dev/stdin", *words, "--", address]
        ran = subprocess.run(argv, input=text, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HostError(f"~/.ssh/config is not read within {SECONDS} s: does a Match exec in it hang?") from error
    if ran.returncode:
        said = "; ".join(ran.stderr.replace("/dev/stdin", "~/.ssh/config").splitlines()[:5])
        raise HostError(f"~/.ssh/config cannot be understood: {said[:500]}")
    return _parse(ran.stdout, address)


def _parse(text: str, address: str) -> SshSays:
    """Read what `ssh -G` prints: a line for each value, names in lower case. Certificates are handed on as keys are."""
    pairs = [(name, value) for name, _, value in (line.partition(" ") for line in text.splitlines())]
    said = dict(pairs)
    jumps, tokens = said.get("proxyjump", NONE), _tokens(said, address)
    # An agent that is none is another thing than none named, which is that of the environment.
    handed = [
        ("identityfile" if name == "certificatefile" else name, _expand(name, value, tokens))
        for name, value in pairs
        if name not in NOT_HANDED_ON and (value != NONE or name == "identityagent")
    ]
    options = SSHConfig.from_text("\n".join(["Host *", *(f"{name} {value}" for name, value in handed)]))
    return SshSays(options, () if jumps == NONE else tuple(jumps.split(",")))


def _tokens(said: Mapping[str, str], address: str) -> dict[str, str]:
    """Return what the tokens of ssh_config(5) stand for; %C is left to paramiko."""
    host = socket.gethostname()
    alias = said.get("hostkeyalias", NONE)
    jumps = said.get("proxyjump", NONE)
    return {
        "%": "%",
        "n": address,
        "h": said["hostname"],
        "p": said["port"],
        "r": said["user"],
        "k": address if alias == NONE else alias,
        "j": "" if jumps == NONE else jumps,
        "l": host,
        "L": host.partition(".")[0],
        "d": str(Path.home()),
        "u": pwd.getpwuid(os.getuid()).pw_name,
        "i": str(os.getuid()),
    }


def _expand(name: str, value: str, tokens: Mapping[str, str]) -> str:
    """Return a value as ssh uses it. A command it hands to the operator's shell, which knows ${NAME} itself."""
    if name not in AS_WRITTEN:
        return value
    expanded = re.sub("%(.)", lambda found: tokens.get(found[1], found[0]), value)
    if name == "proxycommand":
        return shlex.join((os.environ.get("SHELL") or "/bin/sh", "-c", f"exec {expanded}"))
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), expanded)


def _lines(default_user: str | None) -> Iterator[str]:
    """Yield a configuration: the operator's file, the system's, and who is root where nobody is named."""
    if Path.home() == Path(pwd.getpwuid(os.getuid()).pw_dir):
        yield "Include ~/.ssh/config"
    else:
        yield from _of_another_home(Path.home() / ".ssh")
    yield f"Match all\nInclude {SYSTEM}"
    if default_user:
        yield f"Match all\nUser {default_user}"


def _of_another_home(folder: Path) -> Iterator[str]:
    """Yield the lines of a file in $HOME where that is not the account's: ssh itself would look in the account's."""
    file = folder / "config"
    for line in file.read_text("utf-8", "replace").splitlines() if file.is_file() else ():
        include = _INCLUDE.match(line)
        yield include[1] + " ".join(_absolute(word, folder) for word in include[2].split()) if include else line
    yield f'Match all\nUserKnownHostsFile "{folder}/known_hosts" "{folder}/known_hosts2"'


def _absolute(word: str, folder: Path) -> str:
    bare = word.strip('"')
    path = f"{folder.parent}{bare[1:]}" if bare.startswith("~/") else str(folder / bare)
    return f'"{path}"' if '"' in word else path
