"""Values of an export that hold a second one, behind a character that was to part them and does not, or all of them.

ADMIN's MVSeparator was changed, or somebody typed two addresses as one: who is in the second would be lost unseen. And
PowerShell writes the name of a type, `System.String[]`, where somebody exports a list without joining it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from receiver.addresses import OCTETS
from receiver.formatting import escape
from receiver.upload.formats import BadExport

_SEPARATOR = r"[ !\"#$%&()*,;<>?@\[\\\]^`{|}~]"  # the ones that ADMIN offers, and what else somebody may think of
_SECOND = re.compile(rf"\S[^\S\n]*(?<!smtp:){_SEPARATOR}smtp:")
_BEHIND = re.compile(r"@([^@]*?)(?:@|[^\w.@\r-])[a-z][a-z0-9-]*:")
_TYPE_NAME = re.compile(r"\n((?:system|microsoft)\.[a-z0-9_.]+(?:\[\]|collection|`1\[[^\n]*\]))(?=\n)")
_INNER = r"\S[^\S\n\r]*(?<!\nsmtp:)(?<![a-z0-9])smtp:(?:(?!smtp:)[^\s@])+@(?:%s)(?![\w.@-])"


def compile_inner(domains: Iterable[str]) -> re.Pattern[str]:
    """Return what matches an address in one of some domains within another value, whatever parts the two."""
    return re.compile(_INNER % ("|".join(map(re.escape, domains)) or "(?!)"))


def check_lines(lines: str, inner: re.Pattern[str]) -> None:
    """Raise BadExport where one of some values in lower case, each between line ends, is two, or stands for a list."""
    type_ = _TYPE_NAME.search(lines) if "system." in lines or "microsoft." in lines else None
    if type_:
        what = f"{escape(type_[1])} is what PowerShell writes in place of a list that was not joined"
        raise BadExport(None, f"{what}: the addresses are not in this export")
    if lines.count("smtp:") > lines.count("\nsmtp:"):
        second = _SECOND.search(lines) or inner.search(lines)
        if second:
            raise error_of_joined_value(lines[lines.rfind("\n", 0, second.end()) + 1 : lines.find("\n", second.end())])


def domain_before_type(address: str) -> str:
    """Return the domain behind which, and behind something that could be a separator, another type begins."""
    found = _BEHIND.search(address) if len(address) <= OCTETS else None
    return found[1] if found else ""


def error_of_joined_value(value: str) -> BadExport:
    """Return the refusal of a value in lower case, by which it can be found in the directory."""
    return BadExport(
        None,
        f"{escape(value)} holds the type of another value behind a character that does not part values: MVSeparator "
        "in userexport.ini was changed, or two addresses were typed as one",
    )
