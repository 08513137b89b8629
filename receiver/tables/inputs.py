"""What a build reads of a customer: root's tree, the account's spool, and root's own last good copy of both.

An attacker who has account `postern` may have put anything into a spool: so it is read through open directories,
without following links or waiting for a pipe, and never more of it than the customer may have.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from common.adopted_domains import is_closed_by_maps
from common.opened import find_marker
from common.paths import Places
from common.settings import UNLISTED
from common.spool_files import ACCEPTED, ASKING, LAST_EXPORT, RECIPIENTS, SMALL, most_bytes
from receiver.formatting import DAY
from receiver.system import atomic_files
from receiver.system.account import Owner
from receiver.tables import customer_tree, directories
from receiver.tables.customer_tree import CustomerTree, Damaged

_, DEFER, ASK = UNLISTED
_PLUS = "plus"  # in root's copy: once an export has said so, later exports do not change it


class SpoolFiles(NamedTuple):
    """The files of a spool that a build reads: the list, the accepted dates, and whether an export said plus."""

    recipients: bytes = b""
    accepted: bytes = b""
    when: Mapping[str, int] = {}  # A-label: epoch seconds of the last good upload
    plus: bool = False  # some export has said that user+tag@ is taken where user@ is
    is_put_off: bool = False  # its server refuses to be asked about unlisted addresses: they are deferred


class CustomerInput(NamedTuple):
    """One customer's tree and list. The addresses are not checked yet."""

    tree: CustomerTree
    files: SpoolFiles
    copy: GoodCopy
    why: str = ""  # why root's copy replaces something; empty where it does not
    left_open: frozenset[str] = frozenset()  # domains being adopted whose closing tables Postfix names no longer
    is_opened: bool = False  # a person had all of its domains opened

    def open_domains(self, now: float) -> frozenset[str]:
        """Return the domains without a recent accepted list; all of them where a person had them opened.

        A date more than a day in the future does not count.
        """
        if self.is_opened:
            return frozenset(self.tree.domains)
        oldest = now - self.tree.open_after_days * DAY
        return frozenset(name for name in self.tree.domains if not oldest <= self.files.when.get(name, 0) <= now + DAY)

    def as_adopted(self, opened: frozenset[str]) -> frozenset[str]:
        """Return the domains that our table lists whole, of those that would be open, where some are being adopted.

        While other tables of the relay close a domain, ours does not list it whole; where another parameter closes it,
        ours does, and leaves refusing to that. Where a person had the domains opened, all are listed whole.
        """
        if self.is_opened:
            return opened
        closers = {
            name: closer for name, closer in self.tree.closed_by.items() if closer and name not in self.left_open
        }
        by_maps = {name for name, closer in closers.items() if is_closed_by_maps(closer)}
        return opened.difference(by_maps - self.files.when.keys()).union(closers.keys() - by_maps)

    def takes_plus(self) -> bool:
        """Return whether user+tag@ is taken where user@ is: as the tree says, else as an export has said."""
        return self.files.plus if self.tree.plus_addresses is None else self.tree.plus_addresses

    @property
    def unlisted(self) -> str:
        """The answer to unlisted recipients, as the tree says and the customer's server permits."""
        return DEFER if self.tree.unlisted == ASK and self.files.is_put_off else self.tree.unlisted

    def with_good_copy(self, why: str) -> CustomerInput:
        """Return the customer with root's copy of the list; without a copy the domains are open."""
        files = self.copy.read_files()._replace(is_put_off=True)  # not known: so unlisted addresses are deferred
        return self._replace(files=files, why="; ".join(filter(None, (self.why, why))))


class GoodCopy(NamedTuple):
    """Root's copy of what the tables were last built from: `tables/good/ID`.

    It is not flushed to the disk: after a power cut it may be damaged, and it is read only when something else is.
    """

    path: str

    def read_tree(self) -> CustomerTree | None:
        """Return the tree. None: there is no copy, or it is damaged too."""
        with suppress(OSError, ValueError, TypeError):
            return CustomerTree(**json.loads(self._read("tree.json")))
        return None

    def read_files(self) -> SpoolFiles:
        """Return the list and its dates; empty ones where there is no copy, or it is damaged too."""
        with suppress(OSError, Damaged):
            recipients, accepted = self._read(RECIPIENTS), self._read(ACCEPTED)
            return SpoolFiles(recipients, accepted, _read_accepted(accepted) if accepted else {}, self.has_plus())
        return SpoolFiles()

    def has_plus(self) -> bool:
        """Return whether an export has said that user+tag@ is taken."""
        return os.path.exists(os.path.join(self.path, _PLUS))

    def keep(self, tree: CustomerTree, files: SpoolFiles) -> str:
        """Replace the copy, addresses before dates: a crash between leaves domains open. Return what failed."""
        text = json.dumps(tree._asdict(), ensure_ascii=False).encode() + b"\n"
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            self._write("tree.json", text)
            if files.plus:
                self._write(_PLUS, b"")
            self._write(RECIPIENTS, files.recipients)
            self._write(ACCEPTED, files.accepted)
        except OSError as error:
            return f"is in the tables, but root could take no copy of it: {error.strerror}"
        return ""

    def forget(self) -> None:
        """Remove it: the customer left."""
        directories.remove_directory(self.path)

    def _read(self, name: str) -> bytes:
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def _write(self, name: str, content: bytes) -> None:
        with suppress(FileNotFoundError):
            if self._read(name) == content:
                return
        with open(os.path.join(self.path, f".{name}"), "wb") as file:
            file.write(content)
        os.replace(os.path.join(self.path, f".{name}"), os.path.join(self.path, name))


