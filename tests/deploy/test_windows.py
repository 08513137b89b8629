"""A Windows server over SSH: its files, who may open them, its tasks, its programs. sshd is real, cmd.exe is Wine's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import items
from deploy.key_formats import Secret
from deploy.plan import Busy, HostError, Plan
from deploy.windows import acl
from deploy.windows.host import Windows
from deploy.windows.shell import quote_command
from deploy.windows.task import describe_task, run_as_system_task
from tests.support.windows_host import WindowsHost
from tests.support.windows_server import KITS, needs_wine

XML = (KITS / "one-relay-one-key" / "schedule.xml").read_bytes().decode()


# ---- tasks, as text


def test_a_task_is_the_same_though_windows_writes_it_otherwise_and_adds_what_nobody_asked_for() -> None:
    windows = (
        XML.replace('<?xml version="1.0" ?>', '<?xml version="1.0" encoding="UTF-16"?>')
        .replace("<Triggers>", r"<RegistrationInfo><URI>\Postern acme</URI></RegistrationInfo><Triggers>")
        .replace("PT60M", "PT1H")
        .replace("<StopAtDurationEnd>false</StopAtDurationEnd>", "")
        .replace("<RunLevel>", "<UserId>S-1-5-18</UserId><RunLevel>")
        .replace("<Settings>", "<Settings><Enabled>true</Enabled><Priority>7</Priority>")
    )
    assert describe_task(windows) == run_as_system_task(describe_task(XML))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("T07:48:00", "T03:00:00"),
        ("<Monday />", ""),
        (r"D:\userexport\runexport.bat", r"D:\userexport\other.bat"),
        ("<Settings>", "<Settings><Enabled>false</Enabled>"),
        ("</Exec>", "</Exec><Exec><Command>evil.exe</Command></Exec>"),
        ("</CalendarTrigger>", "</CalendarTrigger><BootTrigger><Enabled>true</Enabled></BootTrigger>"),
        ("<RunLevel>", "<UserId>S-1-5-21-1-2-3-1001</UserId><RunLevel>"),
    ],
)
def test_a_task_that_runs_at_another_time_something_else_or_as_somebody_else_differs(ours: str, theirs: str) -> None:
    assert ours in XML
    assert describe_task(XML.replace(ours, theirs)) != describe_task(XML)


@pytest.mark.parametrize("text", ["", "ERROR: denied", "<Task>", '<!DOCTYPE x [<!ENTITY a "b">]><Task>&a;</Task>'])
def test_what_is_no_task_is_told_and_attack_not_blown_up(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no XML|no document type"):
        describe_task(text)


# ---- access, as text


def test_an_access_list_is_read_from_what_icacls_saves_whatever_the_language_of_windows() -> None:
    saved = "exchupdate-k1\r\nD:PAI(A;;FA;;;SY)(A;;0x1f01ff;;;BA)\r\n".encode("utf-16-le")
    assert acl.describe_acl(saved) == acl.closed_acl()


@pytest.mark.parametrize(
    ("sddl", "who"),
    [
        ("D:AI(A;ID;FA;;;BA)(A;ID;FA;;;SY)", ["(A;ID;FA;;;BA)", "(A;ID;FA;;;SY)"]),
        ("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)", ["(A;;0x1200a9;;;BU)", "Administrators", "SYSTEM"]),
        ("D:PAI(A;;FA;;;SY)(A;;FR;;;BA)", ["(A;;FR;;;BA)", "SYSTEM"]),
        ("D:PAI(D;;FA;;;SY)", ["(D;;FA;;;SY)"]),
        ("D:P", []),
    ],
)
def test_whoever_else_may_open_it_is_shown_as_windows_writes_it(sddl: str, who: list[str]) -> None:
    state = acl.describe_acl(f"key\r\n{sddl}\r\n".encode("utf-16-le"))
    assert state == {"may open it": who, "asks the folder above": "P" not in sddl[:4]}
    assert state != acl.closed_acl()


def test_what_holds_no_access_list_is_none() -> None:
    assert acl.describe_acl(b"") is None


# ---- command lines


def test_words_with_blanks_and_brackets_stand_between_quotes() -> None:
    words = ("icacls", r"D:\userexport", "/grant:r", "*S-1-5-18:(OI)(CI)F", "Postern acme")
    assert quote_command(words) == r'icacls D:\userexport /grant:r "*S-1-5-18:(OI)(CI)F" "Postern acme"'


@pytest.mark.parametrize("word", ["a&b", "a|b", "%PATH%", 'a"b', "a\nb", "a^b", "<a", "!a!", "", "D:\\a b\\"])
def test_attack_a_word_that_cmd_would_take_for_something_else_never_gets_there(word: str) -> None:
    with pytest.raises(ValueError, match="cannot be handed to"):
        quote_command(["echo", word])


# ---- the machine


@pytest.mark.story
class TestOverSSH:
    pytestmark = needs_wine

    @pytest.fixture
    def windows(self, windows_host: WindowsHost, operator_home: Path) -> Iterator[Windows]:
        host = windows_host.host
        with Windows(
            "NTSERVER",
            host.address,
            user="Administrator",
            port=None,
            host_keys=host.host_keys,
            folder=r"D:\customers\userexport",
        ) as made:
            yield made

    @pytest.fixture
    def folder(self, windows_host: WindowsHost) -> Path:
        return windows_host.there.drive / "customers" / "userexport"

    def wanted(self) -> list[items.Item]:
        return [
            items.access("."),
            items.file("schedule.xml", XML),
            items.file("endmark.txt", "#postern end\r\n"),
            items.access("key"),
            items.task("Postern acme", "schedule.xml", XML),
        ]

    def test_files_access_and_task_are_made_in_one_run_and_the_next_has_nothing_to_do(
        self, windows: Windows, folder: Path
    ) -> None:
        windows.write_key("key", Secret(b"private"))
        plan = Plan.of(windows, self.wanted())
        assert [change.item.name for change in plan.changes] == ["schedule.xml", "endmark.txt", "Postern acme"]
        plan.apply()
        assert (folder / "endmark.txt").read_bytes() == b"#postern end\r\n"
        assert sorted(path.name for path in folder.iterdir()) == ["endmark.txt", "key", "schedule.xml"]
        assert Plan.of(windows, self.wanted()).changes == ()

    def test_what_somebody_changed_there_is_found_and_put_right(
        self, windows: Windows, windows_host: WindowsHost, folder: Path
    ) -> None:
        windows.write_key("key", Secret(b"private"))
        Plan.of(windows, self.wanted()).apply()
        there = windows_host.there
        (folder / "endmark.txt").write_text("#the end\r\n")
        there.cmd(r"icacls D:\customers\userexport\key /grant:r ACME\bob:F")
        there.cmd(r"icacls D:\customers\userexport /reset")
        (there.drive / "tasks" / "Postern acme").write_text(XML.replace("T07:48", "T03:00"))
        plan = Plan.of(windows, self.wanted())
        text = plan.text()
        assert [(change.item.kind, change.item.name) for change in plan.changes] == [
            ("access", "."),
            ("file", "endmark.txt"),
            ("access", "key"),
            ("task", "Postern acme"),
        ]
        assert "-#the end" in text
        assert r"(A;;FA;;;ACME\\bob)" in text
        assert "- Triggers/CalendarTrigger/StartBoundary = 2001-01-01T03:00:00" in text
        plan.apply()
        assert Plan.of(windows, self.wanted()).changes == ()

    def test_what_changes_between_plan_and_apply_is_left_alone(self, windows: Windows, folder: Path) -> None:
        windows.write_key("key", Secret(b"private"))
        plan = Plan.of(windows, self.wanted())
        (folder / "endmark.txt").write_text("somebody's")
        with pytest.raises(Busy, match=r"file endmark\.txt was changed meanwhile"):
            plan.apply()
        assert (folder / "endmark.txt").read_text() == "somebody's"
        assert not (folder / "schedule.xml").exists()

    def test_a_private_key_is_written_into_a_file_that_nobody_else_may_open(
        self, windows: Windows, windows_host: WindowsHost, folder: Path
    ) -> None:
        windows.write_key("key", Secret(b"private"))
        assert (folder / "key").read_bytes() == b"private"
        assert windows.read([items.access("key")]) == [acl.closed_acl()]
        of_folder, of_key, *_ = [words for words in windows_host.commands if words.startswith("icacls")]
        assert of_folder.startswith(r"icacls D:\customers\userexport /reset && ")
        assert of_key.endswith("/setowner *S-1-5-32-544")
        assert not any("private" in words for words in windows_host.commands)

    def test_a_key_that_cannot_be_closed_to_others_is_not_written(
        self, windows: Windows, windows_host: WindowsHost, folder: Path
    ) -> None:
        (windows_host.there.drive / "programs" / "icacls.exe").unlink()
        with pytest.raises(HostError, match="icacls"):
            windows.write_key("key", Secret(b"private"))
        assert b"private" not in b"".join(path.read_bytes() for path in folder.iterdir())

    def test_a_key_that_is_not_there_is_told_and_no_plan_makes_one(self, windows: Windows) -> None:
        with pytest.raises(HostError, match="key is not there, and it holds what no plan can bring: a private key"):
            Plan.of(windows, self.wanted()).apply()

    def test_a_key_is_forgotten_once(self, windows: Windows, folder: Path) -> None:
        windows.write_key("key", Secret(b"private"))
        assert windows.delete_key("key")
        assert not windows.delete_key("key")
        assert list(folder.iterdir()) == []

    def test_drafts_of_killed_runs_are_cleared_away(self, windows: Windows, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / ".endmark.txt.postern-0123456789ab").write_text("half")
        (folder / ".own.txt").write_text("theirs")
        Plan.of(windows, [items.file("endmark.txt", "#postern end\r\n")]).apply()
        assert sorted(path.name for path in folder.iterdir()) == [".own.txt", "endmark.txt"]

    @pytest.mark.parametrize("name", ["..", "../x", r"..\x", "/etc/passwd", r"C:\x", "a/b", "", ".hidden", "a\0b"])
    def test_attack_a_name_that_does_not_lie_in_the_folder_is_refused(self, windows: Windows, name: str) -> None:
        with pytest.raises(HostError, match="does not lie in"):
            windows.read([items.file(name, "x")])

    def test_a_task_goes_when_it_must_not_be_there_and_others_stay(
        self, windows: Windows, windows_host: WindowsHost
    ) -> None:
        windows.write_key("key", Secret(b"private"))
        Plan.of(windows, self.wanted()).apply()
        other = windows_host.there.drive / "tasks" / "Backup"
        other.write_text("theirs")
        gone = items.Item("task", "Postern acme", None)
        Plan.of(windows, [gone]).apply()
        assert Plan.of(windows, [gone]).changes == ()
        assert [path.name for path in other.parent.iterdir()] == ["Backup"]

    def test_who_is_no_administrator_is_told(self, windows: Windows, windows_host: WindowsHost) -> None:
        windows.write_key("key", Secret(b"private"))
        (windows_host.there.drive / "schtasks.denied").touch()
        with pytest.raises(HostError, match=r"Access is denied.\nIs Administrator an administrator there"):
            Plan.of(windows, self.wanted()).apply()

    def test_a_program_s_output_is_heard_as_it_comes_and_its_code_is_told(self, windows: Windows) -> None:
        heard: list[tuple[float, bytes]] = []
        done = windows.run("cmd", "/c", "ver", stdin=b"", hear=lambda chunk: heard.append((time.monotonic(), chunk)))
        assert b"Windows" in b"".join(chunk for _, chunk in heard)
        assert done.code == 0
        assert windows.run("cmd", "/c", "exit", "75").code == 75
        assert windows.run("find", "two", stdin=b"one\r\ntwo\r\n").out.strip() == "two"

    def test_another_shell_than_cmd_is_named_with_the_place_where_it_is_set(
        self, windows_host: WindowsHost, operator_home: Path
    ) -> None:
        host = windows_host.host
        with (
            Windows("X", host.address, user="root", port=None, host_keys=host.host_keys, folder=r"D:\x") as other,
            pytest.raises(HostError, match=r"DefaultShell of HKLM\\SOFTWARE\\OpenSSH"),
        ):
            other.run("ver")
