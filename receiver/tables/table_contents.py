"""What the tables say, from what customers have: pure, and the same on every relay that has the same.

A domain moves between customers by one change of both trees, so that only its new owner claims it. It is open, and the
old owner's addresses in it stay listed, until the new owner's first list is accepted. An interrupted change may leave
two trees that claim the domain: then both lists count, it is open until both are accepted, and the route in force
stays.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from receiver.tables import unlisted
from receiver.tables.customer_recipients import CustomerRecipients
from receiver.tables.table import Table, any_case, any_of

_PLUS = (
    (rb'/^([^+"@]+)\+[^@]*@(%b)$/', b"$1@$2"),
    (rb'/^("[^+"\\]+)\+([^"\\]|\\.)*"@(%b)$/', b'$1"@$3'),
)  # user+tag@, "a user+tag"@, and the key of theirs that is listed


def compose_tables(parts: Sequence[CustomerRecipients], routes: Mapping[str, str]) -> tuple[Table, ...]:
    """Return the texts, then exchange_recipients, transport, others and relay_domains; `routes` are those in force."""
    domains = sorted({form for part in parts for form, _ in part.forms()})
    return (
        _compose_odd(parts, domains),
        _compose_plus(parts),
        *unlisted.compose_texts(find_words(parts)),
        Table("exchange_recipients", _list_recipients(parts)),
        _compose_transport(parts, routes),
        compose_others(domains),
        compose_relay_domains(domains),
    )


def find_words(parts: Sequence[CustomerRecipients]) -> dict[str, str]:
    """Return by form of a domain what happens to unlisted addresses, where they are not refused, and it is closed."""
    return unlisted.find_words(parts, _open_forms(parts))


def compose_relay_domains(domains: Iterable[str]) -> Table:
    """Return relay_domains."""
    return Table("relay_domains", [domain.encode() for domain in domains])


def compose_others(domains: Sequence[str]) -> Table:
    """Return the table that lists every address in a domain that is not ours."""
    conditions = [b"if !/@(%b)$/" % some for some in any_of(domains)]
    lines = {**dict.fromkeys(conditions, b""), b"/./": b"OK", b"endif": b""}
    return Table("others", [*conditions, b"/./", *[b"endif"] * len(conditions)], lines, built=False)


def _compose_plus(parts: Sequence[CustomerRecipients]) -> Table:
    """Return the table that turns user+tag@ into user@, in the domains where that is wanted.

    A name that begins with + has no such key, and a list may have an address with + in it: that is looked up before.
    """
    forms = sorted({form for part in parts if part.source.takes_plus() for form, _ in part.forms()})
    lines = {text % some: key for some in any_of(forms) for text, key in _PLUS}
    return Table("plus", list(lines), lines, built=False)


def _compose_odd(parts: Sequence[CustomerRecipients], domains: Iterable[str]) -> Table:
    """Return the table of keys that stand in exchange_recipients in another form, and of those too long for it.

    No line may begin with #, so #sales@ is written there as "#sales"@. Lines for domains, and not for each such
    address, keep the text short: every smtpd has a copy. A long key has the value of a listed address, postmaster@.
    """
    lines = {rb'/^(#[^"@]*)@(%b)$/' % some: b'"$1"@$2' for some in any_of(domains)}
    for part in parts:
        for address in part.long:
            local, _, domain = address.rpartition("@")
            for form in part.source.tree.domains[domain]:
                lines[f"/^{any_case(f'{local}@{form}')}$/".encode()] = f"postmaster@{form}".encode()
    return Table("odd", list(lines), lines, built=False)


def _open_forms(parts: Sequence[CustomerRecipients]) -> frozenset[str]:
    """Return the forms of domains in which everybody is listed; one that is claimed twice closes only where both do."""
    return frozenset(form for part in parts for form, domain in part.forms() if domain in part.open)


def _list_recipients(parts: Sequence[CustomerRecipients]) -> list[bytes]:
    asked = {form for form, word in find_words(parts).items() if word == unlisted.ASK}  # the server has the last word
    opened = {form.encode() for form in _open_forms(parts)}
    found = [b"@" + form for form in (*opened, *map(str.encode, asked))]
    for part in parts:
        long = {address.encode() for address in part.long}
        found += [address for address in part.own if address not in long] if long else part.own
        found += _in_other_forms(part, long)
        found += (address for address in part.left if address.rpartition(b"@")[2] in opened)
        found += (f"postmaster@{form}".encode() for form, _ in part.forms())
    found.sort()
    return [address for address, _ in groupby(found)]


def _in_other_forms(part: CustomerRecipients, long: Container[bytes]) -> Iterator[bytes]:
    include = [address for address in map(str.encode, part.source.tree.include) if address not in long]
    yield from include
    for form, domain in part.forms():
        if form != domain:
            ending = f"@{domain}".encode()
            of_it = (address for address in (*part.own, *include) if address.endswith(ending) and address not in long)
            yield from (address[: -len(domain)] + form.encode() for address in of_it)


def _compose_transport(parts: Sequence[CustomerRecipients], in_force: Mapping[str, str]) -> Table:
    claimed: dict[str, list[str]] = {}
    for part in parts:
        for form, _ in part.forms():
            claimed.setdefault(form, []).append(part.source.tree.routes.get(form, ""))
    routes = {}
    for form, each in sorted(claimed.items()):
        current = in_force.get(form, "")
        if route := current if current in each else each[0]:
            routes[form.encode()] = route.encode()
    return Table("transport", list(routes), routes)
