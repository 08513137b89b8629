from __future__ import annotations

import random
from collections import Counter

import pytest

from common.settings import BadSettings
from receiver.upload import formats
from receiver.upload.formats import BadExport, exchange_55
from tests.support.dice import seeds

HEADER = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n"


def values(text: str) -> list[str]:
    return list(exchange_55.values(text.encode()))


def test_values_are_given_as_written() -> None:
    assert values(HEADER + "Mailbox\tSMTP:Anna@Acme.Example%X400:c=US;a= ;s=\t\r\n") == [
        "SMTP:Anna@Acme.Example",
        "X400:c=US;a= ;s=",
    ]


def test_the_outside_address_of_a_contact_is_never_taken() -> None:
    header = HEADER.replace("E-mail addresses", "E-mail address\tE-mail addresses")
    assert values(header + "Remote\tSMTP:joe@outside.example\tSMTP:joe@acme.example\t\r\n") == ["SMTP:joe@acme.example"]


def test_lists_public_folders_and_hidden_recipients_are_not_forgotten() -> None:
    header = HEADER.replace("Obj-Class", "Obj-Class\tHide from AB")
    kinds = ["Mailbox\t1", "dl\t0", "Remote\t", "Public-Folder\t1", "MAILBOX\t"]
    rows = [f"{kind}\tSMTP:a{number}@acme.example\t\r\n" for number, kind in enumerate(kinds)]
    assert len(values(header + "".join(rows))) == len(kinds)


def test_an_export_of_many_thousand_rows_is_not_cut() -> None:
    rows = [f"Mailbox\tSMTP:user{number}@acme.example\tsmtp:u{number}@acme.example\r\n" for number in range(30_000)]
    found = values(HEADER + "".join(rows))
    assert len(found) == len(set(found)) == 60_000


def test_a_fault_far_down_is_named_by_its_line() -> None:
    rows = ["Mailbox\tSMTP:anna@acme.example\t\r\n"] * 20_000
    rows[19_000] = "Mailbox\t=EXCHUSER.001\t\r\n"
    for encoding in ("utf-8", "utf-16"):
        with pytest.raises(BadExport) as refused:
            list(exchange_55.values((HEADER + "".join(rows)).encode(encoding)))
        assert refused.value.line == 19_002


def test_a_row_of_utf_16_is_not_cut_inside_a_character_that_holds_the_bytes_of_a_line_end() -> None:
    rows = "Mailbox\tX400:s=\u0a00\u0041\u0d0a\u000a".replace("\n", "\t\r\n") * 20_000  # 00 0A 41 00, 0A 0D
    found = list(exchange_55.values((HEADER + rows).encode("utf-16")))
    assert Counter(found) == {"X400:s=\u0a00\u0041\u0d0a": 20_000}


def test_a_long_field_is_no_fault() -> None:
    members = "%".join(f'"MEMBER" {number}' for number in range(20_000)).replace('"', '""')
    header = HEADER.replace("\r\n", "\tMembers\r\n")
    assert values(f'{header}dl\tSMTP:staff@acme.example\t\t"{members}"\r\n') == ["SMTP:staff@acme.example"]


def test_a_format_nobody_knows_is_a_fault_of_the_settings() -> None:
    assert formats.find_format("exchange-5.5") is exchange_55
    with pytest.raises(BadSettings, match="exchange-2027"):
        formats.find_format("exchange-2027")


# Values made to find a difference between the quick reading and the careful one.
PIECES = [
    *("a", "Joe.Smith", "ü", "例", "@acme.example", "@ACME.example", "@other.example", "@", ":", "SMTP:", "smtp:"),
    *("X400:c=US;a= ;", " ", ",", "\t", "%", "\\", '"', "#", "*", ".", "=", "..", "\x01", "\x85", "\u2028", "'"),
]


def written(values: list[str], separator: str, dice: random.Random) -> str:
    """Return a column as ADMIN would: escaped, and quoted if it must be or at times for no reason."""
    column = "%".join(value.replace("\\", "\\\\").replace("%", "\\%") for value in values)
    if separator in column or column.startswith('"') or ('"' in column and dice.random() < 0.5) or dice.random() < 0.01:
        return '"' + column.replace('"', dice.choice(['""', '\\"'])) + '"'
    return column


def made_up(dice: random.Random) -> tuple[bytes, list[str]]:
    """Return an export and the values in it. Some are mostly made of plain rows, some of nothing but traps."""
    separator, encoding = dice.choice("\t,"), dice.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
    columns = ["Obj-Class", "E-mail addresses", "Secondary-Proxy-Addresses", *["Notes"] * dice.randrange(2)]
    dice.shuffle(columns)
    traps = dice.choice([0, 0.001, 0.3])
    rows, every = [separator.join(columns)], []
    for number in range(dice.choice([3, 300, 6_000])):
        row = {"Obj-Class": "Mailbox", "Notes": dice.choice(["", "=x", "50%"])}
        for column in set(columns) - set(row):
            made = [f"SMTP:u{number}.{column[:1]}@acme.example", "MS:ACME/HQ/U"][: dice.randrange(3)]
            if dice.random() < traps:
                made = ["".join(dice.choices(PIECES, k=dice.randrange(1, 6))).lstrip("=") for _ in range(3)]
            every += made
            row[column] = written(made, separator, dice)
        rows.append(separator.join(row[column] for column in columns))
        if dice.random() < traps / 10:
            rows[-1] = rows[-1].rstrip(separator)
    text = "".join(row + ("\r\n" if dice.random() < 1 - traps / 100 else "\n") for row in rows)
    bom = b"\xfe\xff" if encoding == "utf-16-be" else b""
    return bom + text.encode(encoding), [value for value in every if value]


@pytest.mark.parametrize("seed", seeds(40))
def test_what_was_put_into_an_export_comes_out_whichever_way_its_rows_are_read(seed: int) -> None:
    export, every = made_up(random.Random(seed))
    assert Counter(exchange_55.values(export)) == Counter(every)


@pytest.mark.parametrize("seed", seeds(40))
def test_any_bytes_are_either_read_or_refused(seed: int) -> None:
    dice = random.Random(seed)
    export = bytearray(made_up(dice)[0])
    for _ in range(dice.randrange(1, 30)):
        export[dice.randrange(len(export))] = dice.choice(b'\t\r\n\0%"\\=,\xff\xe4A\x81\xd8')
    found, fault = read(bytes(export))
    if fault is None:
        assert not any("\n" in value or not value for value in found)
    else:
        assert fault.line is not None
        assert 1 <= fault.line <= export.count(b"\n") + 1


def read(export: bytes) -> tuple[list[str], BadExport | None]:
    try:
        return list(exchange_55.values(export)), None
    except BadExport as fault:
        return [], fault
