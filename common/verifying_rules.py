"""Runs on the relay: which of its restrictions have addresses verified, or look in tables that say so.

What a database or a policy service answers is not known beforehand and not looked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from common.main_cf_params import RESTRICTIONS, members, without_unlisted
from common.table_types import BUILT_SUFFIX, LISTABLE

VERIFYING = "verifying"  # how root's line about such a rule begins
VERIFIED = "reject_unverified_recipient"
_SAID = re.compile(rf"(?i)(?<![\w./-]){VERIFIED}(?![\w./-])")  # not within the name of a file
_TABLE = re.compile(r"\b([a-z]+):([^\s,:{}]+)(?![^\s,{}]*:)")  # wherever it stands: behind proxy:, within a union

Run = Callable[..., str]
"""Runs a program of Postfix, named with its words, and returns what it prints."""


class _Place(NamedTuple):
    """Where restrictions are set."""

    name: str
    parameter: str
    value: str


def find_verifying(run: Run) -> Iterator[str]:
    """Yield the settings of main.cf and master.cf by which others have recipients verified, and unreadable tables.

    Our settings for asking a customer's server hold for the whole relay, so they would change the answers of those too.
    """
    classes = members(run("postconf", "-hx", "smtpd_restriction_classes").strip())
    queue = run("postconf", "-hx", "queue_directory").strip()
    for name, parameter, value in _places(run):
        if parameter.endswith("_restrictions") or parameter in classes:
            ours = parameter == RESTRICTIONS
            yield from _verifying(run, queue, name, without_unlisted(value) if ours else value)


def _places(run: Run) -> Iterator[_Place]:
    """Yield all that is set, names in it expanded."""
    for line in run("postconf", "-nx").splitlines():
        name, equals, value = line.partition(" =")
        if equals:
            yield _Place(f"main.cf: {name}", name, value)
    for line in run("postconf", "-Px").splitlines():
        name, equals, value = line.partition(" =")
        if equals:
            yield _Place(f"master.cf, {name}", name.rpartition("/")[2], value)


def _verifying(run: Run, queue: str, place: str, value: str) -> Iterator[str]:
    if _SAID.search(value):
        yield f"{place} has {VERIFIED}, whose answers would change: take it out"
    for kind, name in dict.fromkeys(_TABLE.findall(value)):
        path = os.path.join(queue, name)
        lines = [*_text(path), *_listed(run, kind, path)]
        if any(_SAID.search(line) for line in lines):
            yield f"{place} asks {kind}:{path}, which has {VERIFIED}, whose answers would change: take it out"
        elif kind in BUILT_SUFFIX and not lines and not os.path.exists(path):
            yield f"{place} asks {kind}:{path}, which cannot be read, so that it may have {VERIFIED}: mend it"


def _text(path: str) -> Iterator[str]:
    """Yield the lines that a table was built from, or that Postfix reads themselves; comments aside."""
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as lines:
            yield from (line for line in lines if not line.lstrip().startswith("#"))


def _listed(run: Run, kind: str, path: str) -> list[str]:
    """Return what the built table has, which alone Postfix asks: its text may be gone, or another by now."""
    if kind not in LISTABLE or not os.path.isabs(path):
        return []
    return run("postmap", "-s", f"{kind}:{path}").splitlines()
