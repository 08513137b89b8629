"""Random exports of all formats, good and broken: the rules that hold for every one of them."""

from __future__ import annotations

import base64
import gc
import random
import time

import pytest

from common.settings import Settings
from receiver.addresses import table_key
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import Tally, filter_export, iterate_recipients
from tests.support.dice import seeds

HEADERS = {
    "exchange-5.5": b"Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n",
    "csvde": b"DN,objectClass,proxyAddresses\r\n",
    "powershell": b"Type\tFlags\tAddresses\r\n",
    "ldap": b"",
    "exchange-online": (
        b"Exchange Online\t1\tacme.onmicrosoft.com\r\n"
        b"domain\tacme.example\tAuthoritative\texact\r\n"
        b"domain\tm\xc3\xbcller.example\tInternalRelay\tsubdomains\r\n"
        b"plus\tyes\r\n"
        b"Type\tFlags\tAddresses\r\n"
    ),
}
ROWS = {  # their values, and what separates these
    "exchange-5.5": (b"Mailbox\t%s\t\r\n", b"%"),
    "csvde": (b'"CN=A,DC=x",user,"%s"\r\n', b";"),
    "powershell": (b"UserMailbox\t\t%s\r\n", b";"),
    "ldap": (b"dn: cn=a,dc=x\nobjectClass: user\nproxyAddresses:%s\n\n", b"\nproxyAddresses:"),
    "exchange-online": (b"UserMailbox\t\t%s\r\n", b";"),
}
DOMAINS = ("acme.example", "xn--mller-kva.example")
SETTINGS = Settings("acme", "", DOMAINS, {"xn--mller-kva.example": "müller.example"}, exclude=("anna", "*-x@*"))
PIECES = [
    *(
        b"SMTP:",
        b"smtp:",
        b"SMTP: ",
        b" smtp:",
        b"X400:c=US;",
        b"MS:A/B",
        b"@acme.example",
        b"@ACME.example",
        b"@b.example",
    ),
    *(
        b"@m\xc3\xbcller.example",
        b"@mu\xcc\x88ller.example",
        b"anna",
        b"john..doe",
        b".",
        b"#",
        b"*",
        b"@",
        b'"',
        b'""',
        b"\\",
    ),
    *(
        b"%",
        b";",
        b"&",
        b",",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"\x95\x5c",
        b"\xe4",
        b"\xc3\xa4",
        b"x" * 330,
        b"=",
    ),
    *(
        b"X'41'",
        b"X'534d54503a614061636d652e6578616d706c650d0a'",
        b"X'",
        b":",
        b"<",
        b"\xef\xbb\xbf",
        b"\xe2\x80\x8b",
        b"\xcd\xb8",
    ),
]


def made_up(source: str, dice: random.Random) -> bytes:
    row, between = ROWS[source]
    broken = dice.choice([0.0, 0.0, 0.02, 0.3])
    rows = []
    for number in range(dice.choice([1, 5, 60])):
        values = [b"SMTP:u%d@acme.example" % number]
        values += [b"".join(dice.choices(PIECES, k=dice.randrange(1, 5))) for _ in range(dice.randrange(3))]
        if dice.random() >= broken:
            parted = (b'"', b"\t", b"\r", b"\n", b"\0", b"\\", b"=", b"%", b";") if dice.random() < 0.9 else ()
            hexed = (b"X'",) if dice.random() < 0.9 else ()  # a format that refuses what is not whole
            for piece in (*parted, *hexed):
                values = [value.replace(piece, b"") for value in values]
        values = [value for value in values if value]
        if source == "ldap":
            values = [written_in_ldif(value, dice) for value in values]
        rows.append(row % between.join(values))
    return HEADERS[source] + b"".join(rows)


def written_in_ldif(value: bytes, dice: random.Random) -> bytes:
    """Return what follows an attribute's colon: base64, a folded line, or the value as it is."""
    form = dice.choice(("base64", "folded", "plain"))
    if form == "base64":
        return b": " + base64.b64encode(value)
    middle = len(value) // 2
    return b" " + (value[:middle] + b"\n " + value[middle:] if form == "folded" else value)


def settings_of(source: str) -> Settings:
    return SETTINGS._replace(format=source, ldap_attributes=("proxyAddresses",), ldap_paged=False)


def values_of(source: str, export: bytes) -> formats.Values:
    return formats.read(export, settings_of(source))


def read(source: str, export: bytes) -> frozenset[str] | None:
    try:
        return filter_export(values_of(source, export), settings_of(source)).recipients
    except BadExport:
        return None


