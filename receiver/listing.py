"""What the tables say, from what customers have: pure, and the same on every relay that has the same.

A domain moves between customers by one change of both trees, so its new owner alone claims it; it is open, and what the
old owner's list has in it stays listed, until the new owner's first list is accepted. While two trees claim one domain,
which only a change that was cut short leaves behind, both lists count, it is open until both are accepted, and the
route in force stays.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import lt
from typing import NamedTuple

from receiver.postmap import Table
from receiver.report import shown
from receiver.sources import LINE, Pair, Source
from receiver.trees import Damaged

_ATOM = rb'[^\x00-\x20"(),:;<>@\[\\\].\x7f]+'
_LOCAL = rb'(?!#|\*@)(?:%b(?:\.%b)*|"(?:[^"\\]|\\.)+")' % (_ATOM, _ATOM)  # postmap skips a line that begins with #
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


class Listed(NamedTuple):
    """One customer's part of the tables, every address of it checked."""

    source: Source  # what it was made of
    own: Sequence[bytes]  # addresses in its own domains
    left: Sequence[bytes]  # addresses in domains that were its own until its tree changed
    open: frozenset[str]  # A-labels of the domains in which every address is listed

    def forms(self) -> Iterator[tuple[str, str]]:
        """Give every form of each of its domains, beside its A-label."""
        return ((form, domain) for domain, forms in self.source.tree.domains.items() for form in forms)


def listed(source: Source, now: float) -> Listed:
    """Check one customer's addresses; where they are damaged take root's copy, and without one, none.

    A domain without any address is never closed, whatever its date says.
    """
    try:
        own, left = _checked(source)
    except Damaged as error:
        source = source.fallen_back(str(error))
        try:
            own, left = _checked(source)
        except Damaged:
            source, own, left = source._replace(pair=Pair()), [], []
    empty = {domain for domain in source.tree.domains if f"@{domain}\n".encode() not in source.pair.recipients}
    return Listed(source, own, left, source.aged(now).union(source.tree.partial, empty))


def tables(parts: Sequence[Listed], routes: Mapping[str, str]) -> tuple[Table, Table, Table, Table]:
    """Give exchange_recipients, transport, others and relay_domains; `routes` are those in force."""
    domains = sorted({form for part in parts for form, _ in part.forms()})
    return Table("exchange_recipients", _recipients(parts)), _transport(parts, routes), others(domains), ours(domains)


def ours(domains: Iterable[str]) -> Table:
    """Give relay_domains."""
    return Table("relay_domains", [domain.encode() for domain in domains])


def others(domains: Sequence[str]) -> Table:
    """Give the table that lists every address in a domain that is not ours."""
    ours = "|".join(map(_any_case, domains))
    return Table("others", [f"!/@({ours})$/".encode() if ours else b"/./"], built=False)


def _checked(source: Source) -> tuple[Sequence[bytes], Sequence[bytes]]:
    lines = _lines(source.pair.recipients)
    is_own = _in(source.tree.domains)
    if all(map(is_own, lines)):
        return lines, ()
    known = _in({*source.tree.domains, *_once(source)})
    for number, line in enumerate(lines, 1):
        if not known(line):
            what = shown(line.decode(), 80)
            raise Damaged(f"recipients, line {number}: {what!r} is no address in a domain of its own")
    return [line for line in lines if is_own(line)], [line for line in lines if not is_own(line)]


def _lines(recipients: bytes) -> list[bytes]:
    """Split a list that Postfix reads as we do: each address once, whole, folded, and nothing that is not seen."""
    try:
        text = recipients.decode()
    except UnicodeDecodeError as error:
        raise Damaged("recipients is not UTF-8") from error
    lines = recipients.split(b"\n")
    if lines.pop():
        raise Damaged("recipients is cut off: its last line does not end")
    if text != text.casefold() or not all(map(lt, lines, islice(lines, 1, None))):
        raise Damaged("recipients is not as the receiver writes it: folded, sorted, each address once")
    if not text.replace("\n", "").isprintable() and any(map(_in_no_address, set(text) - {" ", "\n"})):
        raise Damaged("recipients holds blanks, controls or characters that are in no address")
    if max(map(len, lines), default=0) >= LINE:
        raise Damaged("recipients holds a line longer than any address")
    return lines


def _in_no_address(character: str) -> bool:
    """Tell controls, odd blanks, and what our Unicode does not know: Postfix may know better, and fold two into one."""
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cn")


def _in(domains: Iterable[str]) -> Callable[[bytes], object]:
    ending = "|".join(map(re.escape, domains)).encode()
    return re.compile(b"%b@(?:%b)" % (_LOCAL, ending)).fullmatch


def _once(source: Source) -> set[str]:
    """Name the domains that were the customer's own when root last took a copy, or in which that copy has addresses."""
    tree, lines = source.copy.tree(), source.copy.pair().recipients.decode(errors="replace").split("\n")
    return {line.rpartition("@")[2] for line in lines if line}.union(tree.domains if tree else ())


def _recipients(parts: Sequence[Listed]) -> list[bytes]:
    opened = {form.encode() for part in parts for form, domain in part.forms() if domain in part.open}
    found = [b"@" + form for form in opened]
    for part in parts:
        found += part.own
        found += _in_other_forms(part)
        found += (address for address in part.left if address.rpartition(b"@")[2] in opened)
        found += (f"postmaster@{form}".encode() for form, _ in part.forms())
    found.sort()
    return [address for address, _ in groupby(found)]


def _in_other_forms(part: Listed) -> Iterator[bytes]:
    include = [address.encode() for address in part.source.tree.include]
    yield from include
    for form, domain in part.forms():
        if form != domain:
            ending = f"@{domain}".encode()
            of_it = (address for address in (*part.own, *include) if address.endswith(ending))
            yield from (address[: -len(domain)] + form.encode() for address in of_it)


def _transport(parts: Sequence[Listed], in_force: Mapping[str, str]) -> Table:
    claimed: dict[str, list[str]] = {}
    for part in parts:
        for form, _ in part.forms():
            claimed.setdefault(form, []).append(part.source.tree.routes.get(form, ""))
    routes = {}
    for form, each in sorted(claimed.items()):
        there = in_force.get(form, "")
        if route := there if there in each else each[0]:
            routes[form.encode()] = route.encode()
    return Table("transport", list(routes), routes)


def _any_case(domain: str) -> str:
    """Write a domain as a regular expression; Postfix ignores the case of ASCII there, and of nothing else."""
    return "".join(c if c in _PLAIN else _either(c) for c in domain)


def _either(character: str) -> str:
    upper = character.upper()
    return f"({character}|{upper})" if character.isalpha() and len(upper) == 1 else f"\\{character}"
