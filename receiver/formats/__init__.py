"""The sources an export can come from: a module each, all with the same word, `values`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from receiver.formats import exchange_55
from receiver.formats.values import BadExport, Values
from receiver.settings import BadSettings

__all__ = ["BadExport", "Format", "Values", "named"]


class Format(Protocol):
    """What a module in this folder offers."""

    def values(self, export: bytes) -> Iterator[str]:
        """Give each address as written, `SMTP:a@b`, of an export without its end mark; the columns are known there.

        Reading them raises BadExport for an export that must not be used. Nothing read before counts then.
        """


_FORMATS: Mapping[str, Format] = {
    "exchange-5.5": exchange_55,
}


def named(name: str) -> Format:
    """Give the module for a source, named as in the customer's file. Raises BadSettings."""
    if name not in _FORMATS:
        raise BadSettings(f"format {name}: not one of {', '.join(_FORMATS)}; provision this relay again")
    return _FORMATS[name]
