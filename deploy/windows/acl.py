"""Who may open a file or a folder of Windows: what icacls saves of it as a state, and the words that make it so.

Groups go by number and never by name: each language of Windows has other words for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_GROUPS = {"BA": "Administrators", "SY": "SYSTEM"}  # by SDDL's abbreviations
_NUMBERS = {"Administrators": "*S-1-5-32-544", "SYSTEM": "*S-1-5-18"}
_FULL = ("FA", "0x1f01ff")
_BELOW = "OICI"  # of a folder: for the files and folders in it as well
_LIST = re.compile(r"D:(?P<flags>[A-Z]*)(?P<entries>(?:\([^()]*\))*)")


def describe_acl(saved: bytes) -> dict[str, Any] | None:
    """Read an access list (SDDL, [MS-DTYP] 2.5.1) from what `icacls /save` wrote; None: there is none in it.

    What is not full access of a group known here stands as it is written, in brackets.
    """
    found = _LIST.search(saved.replace(b"\0", b"").decode("ascii", "replace"))  # UTF-16; what we look for is ASCII
    if found is None:
        return None
    entries = re.findall(r"\(([^()]*)\)", found["entries"])
    return {"may open it": sorted(map(_name_entry, entries)), "asks the folder above": "P" not in found["flags"]}


def closed_acl() -> dict[str, Any]:
    """Return the state in which administrators and the system may open it, and nobody else."""
    return {"may open it": sorted(_NUMBERS), "asks the folder above": False}


def icacls_arguments(path: str, is_folder: bool) -> Iterator[tuple[str, ...]]:
    """Yield the calls of icacls that bring it there, whatever it was before.

    Of a key whose owner is one person's account ssh.exe says "Bad owner": it is given to the administrators.
    """
    rights = "(OI)(CI)F" if is_folder else "F"
    yield "icacls", path, "/reset"
    grants = [word for number in _NUMBERS.values() for word in ("/grant:r", f"{number}:{rights}")]
    yield "icacls", path, "/inheritance:r", *grants
    yield "icacls", path, "/setowner", _NUMBERS["Administrators"]


def _name_entry(entry: str) -> str:
    kind, flags, rights, *_, group = (*entry.split(";"), "")[:6] if entry.count(";") >= 5 else ("", "", "", "")
    is_all = kind == "A" and flags in ("", _BELOW) and rights in _FULL
    return _GROUPS[group] if is_all and group in _GROUPS else f"({entry})"
