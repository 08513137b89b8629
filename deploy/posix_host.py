"""PosixHost: a customer's Linux host, reached over SSH: a folder of files, a key in it, the schedule of its export."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

from deploy.items import Item, State
from deploy.key_formats import Secret
from deploy.plan import Change, Done, HostError
from deploy.relay_host import RelayHost

_PLACE = 'umask 077; mkdir -p "$1" && cd "$1" && cat > "$2" && mv -f "$2" "$3" || { rm -f "$2"; exit 1; }'
_CHECK = '[ -f "$1" ] || exit 66; exec sh "$1" --check'
_NO_SCRIPT = 66


class PosixHost:
    """A folder of that host, and its schedule. Connected to when first asked; `with` closes it.

    Names of files are relative to the folder. Who logs in is root, or may run anything by `sudo -n`.
    """

    def __init__(
        self, name: str, address: str, *, user: str, port: int | None, host_keys: Sequence[str], folder: str
    ) -> None:
        """`folder`: an absolute path."""
        self.name = name
        self.folder = folder
        sudo = user != "root"
        self._ssh = RelayHost(name, address, user=user, port=port, host_keys=host_keys, sudo=sudo, lock=folder)

    def __enter__(self) -> PosixHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ssh.close()

    # ---- a Host, and a Machine

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; see Host."""
        files = iter(self._ssh.read([self._with_path(item) for item in items if item.kind != "schedule"]))
        return [self._schedule(item) if item.kind == "schedule" else next(files) for item in items]

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host. A schedule is set up after the files it is made from, and removed before."""
        schedules = [change for change in changes if change.item.kind == "schedule"]
        files = [replace(change, item=self._with_path(change.item)) for change in changes if change not in schedules]
        self._must(*(("sh", self._path("schedule.sh"), "remove") for change in schedules if not change.item.wanted))
        self._ssh.make(files)
        self._must(*(("sh", self._path("schedule.sh")) for change in schedules if change.item.wanted))

    def run(self, *argv: str, stdin: bytes = b"", hear: Callable[[bytes], None] | None = None) -> Done:
        """Run a program as root; see Machine. `hear` is called with its output as it comes."""
        return self._ssh.run(*argv, stdin=stdin, hear=hear)

    # ---- an ExchangeEnd

    def write_key(self, name: str, private: Secret) -> None:
        """Write a private key into a file that is private from the moment it is made."""
        self._path(name)
        draft = f".{name}.postern-{os.urandom(6).hex()}"
        done = self._ssh.run("sh", "-c", _PLACE, "sh", self.folder, draft, name, stdin=private.reveal())
        if done.code:
            raise HostError(f"{self._path(name)} could not be written: {done.err.strip() or done.code}")

    def delete_key(self, name: str) -> bool:
        """Delete a key file; return whether there was one."""
        path = self._path(name)
        if self._ssh.run("test", "-e", path).code:
            return False
        self._must(("rm", "-f", path))
        return True

    # ---- how

    def _schedule(self, item: Item) -> State | None:
        done = self._ssh.run("sh", "-c", _CHECK, "sh", self._path("schedule.sh"))
        if done.code == _NO_SCRIPT:
            return None
        if item.wanted is None:
            return {"set": True}
        said = f"{done.out}{done.err}".split("\n")
        return {"odd": [line for line in said if line]} if done.code or done.out else item.wanted

    def _with_path(self, item: Item) -> Item:
        return replace(item, name=self._path(item.name))

    def _path(self, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
            raise HostError(f"{name!r} does not lie in {self.folder}")
        return f"{self.folder}/{name}"

    def _must(self, *calls: Sequence[str]) -> None:
        for argv in calls:
            done = self._ssh.run(*argv)
            if done.code:
                raise HostError(f"`{shlex.join(argv)}` ended with {done.code}: {(done.out + done.err).strip()}")
