"""From the batch on Wine's cmd.exe into what a relay's Postfix answers: each source, each client, and what can fail.

What the batch gives a client, its arguments and its input, a real one of Debian's then sends. With PLINK_EXE in the
environment, a plink.exe of Windows, that one runs in its stand-in's place and talks to the relay itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lab.host import LabHost
from lab.operators import AtOnce, answers, export
from tests.support.pwsh import needs_pwsh
from tests.support.real_clients import RealClients
from tests.support.windows_server import Server, Start, needs_wine
from tests.templates.test_exchange_online_run import TENANT, write_certificate

pytestmark = [*needs_wine, pytest.mark.story]  # all use one relay, and each worker would make one of its own

PLINK_EXE = os.environ.get("PLINK_EXE", "")
PLACES = {"directory": r"D:\userexport", "install": r"D:\exchsrvr"}
PROGRAMS = {"plink": ("plink",), "openssh": ("ssh",), "securecrt": ("vcp", "vsh")}


class Source(NamedTuple):
    """What the customer's file says, what its exporter finds (in DOMAIN), and what becomes of that."""

    exchange: dict[str, Any]
    program: str
    rows: str
    listed: tuple[str, ...]
    left_out: str


SOURCES = {
    "exchange-5.5": Source(
        exchange={"source": "exchange-5.5"},
        program="admin",
        rows="Mailbox\tSMTP:ann@DOMAIN%X400:c=US;a= ;s=Ann;\tsmtp:a@DOMAIN\r\n",
        listed=("ann", "a"),
        left_out="left out 1: 1 not internet",
    ),
    "csvde": Source(
        exchange={"source": "csvde", "server": "DC1", "basepoint": None},
        program="csvde",
        rows="DN,objectClass,proxyAddresses,msExchRequireAuthToSendTo,msExchRecipientTypeDetails\r\n"
        '"CN=Ann,DC=acme,DC=example",user,SMTP:ann@DOMAIN;X400:c=US\\;a= \\;;smtp:a@DOMAIN,,1\r\n'
        '"CN=Staff,DC=acme,DC=example",group,SMTP:staff@DOMAIN,TRUE,256\r\n'
        '"CN=Health,DC=acme,DC=example",user,SMTP:HealthMailbox0123456@DOMAIN,,549755813888\r\n',
        listed=("ann", "a"),
        left_out="left out 3: 1 health mailboxes, 1 internal only, 1 not internet",
    ),
    "powershell": Source(
        exchange={"source": "powershell", "basepoint": None, "take": {"internal_only": True, "hidden": False}},
        program="powershell",
        rows="Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:ann@DOMAIN;X400:c=US\\;a= \\;;smtp:a@DOMAIN\r\n"
        "MailUniversalDistributionGroup\tinternal\tSMTP:all@DOMAIN\r\n"
        "UserMailbox\thidden\tSMTP:staff@DOMAIN\r\n"
        "MonitoringMailbox\thidden\tSMTP:HealthMailbox0123456@DOMAIN\r\n",
        listed=("ann", "a", "all"),
        left_out="left out 3: 1 health mailboxes, 1 hidden, 1 not internet",
    ),
}


class Provider:
    """An operator with a relay of its own."""

    def __init__(self, host: LabHost, folder: Path) -> None:
        host.start_postfix()
        self.host, self.operator = host, AtOnce(folder)
        self.operator.relay("mx1", host)

    def kit(self, customer: str, client: str, **changes: Any) -> Path:
        """Write a customer down and provision it; gives the kit, with its key as the customer has it then."""
        changes["exchange"] = {**PLACES, "client": client, **changes.get("exchange", {})}
        self.operator.customer(customer, **changes)
        if client != "securecrt":
            self.operator.done(f"provision {customer}")
            return self.operator.kits / customer
        key = self.operator.home / f"{customer}.key"
        keygen = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", customer, "-f", str(key)]
        subprocess.run(keygen, check=True)
        self.operator.done(f"provision {customer}", "--public-key", f"{key}.pub")
        shutil.copy(key, self.operator.kits / customer / "exchupdate-k1")
        return self.operator.kits / customer


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with LabHost("bookworm") as host:
        yield Provider(host, tmp_path_factory.mktemp("operator"))


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def server(windows_server: Start, windows_programs: Path) -> Callable[[Path, str], Server]:
    """Sets up a server with a kit and the stand-ins of its client."""

    def start(kit: Path, client: str) -> Server:
        made = windows_server(str(kit))
        for program in PROGRAMS[client]:
            shutil.copy(windows_programs / "recorder.exe", made.folder / f"{program}.exe")
        if PLINK_EXE:
            shutil.copy(PLINK_EXE, made.folder / "plink.exe")
        return made

    return start


