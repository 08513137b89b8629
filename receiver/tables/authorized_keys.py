"""The account's authorized_keys: the key lines of all trees, in a file and a directory of root's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from common.paths import Places
from receiver.formatting import escape
from receiver.tables.customer_tree import CustomerTree
from receiver.tables.table import write_file

_MODE = 0o644
_HEAD = "# rebuild-relay-recips makes this from /etc/postern/customers; what is changed here is lost"


def write_authorized_keys(places: Places, trees: Iterable[CustomerTree]) -> None:
    """Write the keys of these trees, and no others, into authorized_keys. Raises OSError."""
    wanted = _text(trees)
    if _find_faults(places, wanted):
        write_file(_path(places), wanted, _MODE)


def check_authorized_keys(places: Places, trees: Iterable[CustomerTree]) -> list[str]:
    """Return the keys that are in the file and in no tree, and those that are missing."""
    return _find_faults(places, _text(trees))


def _find_faults(places: Places, wanted: bytes) -> list[str]:
    path = _path(places)
    try:
        with open(path, "rb") as file:
            content, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    lines, right = content.split(b"\n"), wanted.split(b"\n")
    wrong = [f"{path} holds what is in no tree: {_name_line(line)}" for line in lines if line not in right]
    wrong += [f"{path} lacks {_name_line(line)}" for line in right if line not in lines]
    if not wrong and (content != wanted or mode != _MODE):
        wrong = [f"{path} is not in order, or not of mode {_MODE:04o}"]
    return wrong


def _name_line(line: bytes) -> str:
    return escape(" ".join(line.decode(errors="replace").split()[-2:]))


def _text(trees: Iterable[CustomerTree]) -> bytes:
    return "".join(f"{line}\n" for line in (_HEAD, *(key for tree in trees for key in tree.keys))).encode()


def _path(places: Places) -> str:
    return os.path.join(places.var, ".ssh", "authorized_keys")