@pytest.mark.parametrize("seed", seeds(200))
@pytest.mark.parametrize("source", ROWS)
def test_whatever_an_export_holds_nothing_but_addresses_of_its_customer_is_listed(source: str, seed: int) -> None:
    export = made_up(source, random.Random(seed))
    for recipient in read(source, export) or ():
        local, _, domain = recipient.rpartition("@")
        assert domain in DOMAINS
        assert local not in ("", "*", '""', '"*"')
        assert not table_key(recipient).startswith(("#", " "))
        assert recipient.isprintable()
        assert recipient == recipient.casefold()


@pytest.mark.parametrize("source", ROWS)
def test_half_of_the_exports_made_up_are_read_to_their_end(source: str) -> None:
    """If most of them were refused, the other tests here would show little."""
    assert sum(bool(read(source, made_up(source, random.Random(seed)))) for seed in range(40)) >= 20


@pytest.mark.parametrize("seed", seeds(200))
@pytest.mark.parametrize("source", ROWS)
def test_every_value_of_an_export_is_either_listed_or_counted(source: str, seed: int) -> None:
    export, tally = made_up(source, random.Random(seed)), Tally()
    try:
        values = [*values_of(source, export)]
        listed = [*iterate_recipients(values_of(source, export), settings_of(source), tally)]
    except BadExport:
        return
    assert len(listed) + sum(tally.counts.values()) == len(values)
    assert sum(count for _, count in tally.left_out.items()) == sum(tally.counts.values())


@pytest.mark.parametrize("seed", seeds(200))
@pytest.mark.parametrize("source", ROWS)
def test_an_added_row_removes_nobody(source: str, seed: int) -> None:
    dice = random.Random(seed)
    export, more = made_up(source, dice), made_up(source, dice)[len(HEADERS[source]) :]
    with_more = read(source, export + more)
    if with_more is not None:
        assert with_more >= (read(source, export) or frozenset())


SHAPES = {
    "ordinary rows": (
        "exchange-5.5",
        b"Mailbox\tSMTP:anna@acme.example%X400:c=US;a= ;p=Acme;\tsmtp:a@acme.example\r\n",
    ),
    "empty rows": ("exchange-5.5", b"\n"),
    "rows of a letter": ("exchange-5.5", b"M\r\n"),
    "rows of quotes": ("exchange-5.5", b'""\n'),
    "rows of half letters": ("exchange-5.5", b"M\t\x95\\%\t\n"),
    "rows of half letters in quotes": ("exchange-5.5", b'M\t"\x95\\"\t\n'),
    "addresses of none": ("exchange-5.5", b"M\tsmtp:<@acme.example\t\n"),
    "ordinary rows of csvde": ("csvde", b'"CN=A,DC=x",user,"SMTP:anna@acme.example;X400:c=US\\;a= \\;"\r\n'),
    "empty rows of csvde": ("csvde", b"\n"),
    "short rows of csvde": ("csvde", b"=,,:\n"),
    "values in hex": ("csvde", b"=,,X'41'\n"),
    "short rows of powershell": ("powershell", b"M\t\t:\n"),
    "ordinary entries of ldap": ("ldap", b"dn: cn=a,dc=x\nproxyAddresses: SMTP:anna@acme.example\n\n"),
    "folded entries of ldap": ("ldap", b"dn: cn=a,dc=x\nproxyAddresses: SMTP:a\n @\n acme.example\n\n"),
    "values of one letter of ldap": ("ldap", b"dn:\nproxyAddresses:a\n\n"),
    "empty lines of ldap": ("ldap", b"\n"),
    "short rows of exchange-online": ("exchange-online", b"M\t\t:\n"),
}
FEW, MANY = 1 << 15, 1 << 18  # bytes


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_eight_times_the_bytes_of_an_export_cost_about_eight_times_as_much(shape: str) -> None:
    """Were each row read again for each row, they would cost sixty-four times as much, whenever it is measured.

    What runs beside this slows a reading down, for seconds: so both are measured at once, and again.
    """
    source, row = SHAPES[shape]
    few, many = (HEADERS[source] + row * (size // len(row)) for size in (FEW, MANY))
    assert any(cost(source, many) < 30 * cost(source, few) + 0.02 for _ in range(20))


def cost(source: str, export: bytes) -> float:
    """Return the seconds of processor time that one reading took.

    Without the seconds in which Python's collector goes through what pytest holds: a large export makes it do so.
    """
    gc.freeze()
    try:
        began = time.process_time()
        read(source, export)
        return time.process_time() - began
    finally:
        gc.unfreeze()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "half letters" not in shape])
def test_no_shape_of_rows_costs_a_hundred_times_what_ordinary_ones_do(shape: str) -> None:
    """An export of empty rows did."""
    source, row = SHAPES[shape]
    ordinary = SHAPES["ordinary rows"][1]
    usual = HEADERS["exchange-5.5"] + ordinary * (MANY // len(ordinary))
    odd = HEADERS[source] + row * (MANY // len(row))
    assert any(cost(source, odd) < 100 * cost("exchange-5.5", usual) + 0.02 for _ in range(20))
