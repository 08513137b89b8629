"""Runs on the machine itself, sent there: kinds `package`, `account`, `derived`. Standard library of 3.9."""

from __future__ import annotations

import grp
import os
import pwd

from remote.main import Failed, Kind, Request, State, last_lines
from remote.programs import find_tool, run_command

DPKG = "/var/lib/dpkg/status"
ROOT_AGAIN = "is root under another name"


def _read_packages(asked: list[Request]) -> list[State | None]:
    names = [one.name for one in asked]
    if os.path.exists(DPKG):
        installed = _known_to_dpkg(names)
    elif query := find_tool("rpm"):
        installed = set(run_command(query, "-q", "--qf", "%{NAME}\n", *names).out.splitlines())
    else:
        raise Failed("neither dpkg nor rpm is here, so nothing is known about its packages")
    return [{"installed": True} if name in installed else None for name in names]


def _known_to_dpkg(names: list[str]) -> set[str]:
    """Return the packages in dpkg's own list (format: deb-status).

    Dpkg-query needs 8 ms to read all of it, this under one.
    """
    with open(DPKG, "rb") as file:
        status = b"\n" + file.read()
    installed = set()
    for name in names:
        place = status.find(f"\nPackage: {name}\n".encode())
        paragraph = status[place : status.find(b"\n\n", place)] if place >= 0 else b""
        if b" ok installed\n" in paragraph:
            installed.add(name)
    return installed


def _make_package(name: str, wanted: State | None) -> None:
    """Install it without what it only recommends: a relay gets what is needed and no more."""
    if wanted is None:
        raise Failed("packages are not removed: others may have come to need it")
    if manager := find_tool("apt-get"):
        settings = ("-o", "Dpkg::Options::=--force-confold", "-o", "DPkg::Lock::Timeout=120")
        argv = [manager, "-q", "-y", *settings, "--no-install-recommends", "install", name]
        if run_command(*argv, seconds=1800).code == 0:
            return
        run_command(manager, "-q", *settings, "update", seconds=600)  # its lists may be old, or there may be none yet
    elif manager := find_tool("dnf", "yum"):
        argv = [manager, "-q", "-y", "--setopt=install_weak_deps=False", "install", name]
    else:
        raise Failed("neither apt-get nor dnf is here: install it by hand")
    ran = run_command(*argv, seconds=1800)
    if ran.code:
        raise Failed(f"{manager} could not install it, exit code {ran.code}:\n{last_lines(ran.out + ran.err)}")


def _read_accounts(asked: list[Request]) -> list[State | None]:
    with open("/etc/shadow", encoding="utf-8", errors="surrogateescape") as shadow:
        entries = [line.rstrip("\n").split(":") for line in shadow if ":" in line]
    passwords = {fields[0]: fields[1] for fields in entries}
    return [_read_account(one.name, passwords.get(one.name)) for one in asked]


def _read_account(name: str, password: str | None) -> State | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    odd = [ROOT_AGAIN] if entry.pw_uid == 0 else []
    if not os.path.isdir(entry.pw_dir):
        odd.append("lacks its home directory")
    state = {"home": entry.pw_dir, "shell": entry.pw_shell, "password": _describe_password(password)}
    return {**state, "odd": odd} if odd else state


def _describe_password(password: str | None) -> str:
    """Return what may be shown of a password field: never a hash."""
    if password is None:
        return "not in /etc/shadow"
    if password in ("*", ""):
        return password or "empty"
    return "locked" if password[0] in "!*" else "set"


def _make_account(name: str, wanted: State | None) -> None:
    now = _read_accounts([Request(name, wanted)])[0]
    if now and ROOT_AGAIN in now.get("odd", ()):
        raise Failed("its user id is 0: rename or remove that account by hand")
    if wanted is None:
        _must("userdel", name)
        return
    os.makedirs(wanted["home"], 0o755, exist_ok=True)
    fields = ("--shell", wanted["shell"], "--password", wanted["password"])
    if now:
        _must("usermod", "--home", wanted["home"], *fields, name)
        return
    has_group = any(group.gr_name == name for group in grp.getgrall())
    group = ("--gid", name) if has_group else ("--user-group",)
    _must("useradd", "--system", "--no-create-home", "--home-dir", wanted["home"], *group, *fields, name)


def _must(name: str, *words: str) -> None:
    program = find_tool(name)
    if program is None:
        raise Failed(f"{name} is not here: install passwd (Debian) or shadow-utils (Red Hat)")
    ran = run_command(program, *words)
    if ran.code:
        raise Failed(f"{name} ended {ran.code}: {last_lines(ran.err)}")


def _read_derived(asked: list[Request]) -> list[State | None]:
    return [_check(one.wanted["argv"]) if one.wanted else None for one in asked]


def _check(argv: list[str]) -> State | None:
    """Return what is not in order; a program that cannot answer is not, and a later change may replace it."""
    if not os.path.exists(argv[0]):
        return None
    try:
        ran = run_command(*argv, "--check")
    except Failed as error:
        return {"argv": argv, "faults": [str(error)]}
    faults = [line for line in ran.out.splitlines() if line.strip()][:200]
    if ran.code and not faults:
        faults = [last_lines(ran.err) or f"--check ended {ran.code}"]
    return {"argv": argv, "faults": faults}


def _make_derived(_name: str, wanted: State | None) -> None:
    if wanted is None:
        return
    ran = run_command(*wanted["argv"], seconds=1800)
    if ran.code:
        raise Failed(f"{wanted['argv'][0]} ended {ran.code}: {last_lines(ran.err or ran.out)}")


KINDS = {
    "package": Kind(_read_packages, _make_package),
    "account": Kind(_read_accounts, _make_account),
    "derived": Kind(_read_derived, _make_derived),
}
