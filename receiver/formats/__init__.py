"""The sources an export can come from: a module each, all with the same word, `values`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from receiver.formats import csvde, exchange_55, powershell
from receiver.formats.values import BadExport, Block, Values
from receiver.settings import BadSettings

__all__ = ["BadExport", "Block", "Format", "Values", "named"]


class Format(Protocol):
    """What a module in this folder offers."""

    def values(self, export: bytes) -> Values:
        """Give each address as written, `SMTP:a@b`, of an export without its end mark, and what its owner is.

        Reading them raises BadExport for an export that must not be used. Nothing read before counts then.
        """


_FORMATS: Mapping[str, Format] = {
    "exchange-5.5": exchange_55,
    "csvde": csvde,
    "powershell": powershell,
}


def named(name: str) -> Format:
    """Give the module for a source, named as in the customer's file. Raises BadSettings."""
    if name not in _FORMATS:
        raise BadSettings(f"format {name}: not one of {', '.join(_FORMATS)}; provision this relay again")
    return _FORMATS[name]
