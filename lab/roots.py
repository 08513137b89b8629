"""Debian roots: made once per release with mmdebstrap, kept in a cache, never written to afterwards."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from lab import mirror

Say: TypeAlias = Callable[[str], None]
"""Takes one line of progress."""

PACKAGES = (
    "debian-archive-keyring",
    "iproute2",
    "mmdebstrap",
    "mount",
    "openssh-client",
    "putty-tools",
    "util-linux",
)
"""What the operator's machine needs of Debian for lab hosts."""


class LabError(Exception):
    """The lab cannot do what was asked of it; the text says why and what would help."""


class ReleaseGoneError(LabError):
    """The package mirrors no longer have a Debian release; what needs a host of it cannot run."""


RELEASES = ("bullseye", "bookworm", "trixie", "forky")

BARE = ("openssh-server", "iproute2", "procps", "rsyslog")
FULL = (*BARE, "cron", "make", "passwd", "perl", "postfix", "python3", "sudo", "tzdata", "postfix-lmdb", "postfix-cdb")

DIRECTORY = ("busybox", "cron", "ldap-utils", "openssl", "python3", "slapd")
"""What a host has besides that is an OpenLDAP server, and the customer's host that asks one."""

DOMAIN_CONTROLLER = (
    *("busybox", "ldap-utils", "openssl", "samba-ad-dc", "samba-ad-provision", "samba-dsdb-modules", "ldb-tools"),
    *("krb5-user", "libsasl2-modules-gssapi-mit"),
)
"""What a host has besides that is a domain controller of Samba's Active Directory, from trixie on."""

# What mmdebstrap mounts is gone with it then, even when it was killed. In a chroot "/" cannot be made private.
APART = (
    "unshare",
    "--mount",
    "--propagation=unchanged",
    "sh",
    "-c",
    'mount --make-rprivate / 2> /dev/null; exec "$@"',
    "sh",
)

_GONE = re.compile(r"does not have a Release file|404 +Not Found")
"""What apt says of a release that is not on a mirror."""

FINISH = """\
set -e
# The kernel's log is the machine's, not this host's.
sed -i '/imklog/d' "$1/etc/rsyslog.conf"
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/resolv.conf"
if [ -e "$1/etc/postfix/main.cf" ]; then
    chroot "$1" postconf -X myhostname mynetworks inet_interfaces inet_protocols
    chroot "$1" newaliases
    chroot "$1" postfix check # makes the directories of its queue
    # Up to Debian 12 it is not "postfix start" that fills smtpd's chroot, but the init script.
    if grep -q configure-instance "$1/etc/init.d/postfix"; then chroot "$1" /usr/lib/postfix/configure-instance.sh; fi
fi
"""


def cache() -> Path:
    """Return where roots are kept: POSTERN_LAB_CACHE, else /var/cache/postern-lab."""
    return Path(os.environ.get("POSTERN_LAB_CACHE", "/var/cache/postern-lab"))


def missing() -> str | None:
    """Return the sentence that says why this machine can have no lab, or None."""
    if sys.platform != "linux":
        return "lab hosts are Linux namespaces: they need Linux"
    if os.geteuid() != 0:
        return "lab hosts need root (mount, chroot, addresses on lo): run this as root"
    absent = [
        tool for tool in ("mmdebstrap", "ip", "mount", "unshare", "nsenter", "ssh-keygen") if shutil.which(tool) is None
    ]
    if absent:
        return f"lab hosts need {', '.join(absent)}: apt-get install {' '.join(PACKAGES)}"
    if not _may_mount():
        return "lab hosts need the right to mount (CAP_SYS_ADMIN), which this container does not give"
    return None


@functools.cache
def _may_mount() -> bool:
    probe = [*APART, "sh", "-c", "mount -t tmpfs lab /mnt && umount /mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def install_needed(packages: Sequence[str] = PACKAGES, say: Say = lambda _: None) -> None:
    """Install those of the packages this machine lacks. Raises LabError."""
    if shutil.which("apt-get") is None:
        raise LabError(f"this machine has no apt-get; the lab needs what Debian calls {', '.join(packages)}")
    found = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n", *packages], capture_output=True, text=True
    )
    absent = sorted(set(packages) - {line[3:].strip() for line in found.stdout.splitlines() if line.startswith("ii")})
    if not absent:
        return
    say(f"installing {' '.join(absent)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # That another of the machine's sources is down does not matter: the install decides.
    subprocess.run(["apt-get", "-q", "update"], env=env, capture_output=True)
    install = ["apt-get", "-qy", "--no-install-recommends", "install", *absent]
    done = subprocess.run(install, env=env, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{' '.join(install)} failed:\n{_last_lines(done.stderr)}")


def root(release: str, *, bare: bool = False, extra: Sequence[str] = (), say: Say = lambda _: None) -> Path:
    """Return the directory of a release's root; it is made first if it does not exist, which takes half a minute.

    A bare root has sshd and what the lab needs, but nothing that provisioning would install. `extra` are packages
    besides. Raises LabError.
    """
    name = f"{release}{'-bare' if bare else ''}{'-extra' if extra else ''}"
    argv = _recipe(release, (*(BARE if bare else FULL), *extra))
    where = cache() / f"{name}-{hashlib.sha256(repr(argv).encode()).hexdigest()[:12]}"
    if where.is_dir():
        return where
    cache().mkdir(parents=True, exist_ok=True)
    with _hold_lock(cache() / f".{name}.lock", say) as lock:
        if not where.is_dir():
            say(f"making the Debian root {where.name} in {cache()}")
            draft = cache() / f".{name}.draft"
            _make(argv, release, draft, lock, say)
            draft.rename(where)
    return where


def _recipe(release: str, packages: Sequence[str]) -> list[str]:
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        f"--include={','.join(packages)}",
        # Of testing, the Release file may be past its date on a mirror that stands still.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--customize-hook={FINISH}",
        release,
    ]


def _make(argv: list[str], release: str, draft: Path, lock: int, say: Say) -> None:
    """Make a root from this machine's mirror, else from the one mmdebstrap takes by itself."""
    own = mirror.of_this_machine()
    candidates = {own: [f"deb {own} {release} main"]} if own else {}
    told = []
    for name, sources in {**candidates, "mmdebstrap's own mirror": []}.items():
        subprocess.run(["rm", "-rf", "--one-file-system", draft], check=True)  # what a killed run left
        code, said = _say_as_it_runs([*APART, *argv, str(draft), *sources], lock, say)
        if code == 0:
            return
        say(f"no root of {release} from {name}")
        told.append(said)
    if all(_GONE.search(said) for said in told):
        raise ReleaseGoneError(f"Debian {release} is no longer on the package mirrors: no host of it can be made")
    raise LabError(f"mmdebstrap could not make a root of {release}:\n{_last_lines(told[-1])}")


def _say_as_it_runs(argv: Sequence[str], lock: int, say: Say) -> tuple[int, str]:
    """Run it and show its progress; return its exit code and output. It holds the lock, also after we were killed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[lock]
    ) as made:
        assert made.stdout is not None
        said = []
        for line in made.stdout:
            said.append(line)
            if line.startswith("I: "):
                say(line[3:].strip())
    return made.returncode, "".join(said)


@contextmanager
def _hold_lock(path: Path, say: Say) -> Iterator[int]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that makes this root")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _last_lines(text: str, count: int = 15) -> str:
    return "\n".join(text.splitlines()[-count:])
