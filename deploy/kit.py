"""A kit: a folder of files that somebody carries to a server which is not reached over SSH.

It lies beside an inventory that is kept in git, and holds a private key: a .gitignore keeps it out of git.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.items import Item, State
from deploy.key_formats import Secret
from deploy.plan import Busy, Change, HostError
from remote import files

KEY_MODE = 0o600
IGNORE = ".gitignore"


class Kit:
    """A kit's folder as a Host: it has files, by names relative to it, and no other items."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path.absolute()

    def read(self, items: Sequence[Item]) -> list[State | None]:
        """Return the present state of each item; see Host."""
        return [self._read(item) for item in items]

    def make(self, changes: Sequence[Change]) -> None:
        """Make the changes; see Host."""
        for change in changes:
            if self._read(change.item) not in (change.before, change.item.wanted):
                raise Busy(f"{self._place(change.item.name)} was changed meanwhile; it is left as it is: plan again")
        for change in changes:
            with self._make_ready(change.item.name) as path:
                files.make_file(path, None if change.item.wanted is None else dict(change.item.wanted))

    def write_key(self, name: str, private: Secret) -> None:
        """Write a private key that only its owner can read."""
        with self._make_ready(name) as path:
            files.replace(path, private.reveal(), KEY_MODE)

    def delete_key(self, name: str) -> bool:
        """Delete a key file; return whether there was one."""
        if not self._place(name).exists():
            return False
        with self._make_ready(name) as path:
            files.make_file(path, None)
        return True

    def has_file(self, name: str) -> bool:
        """Return whether there is a file of that name, without reading it."""
        return self._place(name).exists()

    def remove_if_empty(self) -> None:
        """Remove the folder when it has no files but ours."""
        with suppress(OSError):
            if [one.name for one in self._path.iterdir()] == [IGNORE]:
                (self._path / IGNORE).unlink()
            self._path.rmdir()

    def _read(self, item: Item) -> State | None:
        if item.kind != "file":
            raise HostError(f"a folder has files and no {item.kind} ({item.name})")
        try:
            return files.read_file(str(self._place(item.name)))
        except OSError as error:
            raise HostError(f"{error.filename}: {error.strerror}") from error

    @contextmanager
    def _make_ready(self, name: str) -> Iterator[str]:
        """Make the folder private and remove drafts of a killed run; yield the path of the file to be written."""
        path = str(self._place(name))
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.chmod(0o700)
            self._keep_out_of_git()
            files.tidy([path])
            yield path
        except OSError as error:
            raise HostError(f"{error.filename}: {error.strerror}") from error

    def _keep_out_of_git(self) -> None:
        """Write a .gitignore before any key is in the folder.

        Raises HostError for another .gitignore that does not exclude all.
        """
        ignore = self._path / IGNORE
        if not ignore.exists():
            files.replace(str(ignore), b"*\n", 0o644)
        elif "*" not in ignore.read_text("utf-8", "replace").splitlines():
            raise HostError(f"{ignore} does not keep private keys out of git: it needs a line with nothing but *")

    def _place(self, name: str) -> Path:
        path = self._path / name
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise HostError(f"{name!r} does not lie in {self.name}")
        return path
