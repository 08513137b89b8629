"""Runs on the relay: whether all paths that we need can be written and run, and our accounts' names are free."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Mapping

from remote.account_to_come import has_account
from remote.files import read_text

WRITTEN = ("/usr/local/lib", "/usr/local/sbin", "/usr/local/bin", "/etc", "/etc/sudoers.d", "/etc/cron.d", "/var/lib")
RUN = ("/usr/local/sbin", "/usr/local/bin")
CRONTABS = ("/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs")  # Debian's, Red Hat's, SUSE's
ACCOUNT_FILES = ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow")
LOCKED_EVEN_FOR_ROOT = "cannot be changed even by root, and we have to: see lsattr (chattr -i), or how it is mounted"
LOCKED = "!*"  # how the password field of an account without a password begins


def find_faults(config_directory: str, accounts: Mapping[str, str]) -> list[str]:
    """Return what prevents a provision, a sentence each. `accounts`: the wanted ones, with their homes."""
    replaced = [os.path.join(config_directory, "main.cf"), *(() if all(map(has_account, accounts)) else ACCOUNT_FILES)]
    return [*_mounts(config_directory), *_locked(replaced), *_accounts(accounts), *_crontabs(accounts)]


def _mounts(config_directory: str) -> Iterator[str]:
    for folder in dict.fromkeys((*WRITTEN, config_directory)):
        flags = os.statvfs(_nearest(folder)).f_flag
        if flags & os.ST_RDONLY:
            yield f"{folder} is mounted read-only, and we have to write there: remount it (mount -o remount,rw)"
        elif folder in RUN and flags & os.ST_NOEXEC:
            yield f"{folder} is mounted noexec, and our programs run from there: remount it (mount -o remount,exec)"
        elif not os.access(_nearest(folder), os.W_OK):
            yield f"{_nearest(folder)} {LOCKED_EVEN_FOR_ROOT}"


def _locked(paths: Iterable[str]) -> Iterator[str]:
    """Yield files that root cannot replace: immutable ones, and those that are mounted by themselves."""
    mounted = {line.split()[4] for line in read_text("/proc/self/mountinfo").splitlines()}
    for path in map(os.path.realpath, filter(os.path.exists, paths)):
        if not os.access(path, os.W_OK):
            yield f"{path} {LOCKED_EVEN_FOR_ROOT}"
        elif path in mounted:
            yield f"{path} is mounted by itself, as containers do it, so no other can take its place: mount its folder"


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _accounts(accounts: Mapping[str, str]) -> Iterator[str]:
    passwords = dict(line.split(":")[:2] for line in read_text("/etc/shadow").splitlines() if ":" in line)
    for name, home in accounts.items():
        if not has_account(name):
            continue
        entry = pwd.getpwnam(name)
        signs = [f"its home is {entry.pw_dir}"] if entry.pw_dir.rstrip("/") != home else []
        if passwords.get(name, "*")[:1] not in LOCKED:
            signs.append("it has a password")
        if signs:
            yield (
                f"there is an account {name} already that is not ours ({', '.join(signs)}): "
                f"we need that name; rename it (usermod -l OTHER {name}) or remove it"
            )


def _crontabs(names: Iterable[str]) -> Iterator[str]:
    """Yield crontabs of our accounts: ours is in /etc/cron.d, so somebody else made those."""
    for path in (os.path.join(folder, name) for folder in CRONTABS for name in names):
        if os.path.isfile(path):
            yield (
                f"account {os.path.basename(path)} has a crontab ({path}), which is not from us: look at what it runs, "
                f"for somebody may have taken the account over, and remove it (crontab -r -u {os.path.basename(path)})"
            )
