"""runexport.sh with source exchange-online: what the script of PowerShell wrote whole is sent, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from common.settings import Settings
from inventory.exchange import Exchange
from receiver.upload import formats
from receiver.upload.recipient_filter import filter_export
from receiver.upload.stream import strip_end_mark
from roles import customer_host as customer_role
from tests.roles.test_customer_host import customer, relay
from tests.support.pwsh import PWSH, STANDINS, needs_pwsh
from tests.templates.test_exchange_online_run import TENANT, everybody, write_certificate

LIST = (
    "Exchange Online\t1\tacme.onmicrosoft.com\r\ndomain\tacme.example\tAuthoritative\texact\r\nplus\tyes\r\n"
    "Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:anna@acme.example\r\n"
)
ACME = Settings(customer="acme", format="exchange-online", domains=("acme.example",))


class Kit:
    """A kit on this machine, with an ssh that keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder / "kit", folder / "programs"
        self.folder.mkdir()
        self.programs.mkdir()
        end = {
            "source": "exchange-online",
            "addresses": ("198.51.100.7",),
            "directory": str(self.folder),
            "online": {**TENANT, "certificate": "exchange.pem", "key": "exchange.key"},
        }
        one = customer().model_copy(update={"exchange": Exchange.model_validate(end)})
        for item in customer_role.items(one, [relay("mx1")]):
            (self.folder / item.name).write_text(str((item.wanted or {})["content"]))
        (self.folder / "exchupdate-k1").write_text("a key\n")
        self.program("ssh", f"cat > {folder}/sent; echo 'acme: taken'")

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def run(self, shell: str = "sh", **environment: str) -> subprocess.CompletedProcess[str]:
        known = {"PATH": f"{self.programs}:/usr/bin:/bin", "HOME": str(self.programs), "TMPDIR": str(self.programs)}
        script = str(self.folder / "runexport.sh")
        return subprocess.run(
            [*shell.split(), script], env={**known, **environment}, capture_output=True, text=True, check=False
        )

    def sent(self) -> set[str] | None:
        upload = self.folder.parent / "sent"
        return (
            set(filter_export(formats.read(strip_end_mark(upload.read_bytes()), ACME), ACME).recipients)
            if upload.exists()
            else None
        )


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    made = Kit(tmp_path)
    (tmp_path / "list").write_bytes(LIST.encode())
    return made


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
def test_a_list_that_the_script_wrote_whole_is_sent_with_an_end_mark(shell: str, kit: Kit, tmp_path: Path) -> None:
    kit.program("pwsh", f"cp {tmp_path}/list exchusers.txt; echo '#postern end' > exchusers.end; echo 1 exported")
    ran = kit.run(shell)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert kit.sent() == {"anna@acme.example"}
    assert "1 exported" in ran.stdout
    assert not [path for path in kit.folder.iterdir() if path.name.startswith(("exchusers", ".run"))]


@pytest.mark.parametrize(
    ("pwsh", "said"),
    [
        (
            "echo 'runexport.ps1: not allowed'; exit 1",
            "runexport.ps1: not allowed\nrunexport.ps1 failed (1): nothing is",
        ),
        ("cp {}/list exchusers.txt", "runexport.ps1 wrote no exchusers.end: nothing is sent"),
        ("echo mark > exchusers.end", "runexport.ps1 wrote no exchusers.txt: nothing is sent"),
        ("exit 137", "runexport.ps1 was still at it after an hour"),
    ],
)
def test_a_run_without_a_whole_list_sends_nothing_not_even_an_old_one(
    pwsh: str, said: str, kit: Kit, tmp_path: Path
) -> None:
    for name in ("exchusers.txt", "exchusers.end"):
        (kit.folder / name).write_text(LIST)
    kit.program("pwsh", pwsh.format(tmp_path))
    ran = kit.run()
    assert (ran.returncode, kit.sent()) == (4, None), ran.stdout + ran.stderr
    assert said in ran.stdout


def test_a_host_without_powershell_is_told(kit: Kit) -> None:
    if shutil.which("pwsh", path="/usr/bin:/bin"):
        pytest.skip("pwsh is installed on this machine")
    ran = kit.run()
    assert (ran.returncode, kit.sent()) == (4, None)
    assert "pwsh is not there; README.txt, step 2" in ran.stdout


@needs_pwsh
@pytest.mark.long
def test_a_real_powershell_exports_and_runexport_sh_sends(kit: Kit) -> None:
    write_certificate(kit.folder, 100)
    kit.program("pwsh", f'exec {PWSH} "$@"')
    ran = kit.run(PSModulePath=str(STANDINS / "online"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert kit.sent() == everybody(200)
