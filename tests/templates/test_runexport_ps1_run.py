"""runexport.ps1, run by a real PowerShell 7 against stand-ins for Exchange's commands, and read by the receiver."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from common.settings import Settings
from receiver.upload import formats
from receiver.upload.recipient_filter import FilteredExport, filter_export
from receiver.upload.stream import strip_end_mark
from templates import render
from tests.support.pwsh import needs_pwsh, run_script

pytestmark = [needs_pwsh, pytest.mark.slow]
ACME = Settings(customer="acme", format="powershell", domains=("acme.example",))
OLD = {"exchusers.txt": "the list of yesterday\r\n", "exchusers.end": "its mark\r\n"}

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A server's folder, with the script and what the run before left."""
    script = render("windows/powershell/runexport.ps1.j2", server="EX1")
    (tmp_path / "runexport.ps1").write_bytes(script.encode())
    for name, content in OLD.items():
        (tmp_path / name).write_text(content, newline="")
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    return lambda **standin: run_script(folder / "runexport.ps1", "server", **standin)


def filter_sent(folder: Path) -> FilteredExport:
    upload = (folder / "exchusers.txt").read_bytes() + (folder / "exchusers.end").read_bytes()
    return filter_export(formats.find_format("powershell").values(strip_end_mark(upload)), ACME)


def exported(ran: subprocess.CompletedProcess[str], folder: Path) -> FilteredExport:
    """Return what the receiver makes of a run that went well and left nothing else behind."""
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    assert files(folder) == {"runexport.ps1", *OLD}
    return filter_sent(folder)


def failed(ran: subprocess.CompletedProcess[str], folder: Path) -> str:
    """Return the one sentence of a run that failed and left the old list, its mark and nothing else."""
    assert (ran.returncode, ran.stderr) == (1, "")
    assert files(folder) == {"runexport.ps1", *OLD}
    assert {name: (folder / name).read_bytes().decode() for name in OLD} == OLD
    (line,) = ran.stdout.splitlines()
    assert line.isprintable()
    return line


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def everybody(count: int) -> set[str]:
    numbers = range(count)
    return {f"r{i}@acme.example" for i in numbers} | {f"r{i}.alias@acme.example" for i in numbers if i % 3 == 0}


# ---- good runs


@pytest.mark.parametrize(
    ("count", "shape"),
    [
        (200, "snapin"),
        pytest.param(1, "snapin", marks=pytest.mark.long),
        pytest.param(1, "remoting", marks=pytest.mark.long),
        pytest.param(1_001, "remoting", marks=pytest.mark.long),
        pytest.param(50_000, "snapin", marks=pytest.mark.long),
        pytest.param(50_000, "remoting", marks=pytest.mark.long),
    ],
)
def test_everybody_of_an_organisation_is_listed_once(count: int, shape: str, run: Run, folder: Path) -> None:
    choice = exported(run(STANDIN_COUNT=str(count), STANDIN_SHAPE=shape), folder)
    assert choice.recipients == everybody(count)
    rows = (folder / "exchusers.txt").read_text().splitlines()
    assert len(rows) == 1 + count


@pytest.mark.parametrize(
    "kind",
    ["nameless", pytest.param("alike", marks=pytest.mark.long), pytest.param("ends", marks=pytest.mark.long)],
)
def test_a_recipient_is_listed_whatever_the_others_are_called(kind: str, run: Run, folder: Path) -> None:
    choice = exported(run(STANDIN_FAIL=f"Get-Mailbox:3:{kind}"), folder)
    assert choice.recipients == everybody(40)


def test_recipients_without_a_readable_address_are_counted_apart(run: Run, folder: Path) -> None:
    ran = run(STANDIN_FAIL="Get-Mailbox:20:unreadable,Get-Recipient:20:bare")
    listed = exported(ran, folder).recipients
    rows = len((folder / "exchusers.txt").read_text().splitlines()) - 1
    assert f"{rows} recipients exported" in ran.stdout
    assert f"{40 - rows} more have no address that can be read" in ran.stdout
    assert 0 < rows < 40
    assert listed < everybody(40)


