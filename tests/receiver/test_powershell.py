from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest

from receiver.upload.formats import BadExport, powershell
from receiver.upload.stream import strip_end_mark
from tests.support.dice import seeds

HEADER = "Type\tFlags\tAddresses\r\n"


def values(text: str) -> list[str]:
    return list(powershell.values(text.encode()))


def test_values_are_given_as_written() -> None:
    assert values(HEADER + "UserMailbox\t\tSMTP:Anna@Acme.Example;X400:c=US\\;a= \\;s=\r\n") == [
        "SMTP:Anna@Acme.Example",
        "X400:c=US;a= ;s=",
    ]


@pytest.mark.parametrize(
    ("owner", "kinds"),
    [
        ("UserMailbox\t", ()),
        ("Unknown\t", ()),
        ("UserMailbox\thidden", ("hidden",)),
        ("UserMailbox\tdisabled,hidden,internal", ("internal only", "hidden", "disabled")),
        ("SharedMailbox\thidden,disabled", ("hidden",)),
        ("ArbitrationMailbox\tinternal,hidden,disabled", ("arbitration mailboxes", "internal only", "hidden")),
        ("MonitoringMailbox\t", ("health mailboxes",)),
        ("MailContact\tinternal", ("contacts", "internal only")),
    ],
)
def test_each_block_says_of_what_kinds_the_owners_of_its_addresses_are(owner: str, kinds: tuple[str, ...]) -> None:
    blocks = powershell.values(f"{HEADER}{owner}\tSMTP:a@acme.example\r\n".encode()).blocks
    assert [block.kinds for block in blocks] == [kinds]


def test_an_export_of_many_thousand_rows_is_not_cut() -> None:
    rows = [
        f"UserMailbox\t\tSMTP:user{number}@acme.example;smtp:u{number}@acme.example\r\n" for number in range(30_000)
    ]
    found = values(HEADER + "".join(rows))
    assert len(found) == len(set(found)) == 60_000


def test_a_fault_far_down_is_named_by_its_line() -> None:
    rows = ["UserMailbox\t\tSMTP:anna@acme.example\r\n"] * 20_000
    rows[19_000] = "UserMailbox\tSMTP:anna@acme.example\r\n"
    with pytest.raises(BadExport) as refused:
        values(HEADER + "".join(rows))
    assert refused.value.line == 19_002


def test_an_attempt_to_bring_in_a_row_without_an_owner_fails() -> None:
    for row in ("SMTP:eve@acme.example", "\tSMTP:eve@acme.example", "\t\tSMTP:eve@acme.example", "a\tb\tc\td"):
        with pytest.raises(BadExport, match="line 3"):
            values(f"{HEADER}UserMailbox\t\tSMTP:a@acme.example\r\n{row}\r\n")


# ---- the end mark the script writes, with rows and SHA-256

EXPORT = (HEADER + "UserMailbox\t\tSMTP:jörg@acme.example\r\n" + "MailUser\t\tSMTP:b@acme.example\r\n").encode()


def marked(export: bytes, rows: int = 3, sha256: str = "") -> bytes:
    """Return an upload as runexport.bat puts it together from exchusers.txt and exchusers.end."""
    return (
        export + f"#postern end rows={rows} sha256={sha256 or hashlib.sha256(export).hexdigest().upper()}\r\n".encode()
    )


def test_rows_and_hash_of_the_end_mark_are_those_of_all_lines_before_it() -> None:
    assert strip_end_mark(marked(EXPORT)) == EXPORT


@pytest.mark.parametrize(
    ("upload", "why"),
    [
        (marked(EXPORT, rows=4), "the end mark says 4 rows, there are 3"),
        (marked(EXPORT, sha256="0" * 64), "the SHA-256 is not the one"),
        (marked(EXPORT).replace("jörg".encode(), b"j?rg"), "the SHA-256 is not the one"),
        (marked(EXPORT).replace(b"\r\nMailUser\t\tSMTP:b@acme.example", b""), "says 3 rows, there are 2"),
        (marked(EXPORT).replace(b"\r\n", b"\n"), "the end mark"),
    ],
)
def test_an_export_that_was_changed_on_its_way_is_refused(upload: bytes, why: str) -> None:
    with pytest.raises(BadExport, match=why):
        strip_end_mark(upload)


# ---- what was put in comes out

PIECES = [
    *("a", "Joe.Smith", "ü", "例", "@acme.example", "@", ":", "SMTP:", "smtp:", "X400:c=US;a= ;", ",", "%", "\\", '"'),
    *("#", ";", ".", "'", "\x01", "\x85", "\u2028", " x"),
]


@pytest.mark.parametrize("seed", seeds(20))
def test_what_was_put_into_an_export_comes_out(seed: int) -> None:
    dice = random.Random(seed)
    rows, every = [], []
    for number in range(dice.choice([3, 3_000])):
        made = [f"SMTP:u{number}@acme.example", "X400:c=DE;a= ;", "".join(dice.choices(PIECES, k=4)).lstrip(" ")]
        made = made[: dice.randrange(4)]
        every += made
        addresses = ";".join(value.replace("\\", "\\\\").replace(";", "\\;") for value in made)
        flags = ",".join(dice.sample(powershell.FLAGS, dice.choice([0, 0, 0, 1, 3])))
        rows.append(f"{dice.choice(['UserMailbox', 'MailContact', 'New'])}\t{flags}\t{addresses}\r\n")
    assert Counter(values(HEADER + "".join(rows))) == Counter(every)
