from __future__ import annotations

import random
from collections import Counter

import pytest

from receiver.upload.formats import BadExport, Block, csvde
from receiver.upload.recipient_types import OWNER
from tests.support.dice import seeds

HEADER = (
    "DN,objectClass,userAccountControl,proxyAddresses,msExchHideFromAddressLists,msExchRequireAuthToSendTo,"
    "msExchRecipientTypeDetails\r\n"
)


def values(text: str) -> list[str]:
    return list(csvde.values(text.encode()))


def blocks(text: str) -> list[Block]:
    return list(csvde.values(text.encode()).blocks)


def row(addresses: str, class_: str = "user", account: str = "512", rest: str = ",,") -> str:
    return f'"CN=Anna,OU=Users,DC=acme,DC=example",{class_},{account},{addresses},{rest}\r\n'


def test_values_are_given_as_written() -> None:
    assert values(HEADER + row(r"SMTP:Anna@Acme.Example;X400:c=US\;a= \;s=")) == [
        "SMTP:Anna@Acme.Example",
        "X400:c=US;a= ;s=",
    ]


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        (row("SMTP:a@acme.example"), ()),
        (row("SMTP:a@acme.example", "group", "", "FALSE,FALSE,256"), ()),
        (row("SMTP:a@acme.example", rest="TRUE,,1"), ("hidden",)),
        (row("SMTP:a@acme.example", rest="true,True,1"), ("internal only", "hidden")),
        (row("SMTP:a@acme.example", account="66050"), ("disabled",)),
        (row("SMTP:a@acme.example", account="66050", rest=",,1"), ("disabled",)),
        (row("SMTP:a@acme.example", account="66050", rest=",,4"), ()),
        (row("SMTP:a@acme.example", "contact", ""), ("contacts",)),
        (row("SMTP:a@acme.example", "top;person;organizationalPerson;contact", ""), ("contacts",)),
        (row("SMTP:a@acme.example", "user", "", "TRUE,,64"), ("contacts", "hidden")),
        (row("SMTP:a@acme.example", "msExchSystemMailbox", ""), ("system objects",)),
        (row("SMTP:a@acme.example", account="514", rest="TRUE,,8388608"), ("arbitration mailboxes", "hidden")),
        (row("smtp:x@y;smtp:HealthMailbox0123456@a"), ("health mailboxes",)),
        (row("smtp:HealthMailbox0123456@a", rest="TRUE,,"), ("health mailboxes", "hidden")),
        (row("smtp:HealthMailbox0123456@a", rest=",,1"), ()),
        (row("X400:s=HealthMailbox0123456@a"), ()),
    ],
)  # fmt: skip
def test_each_block_says_of_what_kinds_the_owners_of_its_addresses_are(line: str, kinds: tuple[str, ...]) -> None:
    assert [block.kinds for block in blocks(HEADER + line)] == [kinds]


def test_owners_of_different_kinds_are_in_different_blocks() -> None:
    lines = (
        row("SMTP:a@x") + row("SMTP:b@x;smtp:bb@x", rest="TRUE,,") + row("SMTP:c@x") + row("SMTP:d@x", rest="TRUE,,")
    )
    assert [(block.kinds, block.text.split()) for block in blocks(HEADER + lines)] == [
        ((), ["SMTP:a@x", "SMTP:c@x"]),
        (("hidden",), ["SMTP:b@x", "smtp:bb@x", "SMTP:d@x"]),
    ]


def test_a_number_of_megabytes_costs_no_time() -> None:
    assert [block.kinds for block in blocks(HEADER + row("SMTP:a@x", account="2" * 5_000_000))] == [()]


def test_an_export_of_many_thousand_rows_is_not_cut() -> None:
    rows = [row(f"SMTP:user{number}@acme.example;smtp:u{number}@acme.example") for number in range(30_000)]
    found = values(HEADER + "".join(rows))
    assert len(found) == len(set(found)) == 60_000


