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
from receiver.upload.recipient_types import (
    ARBITRATION,
    CONTACT,
    DISABLED,
    DISCOVERY,
    HEALTH,
    HIDDEN,
    INTERNAL_ONLY,
    KINDS,
    PLAN,
    PUBLIC_FOLDERS,
    SYSTEM,
)
from receiver.upload.stream import strip_end_mark
from templates import render
from tests.support.pwsh import needs_pwsh, run_script
from tests.templates.test_exchange_online_run import TENANT, write_certificate

DIRECTORY = ("csvde", "ldap")
ON_PREMISES = (*DIRECTORY, "powershell")
EVERY_SOURCE = (*ON_PREMISES, "exchange-online")


class Person(NamedTuple):
    """What a directory knows of a recipient, and which kinds that makes of it."""

    details: str  # RecipientTypeDetails, and the same as the bit that Active Directory has; None: before 2007
    bit: int | None
    class_: str
    addresses: tuple[str, ...]
    kinds: tuple[str, ...]
    hidden: bool
    internal: bool
    disabled: bool
    by: tuple[str, ...]  # the sources that have such recipients and can tell what kind they are

    @property
    def number(self) -> str:
        return "" if self.bit is None else str(1 << self.bit)

    @property
    def listed(self) -> set[str]:
        """Return the addresses of it that are in the customer's domain."""
        smtp = {one[5:].lower() for one in self.addresses if one.lower().startswith("smtp:")}
        return {one for one in smtp if one.endswith("@acme.example")}


def person(
    name: str,
    details: str,
    bit: int | None,
    *kinds: str,
    class_: str = "user",
    by: tuple[str, ...] = EVERY_SOURCE,
    disabled: bool = False,
) -> Person:
    """Return somebody with addresses here and elsewhere; whom kinds name hidden or internal has that said."""
    elsewhere = f"smtp:{name}@elsewhere.example", f"X400:c=DE;a= ;s={name};", f"SIP:{name}@acme.example"
    addresses = f"SMTP:{name}@acme.example", f"smtp:{name}.alias@acme.example", *elsewhere
    disabled = disabled or DISABLED in kinds
    return Person(details, bit, class_, addresses, kinds, HIDDEN in kinds, INTERNAL_ONLY in kinds, disabled, by)


pytestmark = [pytest.mark.story, pytest.mark.slow]

GUID = "1f05a927-3be2-4fb9-aa03-b59fe3b56f4c"
PEOPLE = (
    person("anna", "UserMailbox", 0),
    person("o'neil", "UserMailbox", 0),
    person("büro", "UserMailbox", 0),
    person("director", "UserMailbox", 0, HIDDEN),
    person("board", "UserMailbox", 0, INTERNAL_ONLY),
    person("leaver", "UserMailbox", 0, DISABLED, by=ON_PREMISES),
    person("linked", "LinkedMailbox", 1, by=ON_PREMISES, disabled=True),
    person("shared", "SharedMailbox", 2, disabled=True),
    person("legacy", "LegacyMailbox", 3, by=ON_PREMISES, disabled=True),
    person("room", "RoomMailbox", 4, disabled=True),
    person("beamer", "EquipmentMailbox", 5, disabled=True),
    person("partner", "MailContact", 6, CONTACT, class_="contact"),
    person("trustee", "MailContact", 6, CONTACT, HIDDEN, class_="contact"),
    person("user", "MailUser", 7),
    person("gone", "MailUser", 7, DISABLED, by=ON_PREMISES),
    person("list", "MailUniversalDistributionGroup", 8, class_="group"),
    person("inside", "MailUniversalDistributionGroup", 8, INTERNAL_ONLY, class_="group"),
    person("old-list", "MailNonUniversalGroup", 9, class_="group", by=ON_PREMISES),
    person("guards", "MailUniversalSecurityGroup", 10, HIDDEN, class_="group"),
    person("everybody", "DynamicDistributionGroup", 11, INTERNAL_ONLY, class_="msExchDynamicDistributionList"),
    person("berlin", "DynamicDistributionGroup", 11, class_="msExchDynamicDistributionList"),
    person("folder", "PublicFolder", 12, class_="publicFolder"),
    person("hidden-folder", "PublicFolder", 12, HIDDEN, class_="publicFolder"),
    person("attendant", "SystemAttendantMailbox", 13, SYSTEM, by=ON_PREMISES, disabled=True),
    person("system", "SystemMailbox", 14, SYSTEM, class_="msExchSystemMailbox", by=ON_PREMISES),
    person("other-forest", "MailForestContact", 15, CONTACT, class_="contact", by=ON_PREMISES),
    person("microsoft-exchange", "MicrosoftExchange", 22, SYSTEM, by=ON_PREMISES),
    person(f"systemmailbox{{{GUID}}}", "ArbitrationMailbox", 23, ARBITRATION, by=ON_PREMISES, disabled=True),
    person("plan", "MailboxPlan", 24, PLAN, by=ON_PREMISES, disabled=True),
    person("rooms", "RoomList", 28, class_="group"),
    person("discovery", "DiscoveryMailbox", 29, DISCOVERY, disabled=True),
    person("roles", "RoleGroup", 30, SYSTEM, class_="group", by=ON_PREMISES),
    person("in-the-cloud", "RemoteUserMailbox", 31, by=ON_PREMISES),
    person("gone-in-the-cloud", "RemoteUserMailbox", 31, DISABLED, by=ON_PREMISES),
    person("folders", "PublicFolderMailbox", 36, PUBLIC_FOLDERS, disabled=True),
    person("team", "TeamMailbox", 37, by=ON_PREMISES, disabled=True),
    person("healthmailbox0123456789abcdef", "MonitoringMailbox", 39, HEALTH, by=ON_PREMISES),
    person("group-of-365", "GroupMailbox", 40, class_="group"),
    person("audit", "AuditLogMailbox", 42, SYSTEM, by=ON_PREMISES, disabled=True),
    person("scheduling", "SchedulingMailbox", 44, disabled=True),
    person("later", "MailboxOfTomorrow", 50, by=ON_PREMISES, disabled=True),
    # of Exchange 2000 and 2003, which have no types: classes and names tell
    person("of-2003", "", None, by=DIRECTORY),
    person("partner-of-2003", "", None, CONTACT, class_="contact", by=DIRECTORY),
    person("gone-in-2003", "", None, DISABLED, by=DIRECTORY),
    person("healthmailbox0123456789abcdee", "", None, HEALTH, by=DIRECTORY),
    person(f"federatedemail.{GUID}", "", None, ARBITRATION, by=DIRECTORY),
)
USUAL = (SYSTEM, ARBITRATION, DISCOVERY, HEALTH, PLAN, PUBLIC_FOLDERS, INTERNAL_ONLY)
LEFT_OUT = ((), *((kind,) for kind in KINDS), USUAL, (CONTACT, HIDDEN), KINDS)


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
        lines += [f"msExchRecipientTypeDetails: {one.number}"] if one.number else []
        lines += [f"userAccountControl: {514 if one.disabled else 512}"]
        lines += ["msExchHideFromAddressLists: TRUE"] * one.hidden + ["msExchRequireAuthToSendTo: TRUE"] * one.internal
        entries.append("".join(f"{line}\n" for line in lines) + "\n")
    return ("".join(entries) + "# pagedresults: cookie=\n").encode()