@pytest.mark.long
def test_addresses_that_one_command_cannot_read_are_taken_from_another(run: Run, folder: Path) -> None:
    ran = run(STANDIN_FAIL="Get-Mailbox:1:unreadable")
    assert exported(ran, folder).recipients == everybody(40)
    assert "more have no address" not in ran.stdout


@pytest.mark.long
def test_a_warning_about_one_object_is_said_and_the_list_is_whole(run: Run, folder: Path) -> None:
    ran = run(STANDIN_FAIL="Get-Mailbox:0:complains")
    assert exported(ran, folder).recipients == everybody(40)
    assert "runexport.ps1: Get-Mailbox: 24 warnings, the first: The object acme.example/Staff/r0" in ran.stdout


@pytest.mark.long
def test_a_command_that_an_older_exchange_lacks_is_not_missed(run: Run, folder: Path) -> None:
    assert exported(run(STANDIN_LACKS="Get-RemoteMailbox"), folder).recipients == everybody(40)


@pytest.mark.long
def test_an_exchange_of_2007_without_get_recipient_is_asked_all_the_same(run: Run, folder: Path) -> None:
    ran = run(STANDIN_LACKS="Get-RemoteMailbox,Get-Recipient,Set-ADServerSettings")
    assert exported(ran, folder).recipients < everybody(40)
    assert "only the domain of this server is asked" in ran.stdout


# ---- failures


@pytest.mark.parametrize(
    ("standin", "sentence"),
    [
        ({"STANDIN_FAIL": "Get-MailUser:1:writes"}, "Get-MailUser: The operation could not be performed: DC1 is not"),
        pytest.param(
            {"STANDIN_FAIL": "Get-Mailbox:9:throws"},
            "Get-Mailbox: The server is too busy: the budget",
            marks=pytest.mark.long,
            id="throttled half-way",
        ),
        pytest.param(
            {"STANDIN_FAIL": "Get-Mailbox:9:warns"},
            "Get-Mailbox gave only a part of its list: There are more results",
            marks=pytest.mark.long,
            id="half a list, with a warning",
        ),
        pytest.param(
            {"STANDIN_FAIL": "Get-MailContact:0:bare"},
            "Get-MailContact: none of 2 has an address that can be read",
            marks=pytest.mark.long,
            id="a whole sort without addresses",
        ),
        pytest.param(
            {"STANDIN_LACKS": "Get-MailUser"},
            "this account may not use Get-MailUser",
            marks=pytest.mark.long,
            id="a right missing",
        ),
        pytest.param(
            {"STANDIN_LACKS": "Get-Recipient"},
            "this account may not use Get-Recipient",
            marks=pytest.mark.long,
            id="a right missing that only 2007 could lack",
        ),
        pytest.param({"STANDIN_COUNT": "0"}, "no recipient was found", marks=pytest.mark.long, id="nobody"),
        ({"STANDIN_LACKS": "Get-Mailbox"}, "no Exchange here, and the one at http://EX1/PowerShell/ cannot be used: "),
    ],
)
def test_a_failure_is_one_sentence_and_leaves_the_old_list(
    standin: dict[str, str], sentence: str, run: Run, folder: Path
) -> None:
    assert failed(run(**standin), folder).startswith(f"runexport.ps1: {sentence}")


@pytest.mark.parametrize("count", ["4000", pytest.param("5", marks=pytest.mark.long)])
def test_a_full_disk_is_one_sentence_and_leaves_no_draft(count: str, run: Run, folder: Path) -> None:
    """Many recipients meet it half-way, few when the draft is closed."""
    (folder / "exchusers.new").symlink_to("/dev/full")
    assert "No space left on device" in failed(run(STANDIN_COUNT=count), folder)
