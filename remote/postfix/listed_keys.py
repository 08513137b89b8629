"""Runs on the relay: sorts the keys of another table by what they say about a customer's domains. Pure.

A listed key is a candidate and not yet a recipient: postmap lists keys that no mail ever matches, such as
`"e.f"@example.com`, whose quotes Postfix does not ask for. Only the relay's own answer tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from common.addresses import listed_local_part

ODD_ENDS = ".,;:>"  # what stands behind an address in a text it was copied from, and is no part of it
_KEY = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^"\t])*)\t(.*)', re.DOTALL)
_WORD = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^"\s])+)\s+\S')
_YES = re.compile(r"(?i)(ok|relay|permit|discard)\b.*|[0-9]+")


class Names(NamedTuple):
    """The domains whose people are looked for, and how bare keys are read."""

    forms: Mapping[str, str]  # each form of a domain, as Postfix may be asked for it: its A-label
    bare: tuple[str, ...] = ()  # A-labels of the domains in which a key without a domain counts: that is $myorigin
    known: frozenset[str] = frozenset()  # other domains of the relay, which a key may name as a whole


class Candidate(NamedTuple):
    """An address that a table may list."""

    key: str  # as it stands in the table
    value: str


class ListedKeys:
    """The keys of one table, sorted by what they stand for."""

    def __init__(self, names: Names, uses: str = "list") -> None:
        """Nothing seen yet. `uses`: `list`, `access` (access(5): user@, and the value decides) or `routes`."""
        self.candidates: dict[str, Candidate] = {}  # by address as a list has it
        self.odd: list[str] = []  # keys that are meant for these domains, and that no mail matches
        self.everybody: list[str] = []  # keys that match a whole domain
        self.everywhere: list[str] = []  # keys that match an address in every domain
        self.bare: list[str] = []  # keys without a domain
        self.below: list[str] = []  # keys in subdomains, which belong to others
        self.elsewhere: Counter[str] = Counter()
        self._names, self._uses = names, uses

    def add(self, key: str, value: str) -> None:
        """Add one key with its value."""
        local, at, domain = key.rpartition("@")
        if not at:
            self._add_bare(key, value)
        elif not local:
            self._add_domain(key, domain.casefold())
        elif not domain and self._uses == "access":
            self.everywhere.append(key)
            for name in dict.fromkeys(self._names.forms.values()):
                self._add(local, name, key, value)
        else:
            self._add_address(local, domain.casefold(), key, value)

    def is_yes(self, address: str) -> bool:
        """Return whether the value lets an address pass: in an access table by its word, elsewhere whatever it is."""
        return self._uses != "access" or bool(_YES.fullmatch(self.candidates[address].value.strip()))

    def _add_bare(self, key: str, value: str) -> None:
        if self._uses != "list" or key.casefold() in {*self._names.forms, *self._names.known}:
            return
        for name in self._names.bare:
            self.bare.append(key)
            self._add(key, name, key, value)

    def _add_domain(self, key: str, domain: str) -> None:
        if domain in self._names.forms:
            self.everybody.append(key)
        else:
            self.elsewhere[domain] += 1

    def _add_address(self, local: str, domain: str, key: str, value: str) -> None:
        forms = self._names.forms
        if domain in forms:
            self._add(local, forms[domain], key, value)
        elif any(domain.endswith(f".{form}") for form in forms):
            self.below.append(key)
        elif domain.rstrip(ODD_ENDS) in forms:
            self.odd.append(key)
        else:
            self.elsewhere[domain] += 1

    def _add(self, local: str, domain: str, key: str, value: str) -> None:
        listed = listed_local_part(local.casefold())
        if listed is None:
            self.odd.append(key)
        else:
            self.candidates.setdefault(f"{listed}@{domain}", Candidate(key, value))


def split_listing(listing: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line that `postmap -s` prints: cut at the first TAB that is not within quotes."""
    for line in listing.split("\n"):
        found = _KEY.match(line)
        if found:
            yield found[1], found[2]
        elif "\t" in line:  # a quote that nobody closed
            key, _, value = line.partition("\t")
            yield key, value


def source_keys(lines: Iterable[str]) -> dict[str, str]:
    """Return the keys that postmap would build of a table's text, folded, each as it is written.

    A line that begins with a blank goes on with the one before it, across comments; one without a value is skipped.
    """
    found: dict[str, str] = {}
    for line in _logical(lines):
        word = _WORD.match(line)
        if word:
            key = re.sub(r'"((?:[^"\\]|\\.)*)"(?!@|.*@)', r"\1", word[1])
            found.setdefault(key.casefold(), key)
    return found


def _logical(lines: Iterable[str]) -> Iterator[str]:
    whole = ""
    for line in lines:
        text = line.rstrip("\r\n")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if text[0] in " \t" and whole:
            whole += text
            continue
        if whole:
            yield whole
        whole = "" if text[0] in " \t" else text
    if whole:
        yield whole