def read(source: str, export: bytes, leave_out: tuple[str, ...]) -> FilteredExport:
    settings = Settings("acme", source, ("acme.example",), leave_out=leave_out, ldap_attributes=("proxyAddresses",))
    return filter_export(formats.read(export, settings), settings)


def expected(source: str, leave_out: tuple[str, ...]) -> set[str]:
    """Return whose addresses are listed, by the table above."""
    taken = (one for one in PEOPLE if source in one.by and not set(one.kinds) & set(leave_out))
    return set().union(*(one.listed for one in taken))


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What each script wrote of PEOPLE when it was run."""
    made = {}
    online = Online.model_validate({**TENANT, "certificate": "exchange.pem", "key": "exchange.key"})
    for source, modules in (("powershell", "server"), ("exchange-online", "online")):
        folder = tmp_path_factory.mktemp(source)
        script = render(f"windows/{source}/runexport.ps1.j2", server="EX1", online=online)
        (folder / "runexport.ps1").write_bytes(script.encode())
        write_certificate(folder, 100)
        fields = ("Details", "Addresses", "Hidden", "Internal", "Disabled")
        people = folder / "people.json"
        theirs = [one for one in PEOPLE if source in one.by]
        people.write_text(json.dumps([{field: getattr(one, field.lower()) for field in fields} for one in theirs]))
        ran = run_script(folder / "runexport.ps1", modules, STANDIN_PEOPLE=str(people))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        made[source] = strip_end_mark(
            b"".join((Path(folder) / f"exchusers.{end}").read_bytes() for end in ("txt", "end"))
        )
    return made


@pytest.mark.parametrize("leave_out", LEFT_OUT, ids=lambda kinds: ", ".join(kinds) or "nobody")
@pytest.mark.parametrize("source", DIRECTORY)
def test_the_same_people_of_a_directory_are_the_same_recipients(source: str, leave_out: tuple[str, ...]) -> None:
    export = csvde() if source == "csvde" else ldap()
    assert read(source, export, leave_out).recipients == expected(source, leave_out)


@needs_pwsh
@pytest.mark.parametrize("leave_out", LEFT_OUT, ids=lambda kinds: ", ".join(kinds) or "nobody")
@pytest.mark.parametrize("source", ["powershell", "exchange-online"])
def test_the_same_people_of_an_exchange_are_the_same_recipients_by_a_script_that_was_run(
    source: str, leave_out: tuple[str, ...], exports: dict[str, bytes]
) -> None:
    assert read(source, exports[source], leave_out).recipients == expected(source, leave_out)


def test_the_table_has_somebody_of_each_kind_and_nobody_whom_no_kind_explains() -> None:
    assert {kind for one in PEOPLE for kind in one.kinds} == {*KINDS}
    assert len({address for one in PEOPLE for address in one.listed}) == 2 * len(PEOPLE)