def find_copies(places: Places) -> dict[str, GoodCopy]:
    """Return every copy by customer."""
    good = os.path.join(places.tables, "good")
    return {name: GoodCopy(os.path.join(good, name)) for name in os.listdir(good)}


def read_customer(places: Places, customer: str, account_owner: Owner) -> tuple[CustomerInput | None, str]:
    """Return one customer's files, with root's copy in place of what is damaged, and what that is.

    None: its tree is damaged and so is root's copy of it, or there is none.
    """
    copy = GoodCopy(os.path.join(places.tables, "good", customer))
    tree, why = _tree(places, customer, copy)
    if tree is None:
        return None, why
    source = CustomerInput(tree, SpoolFiles(), copy, why, is_opened=find_marker(places, customer) is not None)
    try:
        source = source._replace(files=_read_spool(places, source, account_owner))
    except Damaged as error:
        source = source.with_good_copy(str(error))
    return source, source.why


def digest_inputs(sources: Iterable[CustomerInput], now: float, *more: str) -> str:
    """Return the hash of all that tables are made of, with the domains that age or a person has opened."""
    whole = hashlib.sha256(repr(more).encode())
    for source in sources:
        opened, plus = sorted(source.as_adopted(source.open_domains(now))), source.takes_plus()
        whole.update(repr((source.tree, opened, plus, source.unlisted, len(source.files.recipients))).encode())
        whole.update(source.files.recipients)
        whole.update(source.files.accepted)
    return whole.hexdigest()


def _tree(places: Places, customer: str, copy: GoodCopy) -> tuple[CustomerTree | None, str]:
    try:
        return customer_tree.read_tree(places, customer), ""
    except Damaged as error:
        return copy.read_tree(), str(error)


def _read_spool(places: Places, source: CustomerInput, account_owner: Owner) -> SpoolFiles:
    tree = source.tree
    try:
        with atomic_files.hold_directory(places.spool(tree.customer)) as spool:
            # Dates first: a list that is published in between finds its domains still open.
            accepted = _content(spool, ACCEPTED, account_owner, SMALL)
            plus = source.copy.has_plus() or _says_plus(spool, account_owner)
            is_put_off = _is_put_off(spool, account_owner)
            recipients = _content(spool, RECIPIENTS, account_owner, most_bytes(tree.max_recipients))
    except OSError as error:
        raise Damaged(f"its spool: {error.strerror}") from error
    when = {} if accepted is None else _read_accepted(accepted)
    had = source.copy.read_files() if recipients is None or accepted is None else SpoolFiles()
    if recipients is None and (had.recipients or when):
        raise Damaged("recipients is gone")
    if accepted is None and had.when:
        raise Damaged("accepted.json is gone")
    return SpoolFiles(recipients or b"", accepted or b"", when, plus, is_put_off)


def _content(spool: int, name: str, account_owner: Owner, bound: int) -> bytes | None:
    """Read a file of the account's; one that is replaced meanwhile is read whole, as it was.

    None: there is no such file. Raises Damaged and OSError.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=spool)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{name}: {error.strerror}") from error
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1 or info.st_uid != account_owner.uid:
            raise Damaged(f"{name} is no plain file of the account's own")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(min(bound, info.st_size) + 1)  # which makes room for as many at once
    finally:
        os.close(descriptor)
    if len(content) > bound:
        raise Damaged(f"{name} is larger than {bound} bytes")
    return content


def _read_accepted(accepted: bytes) -> dict[str, int]:
    """Read accepted.json. Raises Damaged. Numbers are cut: int() of a million digits takes seconds."""
    try:
        domains = json.loads(accepted, parse_int=lambda digits: int(digits[:20]))["domains"]
        return {str(name): when for name, when in domains.items() if isinstance(when, int)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damaged("accepted.json is damaged") from error


def _is_put_off(spool: int, account_owner: Owner) -> bool:
    """Return whether the timer found that the customer's server refuses to be asked; a damaged file does not count."""
    with suppress(Damaged, ValueError, TypeError, KeyError, RecursionError):
        said = _content(spool, ASKING, account_owner, SMALL)
        return json.loads(said or b"{}")["put_off"] is True
    return False


def _says_plus(spool: int, account_owner: Owner) -> bool:
    """Return whether the last export said that user+tag@ is taken; a damaged last-export.json does not count."""
    with suppress(Damaged, ValueError, TypeError, KeyError, RecursionError):
        said = _content(spool, LAST_EXPORT, account_owner, SMALL)
        return json.loads(said or b"{}")["plus_addresses"] is True
    return False
