"""From a made-up tenant of Exchange Online, by the kit of a Linux host, to what a relay's SMTP says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, answers
from tests.support.pwsh import PWSH, STANDINS, needs_pwsh
from tests.templates.test_exchange_online_run import TENANT, write_certificate

pytestmark = [pytest.mark.host, pytest.mark.long, needs_pwsh]

LISTED = 224  # of 200 recipients: neither those that get mail from inside alone, nor discovery and folders' mailboxes
ASKED = {
    "r9@acme.example": "250",
    "r9.alias@acme.example": "250",
    "r11@acme.example": "250",  # hidden
    "r3@acme.example": "250",  # a list of rooms
    "r29@acme.example": "250",  # a public folder
    "r9+tag@acme.example": "250",  # as the tenant takes it
    "nobody@acme.example": "550",
    "r28@acme.example": "550",  # a group that takes mail from inside alone
}

WRITES = r"""
head='Exchange Online\t1\tacme.onmicrosoft.com\r\ndomain\tacme.example\tAuthoritative\texact\r\nplus\tyes\r\n'
printf "${head}Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:anna@acme.example\r\n" > exchusers.txt
echo '#postern end' > exchusers.end
"""


@pytest.fixture
def relay(lab_host: Callable[..., LabHost]) -> LabHost:
    relay = lab_host("bookworm")
    relay.start_postfix()
    return relay


def make_kit(operator: AtOnce, relay: LabHost, folder: Path) -> None:
    """Put a kit into a folder, as the customer's admin does, with a certificate of the tenant's."""
    elsewhere = dict.fromkeys(("server", "install", "basepoint"))
    online = {**TENANT, "certificate": "exchange.pem", "key": "exchange.key"}
    exchange = {"source": "exchange-online", "client": "openssh", "directory": str(folder), "online": online}
    operator.relay("mx1", relay)
    where = {"addresses": ["127.0.0.0/8"], **elsewhere}
    operator.customer("acme", canaries=["r9@acme.example"], exchange={**exchange, **where})
    operator.done("provision acme")
    shutil.copytree(operator.kits / "acme", folder)
    (folder / "exchupdate-k1").chmod(0o600)
    write_certificate(folder, 100)


def export(folder: Path, **standin: str) -> subprocess.CompletedProcess[str]:
    """Run the kit, with the real ssh and a real PowerShell."""
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder), "TERM": "dumb"}
    return subprocess.run(
        ["sh", str(folder / "runexport.sh")],
        env={**environment, "PSModulePath": str(STANDINS / "online"), **standin},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_tenant_reaches_the_smtp_answers_of_a_relay_from_a_linux_host(relay: LabHost, tmp_path: Path) -> None:
    operator, folder = AtOnce(tmp_path), tmp_path / "export"
    make_kit(operator, relay, folder)
    (folder / "pwsh").write_text(f'#!/bin/sh\nexec {PWSH} "$@"\n')
    (folder / "pwsh").chmod(0o755)

    ran = export(folder)
    assert (ran.returncode, f"acme: first list of acme.example ({LISTED}): held" in ran.stdout) == (3, True), ran.stdout
    operator.accept("acme", f"--first {LISTED}")
    assert answers(relay, *ASKED) == ASKED

    ran = export(folder, STANDIN_FAIL="Get-EXORecipient:100:short")
    assert (ran.returncode, "two looks at the same recipients differ" in ran.stdout) == (4, True), ran.stdout
    ran = export(folder)
    assert (ran.returncode, f"acme: {LISTED} recipients, unchanged" in ran.stdout) == (0, True), ran.stdout
    assert answers(relay, *ASKED) == ASKED


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
def test_a_host_with_the_oldest_ssh_that_we_have_sends_its_list(
    shell: str, relay: LabHost, lab_host: Callable[..., LabHost], tmp_path: Path
) -> None:
    operator, old = AtOnce(tmp_path), lab_host("bullseye")
    make_kit(operator, relay, tmp_path / "export")
    shutil.copytree(tmp_path / "export", old.root / str(tmp_path / "export").lstrip("/"))
    (old.root / "usr/local/bin/pwsh").write_text(f"#!/bin/sh\n{WRITES}")
    (old.root / "usr/local/bin/pwsh").chmod(0o755)
    assert "OpenSSH_8.4" in old.run("ssh", "-V").stderr
    ran = old.run(*shell.split(), str(tmp_path / "export/runexport.sh"), check=False)
    assert (ran.returncode, "acme: canary r9@acme.example is missing; first list" in ran.stdout) == (3, True), ran
