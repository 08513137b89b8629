"""The script for Exchange Online, run by a real PowerShell 7 against a made-up tenant, and read by the receiver."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from common.settings import Settings
from inventory.sources import Online
from receiver.upload import formats
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.stream import strip_end_mark
from templates import render
from tests.support.pwsh import needs_pwsh, run_script

pytestmark = [needs_pwsh, pytest.mark.slow]
ACME = Settings(customer="acme", format="exchange-online", domains=("acme.example",))
TENANT = {"organization": "acme.onmicrosoft.com", "app_id": "11111111-2222-4333-8444-555555555555"}
KIT = {"runexport.ps1", "exchange.pem", "exchange.key"}
OLD = {"exchusers.txt": "the list of yesterday\r\n", "exchusers.end": "its mark\r\n"}

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


def write_certificate(folder: Path, days: float) -> None:
    """Write a certificate and its key, valid for so many days from now on."""
    key = rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postern")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "exchange.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "exchange.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    for file in ("exchange.pem", "exchange.key"):
        (folder / file).chmod(0o600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A host's folder, with the script, a certificate and what the run before left."""
    online = Online.model_validate({**TENANT, "certificate": "exchange.pem", "key": "exchange.key"})
    (tmp_path / "runexport.ps1").write_text(render("posix/exchange-online/runexport.ps1.j2", online=online))
    write_certificate(tmp_path, 100)
    for name, content in OLD.items():
        (tmp_path / name).write_text(content, newline="")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    return lambda **standin: run_script(folder / "runexport.ps1", "online", **standin)


def exported(ran: subprocess.CompletedProcess[str], folder: Path) -> FilteredExport:
    """Return what the receiver makes of a run that went well and left nothing else behind."""
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert files(folder) == {*KIT, *OLD}
    upload = (folder / "exchusers.txt").read_bytes() + (folder / "exchusers.end").read_bytes()
    return filter_export(formats.read(strip_end_mark(upload), ACME), ACME)


