"""LabHost: a Debian machine of its own address, sshd, syslog and Postfix, started in a fraction of a second."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lab import keys, roots, seed, smtp
from lab.address import Address
from lab.roots import LabError, Say
from lab.waiting import wait_until

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
PENALTIES_SINCE = ("trixie", "forky")
"""The releases whose sshd knows PerSourcePenalties, and by default shuts out an address that failed a few times."""
SINK = "/var/spool/lab-sink"


class LabHost:
    """A running Debian host; `with LabHost("bookworm") as h:` starts and stops it.

    It shares this machine's network and nothing else: processes, mounts and name are its own, and what is written there
    is gone when it stops. Nothing but apt finds its way off the machine. Postfix is set up and not started.
    """

    def __init__(
        self,
        release: str,
        *,
        bare: bool = False,
        extra: Sequence[str] = (),
        sshd: Sequence[str] = (),
        on_disk: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        """Describe a host; nothing starts yet.

        `bare`: nothing that provisioning installs. `extra`: packages besides, as roots.DIRECTORY.
        `sshd`: lines that win over all others of its configuration.
        `on_disk`: what is written goes to this machine's disk and not to its memory, where fsync costs nothing.
        """
        if release not in roots.RELEASES:
            raise LabError(f"no root is made of {release!r}; the lab has {', '.join(roots.RELEASES)}")
        self.release = release
        self.port = 22
        self._bare = bare
        self._extra = tuple(extra)
        self._sshd = tuple(sshd)
        self._on_disk = on_disk
        self._say = say

    def start(self) -> None:
        """Start it, its root being made first if need be. Raises LabError."""
        if reason := roots.missing():
            raise LabError(reason)
        base = roots.root(self.release, bare=self._bare, extra=self._extra, say=self._say)
        self.admin_key = keys.admin_key()
        self._address = Address()
        try:
            self._boot(base)
        except BaseException:
            self._address.give_back()
            raise

    def stop(self) -> None:
        """Stop it; nothing of it stays."""
        assert self._init.stdin is not None
        self._init.stdin.close()
        try:
            self._init.wait(60)
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.wait()
        shutil.rmtree(self._writes, ignore_errors=True)
        self._address.give_back()
        for stream in (self._init.stdout, self._init.stderr):
            assert stream is not None
            stream.close()

    def __enter__(self) -> LabHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Return its IPv4 address, 127.77.0.N, which no other lab host of this machine has."""
        return self._address.text

    @property
    def name(self) -> str:
        """Return its host name, fully qualified."""
        return f"{self.release}{self._address.number}.lab.example"

    @property
    def _writes(self) -> Path:
        return roots.cache() / "writes" / str(self._address.number)

    @property
    def root(self) -> Path:
        """Its root directory, seen from here; an absolute link in it leads to files of this machine: use run() then."""
        return Path(f"/proc/{self.pid}/root")

    def run(
        self, *argv: str, stdin: bytes = b"", check: bool = True, user: str | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there, as root or as `user`; what it says is text, bytes that are not UTF-8 as surrogates."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--pid", "--root", "--wd", "--"]
        become = ["runuser", "-u", user, "--"] if user else []
        done = subprocess.run(
            [*enter, *become, *argv], input=stdin, capture_output=True, timeout=timeout, env=ENVIRONMENT
        )
        out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
        if check and done.returncode:
            failed = subprocess.CalledProcessError(done.returncode, argv, out, err)
            failed.add_note(f"{out}{err}")
            raise failed
        return subprocess.CompletedProcess(argv, done.returncode, out, err)

    def start_postfix(self) -> None:
        """Start Postfix; it answers when this returns.

        `postfix start` first checks for 0.25 s what was checked when the root was made.
        """
        self.run("/usr/lib/postfix/sbin/master", "-w")

    def reload_postfix(self) -> None:
        """Have Postfix read its settings again; it answers by them when this returns.

        `postfix reload` ends before master has told its idle processes, one of which may answer once more.
        """
        before = self._answering_processes()
        self.run("postfix", "reload")
        wait_until(lambda: not before & self._answering_processes())

    def _answering_processes(self) -> set[str]:
        return set(self.run("pgrep", "-x", "smtpd|trivial-rewrite", check=False).stdout.split())

    def start_sink(self) -> str:
        """Start a next hop that takes all mail, on port 2525; returns it as transport_maps wants it."""
        self.run("install", "-d", "-o", "postfix", SINK)
        sink = f'exec smtp-sink -u postfix -d "{SINK}/%s." {self.address}:2525 100'
        self.run("sh", "-c", f"{sink} </dev/null >/dev/null 2>&1 &")
        return f"relay:[{self.address}]:2525"

    def read_sink(self) -> list[str]:
        """Return the messages that the sink has taken, as they came."""
        return [path.read_text() for path in sorted((self.root / SINK[1:]).iterdir())]

    def ask(self, recipient: str, *, sender: str = "", from_address: str | None = None) -> str:
        """Return its answer to RCPT TO: "250 2.1.5 Ok". It is asked from its own address, or from `from_address`."""
        return smtp.ask(self.address, recipient, sender=sender, from_address=from_address or self.address)

    def log(self, until: str = "", timeout: float = 300) -> str:
        """Return mail.log, once it holds the text `until`, as what is logged takes a moment."""
        end = time.monotonic() + timeout
        while True:
            path = self.root / "var/log/mail.log"
            text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
            if until in text:
                return text
            if time.monotonic() > end:
                raise LabError(f"{until!r} was not logged within {timeout} s; mail.log ends:\n{text[-2000:]}")
            time.sleep(0.01)

    def tmpfs(self, path: str, size: str) -> None:
        """Mount an empty file system of this size ("64k", "10m") on a directory there, of that owner and mode."""
        was = (self.root / path.lstrip("/")).stat()
        options = f"size={size},mode={was.st_mode & 0o7777:o},uid={was.st_uid},gid={was.st_gid}"
        self._call_init({"at": path, "options": options})

    def show(self, folder: Path, at: str) -> None:
        """Show a folder of this machine there too, e.g. at "/D:": what either writes the other reads."""
        (self.root / at.lstrip("/")).mkdir()
        # Its first process has its mounts and our root, which need not be this machine's: we may be in a chroot.
        enter = ["nsenter", f"--target={self._init.pid}", "--mount", "--root", "--wd", "--"]
        there = f"{roots.cache()}/at/host/{at.lstrip('/')}"
        subprocess.run([*enter, "mount", "--bind", str(folder), there], check=True)

    def _boot(self, base: Path) -> None:
        own_keys = keys.host_keys(self._address.number)
        self.host_keys = tuple(" ".join(path.read_text().split()[:2]) for path in sorted(own_keys.glob("*.pub")))
        at = roots.cache() / "at"
        at.mkdir(exist_ok=True)
        argv = ["unshare", "--pid", "--mount", "--uts", "--propagation=unchanged", "--fork", "--kill-child"]
        self._init = subprocess.Popen(
            [*argv, sys.executable, "-I", "-S", str(Path(__file__).with_name("init.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us, who then stop the host
            pass_fds=[self._address.lock.fileno()],  # the address is taken as long as the host lives, whoever is killed
        )
        try:
            files = {**seed.files(base, self.address, self.name), **self._sshd_files(own_keys)}
            spec = {"root": str(base), "at": str(at), "writes": self._disk(), "name": self.name, "files": files}
            self.pid: int = self._call_init(spec)
        except BaseException:
            self._init.kill()
            self._init.wait()
            raise

    def _disk(self) -> str:
        shutil.rmtree(self._writes, ignore_errors=True)  # of a host of this address whose starter was killed
        if self._on_disk:
            self._writes.mkdir(parents=True)
        return str(self._writes) if self._on_disk else ""

    def _call_init(self, what: dict[str, Any]) -> Any:
        assert self._init.stdin is not None
        assert self._init.stdout is not None
        assert self._init.stderr is not None
        try:
            self._init.stdin.write(json.dumps(what).encode() + b"\n")
            self._init.stdin.flush()
            answer = self._init.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise LabError(f"the lab host {self.name} ended:\n{self._init.stderr.read().decode(errors='replace')}")
        return json.loads(answer)

    def _sshd_files(self, own_keys: Path) -> dict[str, tuple[int, str]]:
        penalties = ["PerSourcePenalties no"] if self.release in PENALTIES_SINCE else []
        lines = [*self._sshd, f"ListenAddress {self.address}", "UsePAM no", *penalties]
        pairs = {
            f"/etc/ssh/{path.name}": (0o644 if path.suffix else 0o600, path.read_text()) for path in own_keys.iterdir()
        }
        return {
            **pairs,
            "/etc/ssh/sshd_config.d/lab.conf": (0o644, "".join(f"{line}\n" for line in lines)),
            "/root/.ssh/authorized_keys": (0o600, self.admin_key.with_suffix(".pub").read_text()),
        }
