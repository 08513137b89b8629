"""The sources an export can come from: a module each, with a function `values`; `read` chooses by customer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from common.settings import BadSettings, Settings
from receiver.upload.formats import csvde, exchange_55, exchange_online, ldap, powershell
from receiver.upload.formats.values import BadExport, Block, Values

__all__ = ["BadExport", "Block", "Format", "Values", "find_format", "read"]


class Format(Protocol):
    """What each module in this folder has."""

    def values(self, export: bytes) -> Values:
        """Return each address as written, `SMTP:a@b`, of an export without its end mark, and what its owner is.

        Reading them raises BadExport for an export that must not be used. Nothing read before counts then.
        """


class FormatBySettings(Protocol):
    """What a module has that reads by the customer's settings."""

    def values(self, export: bytes, settings: Settings) -> Values:
        """Return the same as a Format's. Raises BadExport now, or when they are read."""


_FORMATS: Mapping[str, Format] = {
    "exchange-5.5": exchange_55,
    "csvde": csvde,
    "powershell": powershell,
}
_BY_SETTINGS: Mapping[str, FormatBySettings] = {
    "ldap": ldap,  # whose attributes are the operator's choice
    "exchange-online": exchange_online,  # which says of each domain whether it is the customer's there
}


def find_format(name: str) -> Format:
    """Return the module for a source that needs no settings, named as in the customer's file. Raises BadSettings."""
    if name not in _FORMATS:
        every = ", ".join((*_FORMATS, *_BY_SETTINGS))
        raise BadSettings(f"format {name}: not one of {every}; provision this relay again")
    return _FORMATS[name]


def read(export: bytes, settings: Settings) -> Values:
    """Return the values of an export without its end mark, read as the customer's source writes them.

    Raises BadSettings for a source of another release; BadExport now, or when the values are read.
    """
    by_settings = _BY_SETTINGS.get(settings.format)
    return by_settings.values(export, settings) if by_settings else find_format(settings.format).values(export)
