"""Domains that a relay closed by a list of somebody else before they were ours, until our own list is in force there.

A tree says of each who closes it: a parameter of main.cf and, behind it, the tables that it names, with blanks between.
An empty text says that our list closes it by now, and that its route still waits for the proof of that.
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
    """Return whether the list of recipients closes the domain; our table beside theirs then leaves it closed.

    Where something else closes it, an empty list of ours would refuse everybody, so that ours takes everybody instead.
    """
    return closing_parameter(closer) == RECIPIENTS
