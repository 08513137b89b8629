"""The same people, exported by each source that tells kinds, are the same recipients; two of the exporters are run."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import NamedTuple

import pytest

from common.settings import Settings
from inventory.sources import Online
from receiver.upload import formats
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.stream import strip_end_mark
from templates import render
from tests.support.pwsh import needs_pwsh, run_script
from tests.templates.test_exchange_online_run import TENANT, write_certificate


class Person(NamedTuple):
    """What a directory knows of a recipient."""

    details: str  # RecipientTypeDetails, and the same as the number that Active Directory has
    number: int
    class_: str
    addresses: tuple[str, ...]
    hidden: bool = False
    internal: bool = False
    disabled: bool = False


def mailbox(name: str, details: str = "UserMailbox", number: int = 1, **flags: bool) -> Person:
    addresses = f"SMTP:{name}@acme.example", f"smtp:{name}.alias@acme.example", f"X400:c=DE;a= ;s={name};"
    return Person(details, number, "user", (*addresses, f"SIP:{name}@acme.example"), **flags)


def other(name: str, details: str, number: int, class_: str = "group", **flags: bool) -> Person:
    return Person(details, number, class_, (f"SMTP:{name}@acme.example", f"smtp:{name}@elsewhere.example"), **flags)


pytestmark = pytest.mark.story

PEOPLE = (
    mailbox("anna"),
    mailbox("o'neil"),
    mailbox("hidden", hidden=True),
    mailbox("büro"),
    mailbox("shared", "SharedMailbox", 1 << 2, disabled=True),
    mailbox("room", "RoomMailbox", 1 << 4, disabled=True),
    mailbox("beamer", "EquipmentMailbox", 1 << 5, disabled=True),
    mailbox("discovery", "DiscoveryMailbox", 1 << 29, disabled=True),
    mailbox("folders", "PublicFolderMailbox", 1 << 36, disabled=True),
    other("contact", "MailContact", 1 << 6, "contact"),
    other("user", "MailUser", 1 << 7, "user"),
    other("list", "MailUniversalDistributionGroup", 1 << 8),
    other("inside", "MailUniversalDistributionGroup", 1 << 8, internal=True),
    other("guards", "MailUniversalSecurityGroup", 1 << 10, hidden=True),
    other("everybody", "DynamicDistributionGroup", 1 << 11, "msExchDynamicDistributionList", internal=True),
    other("folder", "PublicFolder", 1 << 12, "publicFolder"),
    other("rooms", "RoomList", 1 << 28),
)
LEFT_OUT = (
    (),
    ("discovery mailboxes", "public folder mailboxes", "internal only"),
    ("hidden", "contacts"),
    ("public folder mailboxes", "contacts", "internal only", "hidden"),
)


def csvde() -> bytes:
    rows = ["DN,objectClass,userAccountControl,proxyAddresses,msExchHideFromAddressLists,msExchRequireAuthToSendTo,"]
    rows[0] += "msExchRecipientTypeDetails"
    for i, one in enumerate(PEOPLE):
        values = ";".join(address.replace(";", "\\;") for address in one.addresses)
        cell = f'"{values}"' if values.isascii() else f"X'{values.encode().hex()}'"
        flags = ("TRUE" if one.hidden else "", "TRUE" if one.internal else "")
        account = 514 if one.disabled else 512
        rows.append(f'"CN=p{i},DC=acme,DC=example",{one.class_},{account},{cell},{",".join(flags)},{one.number}')
    return "".join(f"{row}\r\n" for row in rows).encode()


def ldap() -> bytes:
    entries = []
    for i, one in enumerate(PEOPLE):
        lines = [f"dn: CN=p{i},DC=acme,DC=example", f"objectClass: {one.class_}"]
        lines += [
            f"proxyAddresses: {address}"
            if address.isascii()
            else f"proxyAddresses:: {base64.b64encode(address.encode()).decode()}"
            for address in one.addresses
        ]
        lines += [f"msExchRecipientTypeDetails: {one.number}", f"userAccountControl: {514 if one.disabled else 512}"]
        lines += ["msExchHideFromAddressLists: TRUE"] * one.hidden + ["msExchRequireAuthToSendTo: TRUE"] * one.internal
        entries.append("".join(f"{line}\n" for line in lines) + "\n")
    return ("".join(entries) + "# pagedresults: cookie=\n").encode()


def read(source: str, export: bytes, leave_out: tuple[str, ...]) -> FilteredExport:
    settings = Settings("acme", source, ("acme.example",), leave_out=leave_out, ldap_attributes=("proxyAddresses",))
    return filter_export(formats.read(export, settings), settings)


def named(choice: FilteredExport) -> set[str]:
    return {address.partition("@")[0].removesuffix(".alias") for address in choice.recipients}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each source writes of PEOPLE; of the scripts, what they wrote when they were run."""
    made = {"csvde": csvde(), "ldap": ldap()}
    online = Online.model_validate({**TENANT, "certificate": "exchange.pem", "key": "exchange.key"})
    for source, modules in (("powershell", "server"), ("exchange-online", "online")):
        folder = tmp_path_factory.mktemp(source)
        script = render(f"windows/{source}/runexport.ps1.j2", server="EX1", online=online)
        (folder / "runexport.ps1").write_bytes(script.encode())
        write_certificate(folder, 100)
        fields = ("Details", "Number", "Class", "Addresses", "Hidden", "Internal", "Disabled")
        people = folder / "people.json"
        people.write_text(json.dumps([dict(zip(fields, one, strict=True)) for one in PEOPLE]), encoding="utf-8")
        ran = run_script(folder / "runexport.ps1", modules, STANDIN_PEOPLE=str(people))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        made[source] = strip_end_mark(
            b"".join((Path(folder) / f"exchusers.{end}").read_bytes() for end in ("txt", "end"))
        )
    return made


@needs_pwsh
@pytest.mark.parametrize("leave_out", LEFT_OUT, ids=", ".join)
def test_the_same_people_are_the_same_recipients_by_each_source(
    leave_out: tuple[str, ...], exports: dict[str, bytes]
) -> None:
    expected = read("csvde", exports["csvde"], leave_out)
    assert len(expected.recipients) > 10
    for source in ("ldap", "powershell", "exchange-online"):
        assert read(source, exports[source], leave_out).recipients == expected.recipients, source


@needs_pwsh
def test_each_kind_that_is_left_out_is_left_out_of_each_source(exports: dict[str, bytes]) -> None:
    everybody = named(read("csvde", exports["csvde"], ()))
    for leave_out, gone in (
        ("discovery mailboxes", {"discovery"}),
        ("public folder mailboxes", {"folders"}),
        ("contacts", {"contact"}),
        ("internal only", {"inside", "everybody"}),
        ("hidden", {"hidden", "guards"}),
    ):
        for source, export in exports.items():
            assert everybody - named(read(source, export, (leave_out,))) == gone, f"{source}, {leave_out}"
