"""Domains that another list on the relay closed before Postern had them, until our own list is in force there.

The customer's tree names what closes each domain: a parameter of main.cf, then the tables that it names, with blanks
between. An empty text means that our list closes the domain now, and that its route still waits for the proof.
"""

from __future__ import annotations

from collections.abc import Iterable

from common.main_cf_params import RECIPIENTS

PROVING = ""


def write_closer(parameter: str, tables: Iterable[str]) -> str:
    """Return what a tree says of a domain."""
    return " ".join([parameter, *tables])


def closing_parameter(closer: str) -> str:
    """Return the parameter that closes the domain."""
    return closer.partition(" ")[0]


def closing_tables(closer: str) -> list[str]:
    """Return the tables that close the domain."""
    return closer.split()[1:]


def is_closed_by_maps(closer: str) -> bool:
    """Return whether the relay's list of recipients closes the domain: it stays closed while our table is added there.

    Where another parameter closes it, an empty table of ours would refuse everybody; so ours lists the whole domain.
    """
    return closing_parameter(closer) == RECIPIENTS
