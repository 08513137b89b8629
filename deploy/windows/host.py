"""Windows: an Exchange server over its own OpenSSH. Files go by SFTP; the rest by cmd.exe, icacls and schtasks."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NamedTuple

import paramiko

from deploy.items import Item, State
from deploy.key_formats import Secret
from deploy.plan import Busy, Change, Done, HostError
from deploy.windows import acl, task
from deploy.windows.shell import FAULTS, WindowsShell, last_output, quote_command

LARGEST = 16 << 20  # bytes of a file that are read; ours are far smaller
HERE = "."  # the name of the folder itself

_DRAFT = re.compile(r"\..+\.postern-[0-9a-f]{12}")


class _Kind(NamedTuple):
    read: Callable[[Item], State | None]
    make: Callable[[Item], None]


class Windows:
    """A folder of a Windows machine, its access and its tasks. Connected to when first asked; `with` closes it.

    Names of files are relative to the folder. Who logs in must be an administrator there.
    """

    def __init__(
        self, name: str, address: str, *, user: str, port: int | None, host_keys: Sequence[str], folder: str
    ) -> None:
        """`folder`: as Windows writes it, with its drive."""
        self.name = name
        self.folder = folder
        self._user = user
        self._kinds: Mapping[str, _Kind] = {
            "file": _Kind(self._read_file, self._make_file),
            "access": _Kind(self._read_access, self._make_access),
            "task": _Kind(self._read_task, self._make_task),
        }
        self._shell = WindowsShell(address, user, port, tuple(host_keys))

    def __enter__(self) -> Windows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shell.close()

    # ---- a Host, and a Machine

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; see Host."""
        return [self._kind(item).read(item) for item in items]

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host."""
        for change in changes:
            if self._kind(change.item).read(change.item) not in (change.before, change.item.wanted):
                raise Busy(
                    f"{change.item.kind} {change.item.name} was changed meanwhile; it is left as it is: plan again"
                )
        if changes:
            self._tidy()
        for change in changes:
            self._kind(change.item).make(change.item)

    def run(self, *argv: str, stdin: bytes = b"", hear: Callable[[bytes], None] | None = None) -> Done:
        """Run a program; see Machine. `hear` is called with its output as it comes."""
        return self._shell.command(quote_command(argv), stdin, hear)

    # ---- an ExchangeEnd

    def write_key(self, name: str, private: Secret) -> None:
        """Write a private key: first an empty file that only administrators can open, then its content."""
        draft = self._fresh(name)
        try:
            self._make_folder()
            with _explain_faults(draft), self._shell.files().open(draft, "wx"):
                pass
            self._close_access(_windows(draft), is_folder=False)
            if self._access(_windows(draft)) != acl.closed_acl():
                raise HostError(f"{_windows(draft)} could not be closed to others; nothing secret was written")
            self._write(draft, private.reveal(), "r+")
            self._rename(draft, self._path(name))
        except BaseException:
            with suppress(*FAULTS, HostError):
                self._shell.files().remove(draft)
            raise

    def delete_key(self, name: str) -> bool:
        """Delete a key file; return whether there was one."""
        return self.remove(name)

    # ---- files by name

    def put(self, name: str, content: bytes) -> None:
        """Write a file; whoever reads finds the old one or the new one."""
        self._make_folder()
        draft = self._fresh(name)
        self._write(draft, content, "wx")
        self._rename(draft, self._path(name))

    def get(self, name: str) -> bytes | None:
        """Read a file as it is now; None: there is none."""
        path = self._path(name)
        try:
            with _explain_faults(path), self._shell.files().open(path) as file:
                return file.read(LARGEST)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> bool:
        """Remove a file; return whether there was one."""
        with _explain_faults(name):
            try:
                self._shell.files().remove(self._path(name))
            except FileNotFoundError:
                return False
        return True

    # ---- kind file; its mode is that of the folder's access list

    def _read_file(self, item: Item) -> State | None:
        path = self._path(item.name)
        with _explain_faults(path):
            there = self._stat(path)
            if there is None:
                return None
            if not stat.S_ISREG(there.st_mode or 0):
                return {"odd": ["is no file"]}
            with self._shell.files().open(path) as file:
                content = file.read(LARGEST)
        return {**(item.wanted or {}), "content": content.decode("utf-8", "surrogateescape")}

    def _make_file(self, item: Item) -> None:
        path = self._path(item.name)
        if item.wanted is None:
            with _explain_faults(path):
                self._shell.files().remove(path)
            return
        self.put(item.name, str(item.wanted["content"]).encode("utf-8", "surrogateescape"))

    # ---- kind access

    def _read_access(self, item: Item) -> State | None:
        path = self._path(item.name)
        with _explain_faults(path):
            if self._stat(path) is None:
                return None
        return self._access(_windows(path))

    def _make_access(self, item: Item) -> None:
        if item.name == HERE:
            self._make_folder()
        path = self._path(item.name)
        with _explain_faults(path):
            there = self._stat(path)
        if there is None:
            raise HostError(f"{_windows(path)} is not there, and it holds what no plan can bring: a private key")
        self._close_access(_windows(path), stat.S_ISDIR(there.st_mode or 0))

    def _access(self, path: str) -> State:
        """Return a file's access list as icacls saves it to a file: in the same form in every language of Windows."""
        saved = self._fresh("access")
        done = self.run("icacls", path, "/save", _windows(saved))
        state = None
        with suppress(FileNotFoundError), _explain_faults(saved):
            with self._shell.files().open(saved) as file:
                state = acl.describe_acl(file.read(LARGEST))
            self._shell.files().remove(saved)
        if state is None:
            raise HostError(f"icacls does not say who may open {path}: {last_output(done)}")
        return state

    def _close_access(self, path: str, is_folder: bool) -> None:
        self.must(*acl.icacls_arguments(path, is_folder))

    # ---- kind task

    def _read_task(self, item: Item) -> State | None:
        done = self.run("schtasks", "/query", "/tn", item.name, "/xml")
        if done.code:
            return None
        try:
            found = task.describe_task(done.out)
        except ValueError as error:
            return {"odd": [str(error)]}
        return {"file": (item.wanted or {}).get("file"), **found}

    def _make_task(self, item: Item) -> None:
        if item.wanted is None:
            self.must(("schtasks", "/delete", "/f", "/tn", item.name))
        else:
            xml = _windows(self._path(str(item.wanted["file"])))
            self.must(("schtasks", "/create", "/f", "/tn", item.name, "/xml", xml, "/ru", "SYSTEM"))

    # ---- files

    def _path(self, name: str) -> str:
        """Return a place as SFTP there has it: a slash, and the drive as a folder."""
        if name == HERE:
            return f"/{self.folder}".replace("\\", "/")
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
            raise HostError(f"{name!r} does not lie in {self.folder}")
        return f"/{self.folder}/{name}".replace("\\", "/")

    def _stat(self, path: str) -> paramiko.SFTPAttributes | None:
        try:
            return self._shell.files().stat(path)
        except FileNotFoundError:
            return None

    def _make_folder(self) -> None:
        """Make the folder, and those above it; a new one is closed before anything lies in it."""
        drive, *names = self._path(HERE).strip("/").split("/")
        for count in range(1, len(names) + 1):
            path = "/".join(["", drive, *names[:count]])
            with _explain_faults(path):
                if self._stat(path) is not None:
                    continue
                self._shell.files().mkdir(path)
            if count == len(names):
                self._close_access(_windows(path), is_folder=True)

    def _fresh(self, name: str) -> str:
        folder, _, name = self._path(name).rpartition("/")
        return f"{folder}/.{name}.postern-{os.urandom(6).hex()}"

    def _tidy(self) -> None:
        """Clear away what killed runs have left."""
        folder = self._path(HERE)
        with _explain_faults(folder), suppress(FileNotFoundError):
            for name in self._shell.files().listdir(folder):
                if _DRAFT.fullmatch(name):
                    self._shell.files().remove(f"{folder}/{name}")

    def _write(self, path: str, content: bytes, mode: str) -> None:
        with _explain_faults(path), self._shell.files().open(path, mode) as file:
            file.set_pipelined(True)
            file.write(content)

    def _rename(self, draft: str, path: str) -> None:
        with _explain_faults(path):
            self._shell.files().posix_rename(draft, path)

    # ---- how

    def _kind(self, item: Item) -> _Kind:
        if item.kind not in self._kinds:
            raise HostError(f"Windows has {', '.join(self._kinds)} and no {item.kind} ({item.name})")
        return self._kinds[item.kind]

    def must(self, *calls: Sequence[str]) -> None:
        """Run programs one after the other, each only when the one before succeeded."""
        words = " && ".join(map(quote_command, calls))
        done = self._shell.command(words)
        if done.code:
            raise HostError(
                f"`{words}` ended with {done.code}: {last_output(done)}\nIs {self._user} an administrator there?"
            )


def _windows(path: str) -> str:
    return path.strip("/").replace("/", "\\")


@contextmanager
def _explain_faults(path: str) -> Iterator[None]:
    """Turn errors into a HostError that names the file. That a file is missing is for the caller to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except FAULTS as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise HostError(f"{_windows(path)}: {why or 'the connection broke off'}") from error
