"""The batch with each other source than ADMIN, on Wine's cmd.exe, and what a relay makes of what it sends."""

from __future__ import annotations

import pytest

from common.settings import Settings
from receiver.upload import formats
from receiver.upload.recipient_filter import filter_export
from receiver.upload.stream import strip_end_mark
from tests.support.windows_server import KITS, Server, Start, needs_wine

HEADER = (
    "DN,objectClass,userAccountControl,proxyAddresses,msExchHideFromAddressLists,msExchRequireAuthToSendTo,"
    "msExchRecipientTypeDetails\r\n"
)
ROWS = (
    HEADER
    + r'"CN=Ann,DC=demo,DC=example",user,512,X400:c=DE\;a= \;s=Ann\;;SMTP:ann@demo.example;smtp:a@demo.example,,,1'
    + '\r\n"CN=Staff,DC=demo,DC=example",group,,SMTP:staff@demo.example,,TRUE,256\r\n'
)
LIST = (
    "Type\tFlags\tAddresses\r\nUserMailbox\t\tSMTP:ann@demo.example;smtp:a@demo.example\r\n"
    "MailUniversalDistributionGroup\tinternal\tSMTP:staff@demo.example\r\n"
)

pytestmark = needs_wine


@pytest.fixture
def csvde(windows_server: Start) -> Server:
    made = windows_server("csvde")
    made.write("csvde.rows", ROWS)
    return made


@pytest.fixture
def powershell(windows_server: Start) -> Server:
    made = windows_server("powershell")
    made.write("powershell.rows", LIST)
    return made


@pytest.fixture(params=["csvde", "powershell"])
def server(request: pytest.FixtureRequest) -> Server:
    made = request.getfixturevalue(str(request.param))
    assert isinstance(made, Server)
    return made


def source(server: Server) -> str:
    return "powershell" if server.read("runexport.ps1") else "csvde"


def upload_of(server: Server) -> bytes:
    return (server.folder / "plink.1").read_bytes()


# ---- a run that goes well


def test_a_run_sends_what_a_relay_reads_and_ends_with_0(server: Server) -> None:
    assert server.export().returncode == 0
    settings = Settings("demo", source(server), ("demo.example",), leave_out=("internal only",))
    choice = filter_export(formats.find_format(settings.format).values(strip_end_mark(upload_of(server))), settings)
    assert choice.recipients == {"ann@demo.example", "a@demo.example"}
    assert choice.left_out["internal only"] == 1


def test_a_look_exports_too_and_asks_what_would_change(server: Server) -> None:
    assert server.export("look").returncode == 0
    assert [call.split()[-1] for call in server.calls] == ["look"]
    assert strip_end_mark(upload_of(server))


def test_a_run_leaves_the_folder_as_it_found_it_but_for_log_counter_and_export(server: Server) -> None:
    before = {path.name for path in server.folder.iterdir()}
    server.export()
    left = {path.name for path in server.folder.iterdir()} - before
    marks = {"exchusers.end"} if source(server) == "powershell" else set()
    calls = {f"{source(server)}.calls", "plink.calls", "plink.1"}
    assert left == {"exchusers.txt", "runexport.log", "runexport.cnt", *calls, *marks}


def test_a_second_run_is_as_good_as_the_first_and_sends_the_new_list(server: Server) -> None:
    server.export()
    rows = server.read(f"{source(server)}.rows").replace("a@demo", "anna@demo")
    server.write(f"{source(server)}.rows", rows)
    assert server.export().returncode == 0
    second = strip_end_mark((server.folder / "plink.2").read_bytes())
    assert b"anna@demo" in second


def test_csvde_is_called_as_the_batch_reads(csvde: Server) -> None:
    csvde.export()
    called = csvde.read("csvde.calls")
    batch = (KITS / "csvde" / "runexport.bat").read_text("ascii")
    (line,) = [line for line in batch.splitlines() if line.startswith('"%SystemRoot%') and "csvde.exe" in line]
    assert called.strip() == line.partition('csvde.exe" ')[2].partition(" >")[0].replace('"', "")
    assert upload_of(csvde).decode() == ROWS + "#postern end\r\n"


