"""One customer's part of the tables, every address of it checked."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from operator import lt
from typing import NamedTuple

from receiver.addresses import KEY_OCTETS, LINE, is_address, table_key
from receiver.formatting import escape
from receiver.tables.customer_tree import Damaged
from receiver.tables.inputs import CustomerInput, SpoolFiles

LONG = 100  # addresses of a customer that have a line each in a table of regular expressions


class CustomerRecipients(NamedTuple):
    """One customer's part of the tables."""

    source: CustomerInput  # what it was made of
    own: Sequence[bytes]  # addresses in its own domains
    left: Sequence[bytes]  # addresses in domains that were its own until its tree changed
    open: frozenset[str]  # A-labels of the domains in which every address is listed
    long: Sequence[str] = ()  # of own and include, those too long for the key of a table
    told: str = ""  # a notice for a person; it is no fault

    def forms(self) -> Iterator[tuple[str, str]]:
        """Yield every form of each of its domains, beside its A-label."""
        return ((form, domain) for domain, forms in self.source.tree.domains.items() for form in forms)


def check_recipients(source: CustomerInput, now: float) -> CustomerRecipients:
    """Check one customer's addresses; use root's copy where they are damaged, and no address without a copy.

    A domain without any address is never closed, whatever its date says.
    """
    try:
        own, left = _split_addresses(source)
    except Damaged as error:
        source = source.with_good_copy(str(error))
        try:
            own, left = _split_addresses(source)
        except Damaged:
            source, own, left = source._replace(files=SpoolFiles()), (), ()
    empty = {domain for domain in source.tree.domains if f"@{domain}\n".encode() not in source.files.recipients}
    opened = source.open_domains(now).union(empty)
    part = CustomerRecipients(source, _keys(own), _keys(left), source.as_adopted(opened).union(source.tree.partial))
    return _with_long(part, _find_too_long(part))


def _keys(addresses: Sequence[bytes]) -> Sequence[bytes]:
    """Return the keys of addresses in order; nearly all are their own. The addresses are sorted."""
    first = bisect_left(addresses, b"#")
    if not any(address.startswith(b"#") for address in addresses[first : first + 1]):
        return addresses
    return sorted({table_key(address.decode()).encode() for address in addresses})


def _find_too_long(part: CustomerRecipients) -> list[str]:
    """Return the addresses whose key is too long for some type of table, in one of the forms of their domain."""
    domains = part.source.tree.domains
    room = {
        domain: KEY_OCTETS + len(domain) - max(len(form.encode()) for form in domains[domain]) for domain in domains
    }
    include = [address.encode() for address in part.source.tree.include]
    if max(map(len, chain(part.own, include)), default=0) <= min(room.values(), default=0):
        return []
    every = (address.decode() for address in sorted({*part.own, *include}))
    return [address for address in every if len(address.encode()) > room[address.rpartition("@")[2]]]


def _with_long(part: CustomerRecipients, long: Sequence[str]) -> CustomerRecipients:
    """Return the part with an expression for each long address; of too many the domains are open, and named."""
    beyond = frozenset(address.rpartition("@")[2] for address in long[LONG:])
    told = ""
    if beyond:
        told = (
            f"{len(long)} addresses are longer than {KEY_OCTETS} octets, the first {escape(long[0], 60)}; of more than"
        )
        told = f"{told} {LONG} such none can be looked up, so {', '.join(sorted(beyond))} stays open"
    return part._replace(open=part.open | beyond, long=tuple(long[:LONG]), told=told)


def _split_addresses(source: CustomerInput) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the addresses in its own domains, and those in domains that were. Raises Damaged."""
    lines = _lines(source.files.recipients)
    own = _endings(source.tree.domains)
    if all(map(bytes.endswith, lines, repeat(own))):
        return lines, ()
    known = own + _endings(_former_domains(source))
    for number, line in enumerate(lines, 1):
        if not line.endswith(known):
            raise Damaged(f"recipients, line {number}: {escape(line.decode(), 80)!r} is in no domain of its own")
    return [line for line in lines if line.endswith(own)], [line for line in lines if not line.endswith(own)]


def _lines(recipients: bytes) -> list[bytes]:
    """Return the lines of a list: addresses, each once, whole and folded, as Postfix reads them. Raises Damaged."""
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
    if max(map(len, lines), default=0) >= LINE or not all(map(is_address, lines)):
        number, line = next((at, each) for at, each in enumerate(lines, 1) if len(each) >= LINE or not is_address(each))
        raise Damaged(f"recipients, line {number}: {escape(line.decode(), 80)!r} is no address")
    return lines


def _in_no_address(character: str) -> bool:
    """Return whether it is a control, a blank, or unknown to our Unicode: Postfix may fold that into another."""
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cn")


def _endings(domains: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(f"@{domain}".encode() for domain in domains)


def _former_domains(source: CustomerInput) -> set[str]:
    """Return the domains that were the customer's own in root's last copy, or in which that copy has addresses."""
    tree, lines = source.copy.read_tree(), source.copy.read_files().recipients.decode(errors="replace").split("\n")
    return {line.rpartition("@")[2] for line in lines if line}.union(tree.domains if tree else ())