@pytest.mark.parametrize("broken", ['"CN=A,user,512,SMTP:a@x,,,\r\n', "CN=A,DC=x,user,512,SMTP:a@x,,,\r\n"])
def test_a_fault_far_down_is_named_by_its_line(broken: str) -> None:
    rows = [row("SMTP:anna@acme.example")] * 20_000
    rows[19_000] = broken
    for encoding in ("utf-8", "utf-16"):
        with pytest.raises(BadExport) as refused:
            list(csvde.values((HEADER + "".join(rows)).encode(encoding)))
        assert refused.value.line == 19_002


def test_somebody_with_a_megabyte_of_addresses_is_no_fault() -> None:
    addresses = ";".join(f"smtp:alias{number}@acme.example" for number in range(30_000))
    assert len(values(HEADER + row(addresses))) == 30_000


# Values made to find a difference between the quick reading and the careful one.
PIECES = [
    *("a", "Joe.Smith", "ü", "例", "@acme.example", "@ACME.example", "@", ":", "SMTP:", "smtp:", "X400:c=US;a= ;"),
    *(",", "\t", "%", "\\", '"', "#", ";", ".", " X'41", "\x01", "\x85", "\u2028", "smtp:HealthMailbox0123456@"),
]
OTHERS = {"userAccountControl": ("512", "514"), "msExchRecipientTypeDetails": ("1", "4", "8388608", "")}


def written(values: list[str], dice: random.Random) -> str:
    """Return a cell as csvde would: escaped, and quoted if it must be or at times for no reason."""
    cell = ";".join(value.replace("\\", "\\\\").replace(";", "\\;") for value in values)
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"') or dice.random() < 0.1 else cell


def made_up(dice: random.Random) -> tuple[bytes, list[str]]:
    """Return an export and the values in it. In some a row in two is a trap, in some none is."""
    columns = ["proxyAddresses", "objectClass", *dice.sample(OWNER[1:], dice.randrange(5))]
    dice.shuffle(columns)
    traps = dice.choice([0, 0.01, 0.5])
    rows, every = [",".join(["DN", *columns])], []
    for number in range(dice.choice([3, 300, 3_000])):
        made = [f"SMTP:u{number}@acme.example", "X400:c=DE;a= ;p=Acme;", f"smtp:{number}@acme.example"]
        made = made[: dice.randrange(1, 4)]
        if dice.random() < traps:
            made = ["".join(dice.choices(PIECES, k=dice.randrange(1, 6))) for _ in range(3)]
            made += [] if "".join(made).strip("; \t\x85\u2028") else ["a"]  # an empty cell is refused
        every += made
        cells = {"proxyAddresses": written(made, dice), "objectClass": "user"}
        cells.update(
            (name, dice.choice(OTHERS.get(name, ("TRUE", "FALSE", "")))) for name in columns if name not in cells
        )
        rows.append(",".join(['"CN=\\""x, y,DC=acme"', *(cells[name] for name in columns)]))
        if dice.random() < traps / 10:
            rows[-1] = rows[-1].rstrip(",")
    text = "".join(line + ("\r\n" if dice.random() < 1 - traps / 100 else "\n") for line in rows)
    return text.encode(dice.choice(["utf-8", "utf-8-sig", "utf-16"])), every


@pytest.mark.parametrize("seed", seeds(40))
def test_what_was_put_into_an_export_comes_out_whichever_way_its_rows_are_read(seed: int) -> None:
    export, every = made_up(random.Random(seed))
    assert Counter(csvde.values(export)) == Counter(every)


@pytest.mark.parametrize("seed", seeds(40))
def test_any_bytes_are_either_read_or_refused(seed: int) -> None:
    dice = random.Random(seed)
    export = bytearray(made_up(dice)[0])
    for _ in range(dice.randrange(1, 30)):
        export[dice.randrange(len(export))] = dice.choice(b"\t\r\n\0%\"\\;,=X'\xff\xe4A\x81\xd8")
    found, fault = read(bytes(export))
    if fault is None:
        assert not any("\n" in value or not value for value in found)
    else:
        assert fault.line is not None
        assert 1 <= fault.line <= export.count(b"\n") + 1


def read(export: bytes) -> tuple[list[str], BadExport | None]:
    try:
        return list(csvde.values(export)), None
    except BadExport as fault:
        return [], fault