def failed(ran: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return the last sentence of a run that failed and left the old list, its mark and nothing else."""
    assert (ran.returncode, ran.stderr) == (1, ""), ran.stdout
    assert files(folder) == {*KIT, *OLD}
    assert {name: (folder / name).read_bytes().decode() for name in OLD} == OLD
    assert ran.stdout.replace("\n", "").isprintable()
    return ran.stdout.splitlines()[-1].removeprefix("runexport.ps1: ")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def everybody(count: int) -> set[str]:
    """Whom the made-up tenant has in acme.example: all but guests, whose address is foreign."""
    guests = {i for i in range(5, count) if i % 32 in (23, 24)}
    people = set(range(count)) - guests
    return {f"r{i}@acme.example" for i in people} | {f"r{i}.alias@acme.example" for i in people if i % 3 == 0}


long = pytest.mark.long


# ---- good runs


@pytest.mark.parametrize(
    "count", [200, pytest.param(1, marks=long), pytest.param(1_001, marks=long), pytest.param(50_000, marks=long)]
)
def test_everybody_of_a_tenant_is_listed(count: int, run: Run, folder: Path) -> None:
    ran = run(STANDIN_COUNT=str(count))
    choice = exported(ran, folder)
    assert choice.recipients == everybody(count)
    assert (choice.open_domains, choice.plus_addresses) == (frozenset(), True)
    first, second, last = ran.stdout.splitlines()
    assert first.startswith("runexport.ps1: PowerShell 7")
    assert first.endswith("ExchangeOnlineManagement 3.10.1")
    assert "valid until 20" in second
    assert last == f"runexport.ps1: {count} recipients exported"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("Get-EXORecipient:180:short", marks=long),
        pytest.param("Get-EXOMailbox:140:short", marks=long),
        pytest.param("Get-MailContact:0:short", marks=long),
        pytest.param("Get-DistributionGroup:3:warned", marks=long),
        pytest.param("Get-UnifiedGroup:0:no-right", marks=long),
    ],
)
def test_a_look_that_was_cut_a_little_is_mended_by_the_other(fault: str, run: Run, folder: Path) -> None:
    if fault.endswith("warned"):
        assert "gave only a part" in failed(run(STANDIN_FAIL=fault), folder)
    else:
        assert exported(run(STANDIN_FAIL=fault), folder).recipients == everybody(200)


@long
def test_somebody_who_is_deleted_between_the_looks_is_not_listed(run: Run, folder: Path) -> None:
    ran = run(STANDIN_FAIL="Get-EXORecipient:10:gone")
    assert exported(ran, folder).recipients == everybody(200) - {"r9@acme.example", "r9.alias@acme.example"}
    assert "3 addresses differed and were looked up; 3 gone" in ran.stdout


@long
def test_who_gets_mail_from_inside_only_and_who_is_hidden_is_said(run: Run, folder: Path) -> None:
    assert run().returncode == 0
    rows = [line.split("\t") for line in (folder / "exchusers.txt").read_text().splitlines()]
    flags = {row[2].partition(";")[0]: row[1] for row in rows if len(row) == 3 and row[2].startswith("SMTP:")}
    assert flags["SMTP:r11@acme.example"] == "hidden"
    assert {flags[f"SMTP:r{number}@acme.example"] for number in (26, 28, 30)} == {"internal"}
    assert flags["SMTP:r27@acme.example"] == ""


@long
@pytest.mark.parametrize("days", [29, 3])
def test_a_certificate_that_runs_out_within_a_month_is_said_at_the_start(days: int, run: Run, folder: Path) -> None:
    write_certificate(folder, days + 0.5)
    ran = run()
    exported(ran, folder)
    assert f"THE CERTIFICATE EXPIRES IN {days} DAYS" in ran.stdout


# ---- failures


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("Get-EXORecipient:100:short", "two looks at the same recipients differ in "),
        ("Connect-ExchangeOnline:0:two-tenants", "connected to fabrikam.onmicrosoft.com and acme.onmicrosoft.com, "),
        *(
            pytest.param(fault, sentence, marks=long, id=fault)
            for fault, sentence in (
                ("Get-EXOMailbox:20:short", "two looks at the same recipients differ in "),
                ("Get-EXORecipient:0:short", "Get-EXORecipient gave nobody"),
                ("Get-EXORecipient:50:throttled", "Get-EXORecipient: Microsoft had too many requests"),
                ("Get-EXORecipient:50:errorstream", "Get-EXORecipient: Microsoft did not answer in time"),
                ("Get-EXORecipient:50:warned", "Get-EXORecipient gave only a part: There are more results"),
                ("Get-EXORecipient:0:masked-401", "Get-EXORecipient: not allowed (401): the app's role is missing"),
                ("Get-EXORecipient:0:no-right", "Get-EXORecipient: the app's role in Exchange lacks this command"),
                ("Get-MailUser:2:throttled", "Get-MailUser: Microsoft had too many requests"),
                ("Get-MailUser:2:errorstream", "Get-MailUser: Microsoft did not answer in time"),
                ("Get-MailUser:0:no-right", "Get-MailUser: the app's role in Exchange lacks this command"),
                ("Get-MailPublicFolder:0:no-right", "Get-MailPublicFolder: the app's role in Exchange lacks"),
                ("Get-AcceptedDomain:0:no-right", "Get-AcceptedDomain: the app's role in Exchange lacks this command"),
                ("Get-AcceptedDomain:1:parameters", "Get-AcceptedDomain: the app's role in Exchange lacks a part of"),
                ("Get-AcceptedDomain:0:short", "Get-AcceptedDomain: acme.onmicrosoft.com has no domain"),
                ("Get-OrganizationConfig:0:no-right", "Get-OrganizationConfig: the app's role in Exchange lacks"),
                ("Connect-ExchangeOnline:0:certificate-expired", "Connect-ExchangeOnline: the certificate has expired"),
                ("Connect-ExchangeOnline:0:no-powershellget", "Connect-ExchangeOnline: PowerShellGet and PackageMana"),
                ("Connect-ExchangeOnline:0:malformed", "Connect-ExchangeOnline: the app has another permission than"),
                ("Connect-ExchangeOnline:0:unassigned", "Connect-ExchangeOnline: the app lacks the permission Exchan"),
            )
        ),
    ],
)
def test_a_failure_is_said_in_a_sentence_and_leaves_the_old_list(
    fault: str, sentence: str, run: Run, folder: Path
) -> None:
    assert failed(run(STANDIN_FAIL=fault), folder).startswith(sentence)


@long
def test_a_domain_list_that_lost_ours_is_the_wrong_tenant_for_the_relay(run: Run, folder: Path) -> None:
    assert run().returncode == 0
    upload = (folder / "exchusers.txt").read_bytes().replace(b"domain\tacme.example\tAuthoritative\texact\r\n", b"")
    with pytest.raises(formats.BadExport, match="none of the domains of this Exchange Online"):
        formats.read(upload, ACME)


@long
def test_a_host_without_the_module_is_told_how_it_comes(run: Run, folder: Path) -> None:
    said = failed(run(PSModulePath=str(folder)), folder)
    assert said.startswith("the module ExchangeOnlineManagement is not here: Install-Module")


@long
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: write_certificate(folder, -1), "the certificate has expired on "),
        (lambda folder: (folder / "exchange.key").chmod(0o640), "exchange.key: others may use it; chmod 0600 it"),
        (lambda folder: (folder / "exchange.key").write_text("no key"), "are no certificate and its key"),
    ],
)
def test_a_certificate_that_cannot_serve_is_found_before_anything_is_asked(
    spoil: Callable[[Path], object], sentence: str, run: Run, folder: Path
) -> None:
    spoil(folder)
    assert sentence in failed(run(), folder)


@pytest.mark.parametrize("count", ["50", pytest.param("4000", marks=long)])
def test_a_full_disk_leaves_no_draft(count: str, run: Run, folder: Path) -> None:
    (folder / "exchusers.new").symlink_to("/dev/full")
    assert "No space left on device" in failed(run(STANDIN_COUNT=count), folder)
