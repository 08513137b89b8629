"""Exports of any size, always the same ones, as ADMIN.EXE of Exchange 5.5 writes them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

DOMAINS = ("acme.example", "acme.co.example")
HEADER = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n"
_GIVEN = ("anna", "bernd", "carla", "dieter", "eva", "frank", "gabi", "hans", "ina", "jens", "karin", "lars", "maria")
_FAMILY = ("fischer", "weber", "meyer", "wagner", "becker", "schulz", "hoffmann", "koch", "bauer", "richter", "klein")


def rows(count: int) -> Iterator[str]:
    """Two internet addresses each; one in a hundred rows needs the careful way, one address in forty is not ours."""
    dice = random.Random(55)
    for number in range(count):
        given, family = dice.choice(_GIVEN), f"{dice.choice(_FAMILY)}{dice.randrange(10**7)}"
        x400 = f"X400:c=DE;a= ;p=Acme;o=Berlin;s={family};g={given};"
        first = f"SMTP:{given}.{family}@acme.example%{x400}"
        if number % 100 == 0:
            first = f'"CCMAIL:{family}, {given} at ""Berlin""%MS:ACME\\\\BERLIN/{number}%{first}"'
        second = f"smtp:{given[0]}{family}@{'acme.co.example' if number % 20 else 'provider.example'}"
        yield f"{'dl' if number % 30 == 0 else 'Mailbox'}\t{first}\t{second}\r\n"


def write(path: Path, count: int, others: Sequence[str] = (), mark: bytes = b"") -> Path:
    """Write one, with mailboxes of these names besides; `mark`: what ends it."""
    with path.open("wb") as file:
        file.write(HEADER.encode())
        file.writelines(row.encode() for row in rows(count))
        file.writelines(f"Mailbox\tSMTP:{name}@acme.example\t\r\n".encode() for name in others)
        file.write(mark)
    return path