def test_the_script_runs_without_a_profile_a_question_or_a_policy_and_its_end_mark_goes_along(
    powershell: Server,
) -> None:
    powershell.export()
    assert powershell.read("powershell.calls").split() == [
        *("-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-File", r"D:\userexport\runexport.ps1"),
    ]
    assert upload_of(powershell) == (LIST + powershell.read("exchusers.end")).encode()
    assert powershell.read("exchusers.end").startswith("#postern end rows=3 sha256=")


# ---- what must not be sent


def expect_stop(server: Server, *messages: str) -> None:
    """A run that says why, ends with 4, sends nothing and lets the next one run."""
    ran = server.export()
    assert ran.returncode == 4
    for message in messages:
        assert message in server.read("runexport.log")
        assert message in ran.stdout
    assert server.calls == []
    assert not (server.folder / "runexport.lck").exists()
    assert not (server.folder / "upload.txt").exists()


@pytest.mark.parametrize("code", ["1", "8224", "-1073741819"])
def test_what_csvde_says_of_its_failure_is_in_the_log_and_its_half_list_is_not_sent(csvde: Server, code: str) -> None:
    csvde.write("csvde.say", f"half {code}")
    expect_stop(csvde, "csvde.exe failed", "The connection cannot be established", "Server Down")
    assert not (csvde.folder / "csvde.out").exists()


def test_what_csvde_said_of_an_earlier_failure_is_not_told_again(csvde: Server) -> None:
    csvde.write("csv.err", "an old story\r\n")
    csvde.write("csvde.say", "half 1")
    expect_stop(csvde, "Server Down")
    assert "an old story" not in csvde.read("runexport.log")


def test_a_list_of_csvde_without_an_address_is_not_sent(csvde: Server) -> None:
    csvde.write("csvde.say", "none")
    expect_stop(csvde, "csvde.exe exported no addresses")


def test_a_list_csvde_did_not_write_is_not_sent_nor_is_the_one_before(csvde: Server) -> None:
    csvde.write("exchusers.txt", ROWS)
    csvde.write("csvde.say", "nothing")
    expect_stop(csvde, "csvde.exe wrote no exchusers.txt")


def test_a_windows_without_csvde_is_told(csvde: Server) -> None:
    (csvde.drive / "winnt" / "System32" / "csvde.exe").unlink()
    expect_stop(csvde, "csvde.exe is not in the System32 folder of Windows")


def test_what_the_script_says_of_its_failure_is_in_the_log(powershell: Server) -> None:
    powershell.write("powershell.say", "error")
    expect_stop(powershell, "this account may not use Get-Mailbox", "runexport.ps1 failed")


@pytest.mark.parametrize("say", ["killed", "nothing"])
def test_a_list_of_the_script_without_its_own_end_mark_is_not_sent_nor_is_the_one_before(
    powershell: Server, say: str
) -> None:
    powershell.write("exchusers.txt", LIST)
    powershell.write("exchusers.end", "#postern end\r\n")
    powershell.write("powershell.say", say)
    expect_stop(powershell, "runexport.ps1 wrote no exchusers.txt")


def test_a_windows_without_powershell_is_told(powershell: Server) -> None:
    (powershell.drive / "winnt/System32/WindowsPowerShell/v1.0/powershell.exe").unlink()
    expect_stop(powershell, "powershell.exe is not on this server")


def test_a_folder_without_the_script_is_named(powershell: Server) -> None:
    (powershell.folder / "runexport.ps1").unlink()
    ran = powershell.export()
    assert ran.returncode == 4
    assert r"D:\userexport is not there, or not all of its files are" in ran.stdout
