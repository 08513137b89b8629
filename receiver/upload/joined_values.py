"""Finds values of an export that hold a second value, or stand for a whole list: the export must not be used then.

ADMIN's MVSeparator was changed, or somebody typed two addresses as one, and the second would be lost unnoticed.
PowerShell writes the name of a type, `System.String[]`, where a list was exported without joining it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from receiver.addresses import OCTETS
from receiver.formatting import escape
from receiver.upload.formats import BadExport

_SEPARATOR = r"[ !\"#$%&()*,;<>?@\[\\\]^`{|}~]"  # those that ADMIN offers, and others that somebody may choose
_SECOND = re.compile(rf"\S[^\S\n]*(?<!smtp:){_SEPARATOR}smtp:")
_BEHIND = re.compile(r"@([^@]*?)(?:@|[^\w.@\r-])[a-z][a-z0-9-]*:")
_TYPE_NAME = re.compile(r"\n((?:system|microsoft)\.[a-z0-9_.]+(?:\[\]|collection|`1\[[^\n]*\]))(?=\n)")
_INNER = r"\S[^\S\n\r]*(?<!\nsmtp:)(?<![a-z0-9])smtp:(?:(?!smtp:)[^\s@])+@(?:%s)(?![\w.@-])"


def compile_inner(domains: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of an address in one of some domains within another value, whatever separates the two."""
    return re.compile(_INNER % ("|".join(map(re.escape, domains)) or "(?!)"))


def check_lines(lines: str, typed: int, inner: re.Pattern[str]) -> None:
    """Raise BadExport where one of some lower-case values, each between line ends, is two values or a whole list.

    `typed`: how many of them begin with smtp:.
    """
    type_ = _TYPE_NAME.search(lines)
    if type_:
        what = f"{escape(type_[1])} is what PowerShell writes in place of a list that was not joined"
        raise BadExport(None, f"{what}: the addresses are not in this export")
    if lines.count("smtp:") > typed:
        second = _SECOND.search(lines) or inner.search(lines)
        if second:
            raise error_of_joined_value(lines[lines.rfind("\n", 0, second.end()) + 1 : lines.find("\n", second.end())])


def domain_before_type(address: str) -> str:
    """Return the domain after which a possible separator and another type follow; empty where there is none."""
    found = _BEHIND.search(address) if len(address) <= OCTETS else None
    return found[1] if found else ""


def error_of_joined_value(value: str) -> BadExport:
    """Return the error about a value in lower case, by which the value can be found in the directory."""
    return BadExport(
        None,
        f"{escape(value)} holds the type of another value behind a character that does not part values: MVSeparator "
        "in userexport.ini was changed, or two addresses were typed as one",
    )
