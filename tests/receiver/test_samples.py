"""Sample exports, a folder for each source, each with its expected result beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from common.settings import Settings
from inventory.sources import Source
from lab.host import LabHost
from receiver.upload import formats
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import filter_export
from tests.support.releases import releases

REPO = Path(__file__).resolve().parent.parent.parent
SAMPLES = REPO / "tests" / "exports"


ANY = Settings(customer="acme", format="", domains=())


def name(sample: Path) -> str:
    return f"{sample.parent.name}-{sample.stem}"


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*/*.recipients")), ids=name)
def test_a_sample_export_has_exactly_the_recipients_beside_it(sample: Path) -> None:
    """`# domain A-LABEL [U-LABEL]` (no such line: any domain), `# leave out KIND`, `# left out COUNT REASON`."""
    lines = sample.read_text(encoding="utf-8").splitlines()
    domains = [line.split()[2:] for line in lines if line.startswith("# domain ")]
    left_out = [line[11:].split(" ", 1) for line in lines if line.startswith("# left out ")]
    settings = Settings(
        customer="acme",
        format=sample.parent.name,
        domains=tuple(words[0] for words in domains),
        unicode={words[0]: words[1] for words in domains if len(words) > 1},
        leave_out=tuple(line[12:] for line in lines if line.startswith("# leave out ")),
    )
    choice = filter_export(formats.read(sample.with_suffix(".txt").read_bytes(), settings), settings)
    assert sorted(choice.recipients) == [line for line in lines if not line.startswith("# ")]
    assert choice.left_out == {reason: int(count) for count, reason in left_out}


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*/*.refused")), ids=name)
def test_a_broken_sample_is_refused_with_the_reason_beside_it(sample: Path) -> None:
    settings = Settings("acme", sample.parent.name, ("acme.example",))
    with pytest.raises(BadExport) as refused:
        filter_export(formats.read(sample.with_suffix(".txt").read_bytes(), settings), settings)
    assert str(refused.value) == sample.read_text().strip()


TENANT = "Exchange Online\t1\tacme.example\r\ndomain\tacme.example\tAuthoritative\texact\r\nplus\tyes\r\n"
ROWS = {  # header and a row, into which an address is put
    "exchange-5.5": ("Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n", "Mailbox\t%s\t\r\n"),
    "csvde": ("DN,objectClass,proxyAddresses\r\n", '"CN=A,DC=x",user,%s\r\n'),
    "powershell": ("Type\tFlags\tAddresses\r\n", "UserMailbox\t\t%s\r\n"),
    "exchange-online": (f"{TENANT}Type\tFlags\tAddresses\r\n", "UserMailbox\t\t%s\r\n"),
    "ldap": ("", "dn: cn=a,dc=x\nproxyAddresses: %s\n\n"),
}


@pytest.mark.parametrize("source", ROWS)
def test_a_value_that_holds_two_is_refused_with_the_line_of_its_row(source: str) -> None:
    header, row = ROWS[source]
    values = [f"SMTP:user{number}@acme.example" for number in range(5_000)]
    values[4_321] = "MS:ACME/HQ/ANNA&SMTP:anna@acme.example"
    before = header + "".join(row % value for value in values[:4_321])
    export = header + "".join(row % value for value in values)
    settings = Settings("acme", source, ("acme.example",), ldap_attributes=("proxyAddresses",), ldap_paged=False)
    with pytest.raises(BadExport, match=r"ms:acme/hq/anna&smtp:anna@acme\.example holds") as refused:
        filter_export(formats.read(export.encode(), settings), settings)
    assert refused.value.line == before.count("\n") + 1


def test_every_source_has_samples_and_every_sample_says_what_is_expected_of_it() -> None:
    assert {folder.name for folder in SAMPLES.iterdir() if folder.is_dir()} == set(get_args(Source))
    for folder in {*filter(Path.is_dir, SAMPLES.iterdir())} - {SAMPLES / "ldap"}:  # test_ldap.py has those
        expected = [path.stem for path in folder.iterdir() if path.suffix in (".recipients", ".refused")]
        assert sorted(expected) == sorted(path.stem for path in folder.glob("*.txt"))
        if folder.name != "exchange-online":  # its rows are the powershell source's
            assert len(list(folder.glob("*.recipients"))) >= 10


READ_ALL = """
import os, sys; sys.path.insert(0, sys.argv[1])
from receiver.upload import formats
from receiver.upload.recipient_filter import filter_export
from common.settings import Settings
for source in sorted(os.listdir(sys.argv[2])):
    settings = Settings("acme", source, (), exclude=("anna", "*-staff@*", "[z-a]"), leave_out=("hidden",))
    folder = os.path.join(sys.argv[2], source)
    for name in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
        if name.endswith(".txt"):
            with open(os.path.join(folder, name), "rb") as file:
                try:
                    choice = filter_export(formats.read(file.read(), settings), settings)
                    print(ascii([source, name, sorted(choice.recipients), choice.left_out]))
                except formats.BadExport as fault:
                    print(ascii([source, name, str(fault)]))
"""


@pytest.mark.host
@pytest.mark.parametrize("release", releases("bullseye", "forky"))  # Python 3.9 and 3.14
def test_a_relay_of_any_age_reads_the_samples_alike(release: str, lab_host: Callable[..., LabHost]) -> None:
    host = lab_host(release)
    place = host.root / "usr/local/lib/postern"
    place.mkdir(parents=True)
    subprocess.run(["cp", "-r", REPO / "receiver", REPO / "common", SAMPLES, place], check=True)
    there = "/usr/local/lib/postern"
    told = host.run("python3", "-I", "-c", READ_ALL, there, f"{there}/exports").stdout
    here = subprocess.run(
        [sys.executable, "-I", "-c", READ_ALL, REPO, SAMPLES], capture_output=True, text=True, check=True
    ).stdout
    assert told == here
    for recipient in ("ann.lee@acme.example", "room1@acme.example", "openlist@acme.example"):  # a source each
        assert recipient in here