def run(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the batch to its end, its client's calls being done for real."""
    with RealClients(server.folder):
        return server.export(*words)


def log_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


# ---- each source by each client


def _each_source_by_each_client() -> list[object]:
    """Return all pairs; each source and each client is in one that is not long."""
    usual = {*zip(SOURCES, PROGRAMS, strict=True)}
    pairs = product(SOURCES, PROGRAMS)
    return [pytest.param(*pair, marks=[] if pair in usual else [pytest.mark.long]) for pair in pairs]


@pytest.mark.parametrize(("source", "client"), _each_source_by_each_client())
def test_a_list_goes_from_cmd_exe_into_the_relay_s_table(
    source: str, client: str, provider: Provider, server: Callable[[Path, str], Server]
) -> None:
    case, customer = SOURCES[source], f"{source.replace('.', '')}-{client}"
    domain, listed = f"{customer}.example", case.listed
    windows = server(provider.kit(customer, client, exchange=case.exchange), client)
    windows.write(f"{case.program}.rows", case.rows.replace("DOMAIN", domain))
    ran = run(windows)
    held = f"{customer}: first list of {domain} ({len(listed)}): held; {len(listed)} added; {case.left_out}"
    assert log_lines(ran.stdout)[-2:] == [held, "runexport ends with 3"], ran.stdout
    assert ran.returncode == 3
    provider.operator.accept(customer, f"--first {len(listed)}")
    asked = [f"{local}@{domain}" for local in (*listed, "staff", "healthmailbox0123456")]
    assert list(answers(provider.host, *asked).values()) == ["250"] * len(listed) + ["550"] * 2
    again = run(windows)
    assert again.returncode == 0
    assert f"{customer}: {len(listed)} recipients, unchanged; {case.left_out}" in log_lines(again.stdout)
    assert log_lines(windows.read("runexport.log"))[-1] == "runexport ends with 0"


@needs_pwsh
@pytest.mark.long
def test_a_tenant_of_exchange_online_goes_from_cmd_exe_and_a_real_powershell_into_the_relay_s_table(
    provider: Provider, server: Callable[[Path, str], Server], windows_programs: Path, tmp_path: Path
) -> None:
    write_certificate(tmp_path, 100)
    certificate = x509.load_pem_x509_certificate((tmp_path / "exchange.pem").read_bytes())
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex().upper()
    exchange = {"source": "exchange-online", "basepoint": None, "online": {**TENANT, "thumbprint": thumbprint}}
    windows = server(provider.kit("acme", "openssh", canaries=["r9@acme.example"], exchange=exchange), "openssh")
    for name in ("exchange.pem", "exchange.key"):
        shutil.copy(tmp_path / name, windows.drive / "winnt" / name)
    powershell = windows.drive / "winnt/System32/WindowsPowerShell/v1.0/powershell.exe"
    shutil.copy(windows_programs / "recorder.exe", powershell)

    ran = run(windows)
    assert f"runexport.ps1: certificate {thumbprint}, valid until" in ran.stdout
    assert (ran.returncode, "acme: first list of acme.example (224): held" in ran.stdout) == (3, True), ran.stdout
    provider.operator.accept("acme", "--first 224")
    asked = ("r9@acme.example", "r9.alias@acme.example", "r28@acme.example", "nobody@acme.example")
    assert list(answers(provider.host, *asked).values()) == ["250", "250", "550", "550"]
    ran = run(windows)
    assert (ran.returncode, "acme: 224 recipients, unchanged" in ran.stdout) == (0, True), ran.stdout


# ---- what the relay answers, and what keeps from reaching it


@pytest.mark.parametrize("client", PROGRAMS)
def test_a_list_in_another_form_is_refused_with_the_line_that_is_wrong(
    client: str, provider: Provider, server: Callable[[Path, str], Server]
) -> None:
    windows = server(provider.kit(f"refused-{client}", client), client)
    windows.write("exportfields.txt", "Some-Class\tAddress\r\n")  # so that ADMIN takes its own columns
    windows.write("admin.rows", "Mailbox,SMTP:ann@acme.example\r\n")
    ran = run(windows)
    assert ran.returncode == 2
    for text in (ran.stdout, windows.read("runexport.log")):
        (line,) = [line for line in log_lines(text) if line.startswith(f"refused-{client}: ")]
        assert line.startswith(f"refused-{client}: refused: line 1: ")
        assert "runexport ends with 2" in text


CANNOT = {
    "plink": ("Connection refused", "Host key not in manually configured list", "Server refused our key"),
    "openssh": ("Connection refused", "Host key verification failed", "Permission denied"),
}


@pytest.mark.parametrize("client", CANNOT)
def test_a_relay_that_cannot_be_reached_is_not_ours_or_does_not_know_the_key_is_4_in_the_client_s_own_words(
    client: str, provider: Provider, server: Callable[[Path, str], Server]
) -> None:
    kit = provider.kit(f"away-{client}", client)
    windows = server(kit, client)
    windows.write("admin.rows", export("ann").partition(b"\r\n")[2].decode())
    batch, known = windows.read("runexport.bat"), windows.read("known_hosts")
    (key,) = windows.folder.glob("exchupdate-k1*")
    own = key.read_bytes()
    nobody, other_host, other_key = CANNOT[client]

    def fails(message: str) -> None:
        ran = run(windows)
        assert ran.returncode == 4, ran.stdout
        assert message in ran.stdout
        assert message in windows.read("runexport.log")
        assert message in windows.read("README.txt")  # where the admin looks it up
        assert log_lines(ran.stdout)[-1] == "runexport ends with 4"

    windows.write("runexport.bat", batch.replace(" -P 22 ", " -P 1 ").replace(" -p 22 ", " -p 1 "))
    fails(nobody)
    another = "AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx"
    for blob in [one.split()[1] for one in provider.host.host_keys]:
        batch, known = batch.replace(blob, another), known.replace(blob, another)
    windows.write("runexport.bat", batch)
    if known:
        windows.write("known_hosts", "\r\n".join(line for line in known.splitlines() if "ed25519" in line) + "\r\n")
    fails(other_host)
    shutil.copytree(kit, windows.folder, dirs_exist_ok=True)
    stranger = provider.kit(f"stranger-{client}", client)
    shutil.copy(next(stranger.glob("exchupdate-k1*")), key)
    provider.operator.customer(f"stranger-{client}", exchange={**PLACES, "client": client, "addresses": ["192.0.2.1"]})
    provider.operator.done(f"provision stranger-{client}")
    fails(other_key)
    key.write_bytes(own)
    assert run(windows).returncode == 3


def test_one_relay_down_of_two_is_4_and_the_other_has_the_list(
    provider: Provider, server: Callable[[Path, str], Server], lab_host: Callable[..., LabHost]
) -> None:
    other = lab_host("bookworm")
    other.start_postfix()
    provider.operator.relay("mx2", other)
    windows = server(provider.kit("both", "plink", relays=["mx2", "mx1"]), "plink")
    windows.write("admin.rows", export("ann", domain="both.example").partition(b"\r\n")[2].decode())
    other.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = run(windows)
    assert ran.returncode == 4
    lines = log_lines(windows.read("runexport.log"))
    assert lines[1] == f"{other.address}:"
    assert "Connection refused" in lines[2]
    assert lines[-3:] == [
        f"{provider.host.address}:",
        "both: first list of both.example (1): held; 1 added; left out 1: 1 not internet",
        "runexport ends with 4",
    ]
    other.run("/usr/sbin/sshd")
    assert run(windows).returncode == 3


def test_while_a_rotation_is_open_each_key_opens_the_relay_and_no_other_does(
    provider: Provider, server: Callable[[Path, str], Server]
) -> None:
    operator = provider.operator
    old = provider.kit("turning", "plink")
    windows = server(old, "plink")
    windows.write("admin.rows", export("ann", domain="turning.example").partition(b"\r\n")[2].decode())
    assert run(windows).returncode == 3
    operator.done("rotate-key turning")  # which waits for the new kit to be carried
    batch = (old / "runexport.bat").read_text("ascii")
    windows.write("runexport.bat", batch.replace("\n", "\r\n"))
    assert run(windows).returncode == 3  # only the batch has been carried: the old key
    shutil.copy(old / "exchupdate-k2.ppk", windows.folder)
    assert run(windows).returncode == 3
    assert [call.split()[6] for call in windows.calls] == ["exchupdate-k1.ppk"] * 2 + ["exchupdate-k2.ppk"]


def test_exchange_may_lie_in_a_folder_with_blanks(provider: Provider, server: Callable[[Path, str], Server]) -> None:
    kit = provider.kit("blanks", "plink", exchange={"install": r"D:\Program Files\Exchange Server"})
    windows = server(kit, "plink")
    (windows.drive / "Program Files").mkdir()
    (windows.drive / "exchsrvr").rename(windows.drive / "Program Files" / "Exchange Server")
    windows.write("admin.rows", export("ann", domain="blanks.example").partition(b"\r\n")[2].decode())
    assert run(windows).returncode == 3
