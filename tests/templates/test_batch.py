"""The batch files run on a real cmd.exe, Wine's, with stand-ins for what Windows and Exchange would bring."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.windows import acl
from lab.waiting import HANGS
from tests.support.windows_server import KITS, Server, Start, needs_wine, wine_command

KIT = KITS / "two-relays-rotating"
HEADER = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses\r\n"
ROWS = "Mailbox\tSMTP:ann@demo.example\tsmtp:a@demo.example\r\nMailbox\tSMTP:bob@demo.example\t\r\n"

pytestmark = needs_wine


@pytest.fixture
def server(windows_server: Start) -> Server:
    made = windows_server(KIT.name)
    made.write("admin.rows", ROWS)
    return made


def uploads(verb: str, key: str) -> list[str]:
    """The arguments of the batch's upload lines for a verb and a key, in their order."""
    lines = (KIT / "runexport.bat").read_text("ascii").splitlines()
    return [
        line[6:].partition(" <")[0]
        for line in lines
        if line.startswith("plink ") and f" {verb} <" in line and key in line
    ]


# ---- a run that goes well


def test_a_run_sends_the_export_and_its_end_mark_to_each_relay_and_ends_with_0(server: Server) -> None:
    assert server.export().returncode == 0
    assert server.calls == uploads("receive", "exchupdate-k2.ppk")
    for relay in (1, 2):
        assert server.read(f"plink.{relay}") == HEADER + ROWS + "#postern end\r\n"


def test_a_look_exports_and_asks_each_relay_what_would_change(server: Server) -> None:
    assert server.export("look").returncode == 0
    assert server.calls == uploads("look", "exchupdate-k2.ppk")
    assert server.read("plink.2").endswith("#postern end\r\n")


def test_what_the_relays_said_is_on_the_screen_and_in_the_log(server: Server) -> None:
    screen = server.export().stdout
    for text in (screen, server.read("runexport.log")):
        log_lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().endswith("...")]
        assert log_lines[1:] == [
            "mx1.provider.example:",
            "plink: call 1",
            "plink: code 0",
            "upload.provider.example:",
            "plink: call 2",
            "plink: code 0",
            "runexport ends with 0",
        ]


def test_a_run_leaves_the_folder_as_it_found_it_but_for_log_counter_and_export(server: Server) -> None:
    before = {path.name for path in server.folder.iterdir()}
    server.export()
    left = {path.name for path in server.folder.iterdir()} - before
    assert left == {"exchusers.txt", "runexport.log", "runexport.cnt", "plink.calls", "plink.1", "plink.2"}


def test_a_second_run_is_as_good_as_the_first_and_the_log_keeps_both(server: Server) -> None:
    server.export()
    assert server.export().returncode == 0
    assert len(server.calls) == 4
    assert server.read("runexport.log").count("runexport ends with 0") == 2


def test_a_kit_copied_from_a_cd_works_though_its_files_are_read_only(server: Server) -> None:
    for name in ("exportfields.txt", "userexport.ini", "endmark.txt"):
        (server.folder / name).chmod(0o444)
    assert server.export().returncode == 0
    assert server.export().returncode == 0
    assert server.read("plink.4") == HEADER + ROWS + "#postern end\r\n"
    assert [path.name for path in server.folder.iterdir() if ".C" in path.name] == []


@pytest.mark.parametrize("say", ["rows", "long"])
def test_the_archives_admin_leaves_are_removed_under_either_name(server: Server, say: str) -> None:
    server.write("admin.say", say)
    server.export()
    assert [path.name for path in server.folder.iterdir() if ".C" in path.name] == []


def test_a_run_says_on_the_screen_what_it_is_at(server: Server) -> None:
    lines = [line.strip() for line in server.export().stdout.splitlines()]
    assert [line for line in lines if line.endswith("...")] == [
        "Exporting the addresses of demo ...",
        "Calling mx1.provider.example ...",
        "Calling upload.provider.example ...",
    ]


# ---- while a rotation is open


def test_a_run_uses_the_new_key_where_its_file_is_and_the_old_one_where_it_is_not(server: Server) -> None:
    (server.folder / "exchupdate-k2.ppk").unlink()
    assert server.export().returncode == 0
    assert server.calls == uploads("receive", "exchupdate-k1.ppk")


# ---- exit codes

ACCESS_VIOLATION = 0xC0000005 - 2**32


@pytest.mark.parametrize(
    ("first", "second", "worst"),
    [
        (0, 3, 3),
        (3, 0, 3),
        (3, 2, 2),
        (2, 3, 2),
        (2, 5, 5),
        (5, 2, 5),
        (5, 4, 4),
        (4, 5, 4),
        (75, 0, 75),
        (0, 75, 75),
        (75, 3, 3),
        (3, 75, 3),
        (75, 2, 2),
        (1, 0, 4),
        (0, 1, 4),
        (6, 0, 4),
        (76, 3, 4),
        (255, 0, 4),
        (ACCESS_VIOLATION, 0, 4),
    ],
)
def test_a_run_ends_with_the_worst_of_the_relays_codes_and_asks_them_all(
    server: Server, first: int, second: int, worst: int
) -> None:
    server.write("plink.codes", f"{first}\n{second}\n")
    assert server.export().returncode == worst
    assert len(server.calls) == 2
    assert f"runexport ends with {worst}" in server.read("runexport.log")


# ---- what must not be sent


def expect_stop(server: Server, message: str) -> None:
    """A run that says why, ends with 4, sends nothing and lets the next one run."""
    ended = server.export()
    assert ended.returncode == 4
    assert message in server.read("runexport.log")
    assert message in ended.stdout
    assert server.calls == []
    assert not (server.folder / "runexport.lck").exists()


def test_an_export_that_holds_only_the_header_is_not_sent(server: Server) -> None:
    server.write("admin.say", "none")
    expect_stop(server, "admin.exe exported no addresses")


def test_an_export_that_is_not_there_is_not_sent_nor_is_the_one_before(server: Server) -> None:
    server.write("exchusers.txt", HEADER + ROWS)
    server.write("upload.txt", HEADER + ROWS + "#postern end\r\n")
    server.write("admin.say", "nothing")
    expect_stop(server, "admin.exe wrote no exchusers.txt")
    assert server.read("upload.txt") == ""


def test_exchange_that_lies_elsewhere_is_named(server: Server) -> None:
    (server.drive / "exchsrvr" / "bin" / "admin.exe").unlink()
    expect_stop(server, r"D:\exchsrvr\bin\admin.exe is not there")


def test_a_missing_plink_is_named(server: Server) -> None:
    (server.folder / "plink.exe").unlink()
    expect_stop(server, r"plink.exe is not in D:\userexport")


def test_a_word_that_is_none_of_ours_does_nothing(server: Server) -> None:
    ended = server.export("Look")
    assert ended.returncode == 2
    assert "no argument, or the word look" in ended.stdout
    assert server.read("runexport.log") == ""


def test_a_folder_that_is_not_complete_is_named(server: Server) -> None:
    (server.folder / "endmark.txt").unlink()
    ended = server.export()
    assert ended.returncode == 4
    assert r"D:\userexport is not there, or not all of its files are" in ended.stdout


# ---- one run at a time


def test_a_run_that_finds_another_at_work_leaves_a_mark_and_ends_busy(server: Server) -> None:
    (server.folder / "runexport.lck").mkdir()
    ended = server.export()
    assert ended.returncode == 75
    assert "Another run is at work" in ended.stdout
    assert "Another run is at work" in server.read("runexport.log")
    assert [path.name for path in (server.folder / "runexport.lck").iterdir()] == ["mark1"]
    assert server.calls == []


def test_after_two_hours_of_marks_a_run_breaks_the_lock_of_one_that_hangs(server: Server) -> None:
    (server.folder / "runexport.lck").mkdir()
    server.write("runexport.lck/owner", "yesterday\r\n")
    assert [server.export().returncode for _ in range(3)] == [75, 75, 0]
    assert len(server.calls) == 2
    assert "A run has held the lock for hours" in server.read("runexport.log")
    assert not (server.folder / "runexport.lck").exists()


def test_a_broken_lock_begins_without_marks_so_that_the_next_run_waits_again(server: Server) -> None:
    (server.folder / "runexport.lck").mkdir()
    server.write("admin.say", "late")
    assert [server.export().returncode for _ in range(3)] == [75, 75, 4]
    assert [path.name for path in (server.folder / "runexport.lck").iterdir()] == ["owner"]


def test_a_run_that_wakes_after_its_lock_was_broken_sends_nothing_of_the_other_s_export(server: Server) -> None:
    server.write("admin.say", "late")
    assert server.export().returncode == 4
    assert server.calls == []
    assert "its lock was broken" in server.read("runexport.log")
    assert server.read("runexport.lck/owner") == "another run\r\n"


@pytest.fixture
def hanging(server: Server, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run whose ADMIN waits for somebody to press OK; what it says is in the file `screen`."""
    server.write("admin.say", "hang")
    line = r"set SystemRoot=D:\winnt&& D:\userexport\runexport.bat"
    with (tmp_path / "screen").open("wb") as screen:  # no pipe: ADMIN would keep it open when the run is killed
        process = subprocess.Popen(
            [*wine_command(), "cmd", "/c", line], env=server.environment, stdin=subprocess.DEVNULL, stdout=screen
        )
    while not server.read("runexport.run"):
        time.sleep(0.01)
    yield process
    server.write("admin.go", "")
    process.wait(HANGS)


def test_while_a_run_waits_for_admin_others_are_turned_away_and_it_goes_on_when_somebody_presses_ok(
    server: Server, hanging: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert server.export().returncode == 75
    assert server.calls == []
    server.write("admin.go", "")
    assert hanging.wait(HANGS) == 0
    assert "runexport ends with 0" in (tmp_path / "screen").read_text()
    assert len(server.calls) == 2
    assert not (server.folder / "runexport.lck").exists()


def test_a_run_that_was_given_up_and_then_wakes_sends_nothing(server: Server, hanging: subprocess.Popen[bytes]) -> None:
    assert [server.export().returncode for _ in range(2)] == [75, 75]
    server.write("admin.say", "rows")
    assert server.export().returncode == 0
    server.write("admin.go", "")
    assert hanging.wait(HANGS) == 4
    assert "its lock was broken" in server.read("runexport.log")
    assert len(server.calls) == 2


def test_after_a_run_was_killed_others_wait_two_hours_and_then_one_goes_on_and_keeps_what_it_had_said(
    server: Server, hanging: subprocess.Popen[bytes]
) -> None:
    hanging.kill()
    hanging.wait()
    server.write("admin.go", "")
    assert [server.export().returncode for _ in range(3)] == [75, 75, 0]
    log = log_lines(server.read("runexport.log"))
    assert len([line for line in log if line.endswith(": runexport")]) == 2
    assert log[-1] == "runexport ends with 0"
    assert len(server.calls) == 2


# ---- the log


def log_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_a_log_that_cannot_be_written_does_not_keep_a_list_from_being_sent(server: Server) -> None:
    (server.folder / "runexport.log").mkdir()
    ended = server.export()
    assert ended.returncode == 0
    assert len(server.calls) == 2
    assert "runexport ends with 0" in ended.stdout


@pytest.mark.parametrize("room", [0, 40, 90])  # kilobytes; an export of these rows needs 71, and to send it 142
def test_on_a_full_disk_nothing_is_sent_that_is_not_whole_and_the_run_ends_with_4(server: Server, room: int) -> None:
    server.write("admin.rows", "".join(f"Mailbox\tSMTP:user{n:05}@demo.example\t\r\n" for n in range(2000)))
    shelf = server.folder.rename(server.drive / "shelf")
    taken = sum(-(-path.stat().st_size // 4096) * 4 for path in shelf.iterdir())
    server.folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={taken + room}k", "tmpfs", server.folder], check=True)
    try:
        shutil.copytree(shelf, server.folder, dirs_exist_ok=True)
        ended = server.export()
        assert ended.returncode == 4, ended.stdout
        assert ("upload.txt could not be written: is the disk full?" in ended.stdout) == (room > 0)
        assert server.calls == []
        assert not (server.folder / "runexport.lck").exists()
    finally:
        subprocess.run(["umount", server.folder], check=True)


def test_what_a_run_said_that_was_cut_short_is_kept_by_the_next(server: Server) -> None:
    server.write("runexport.run", "the last words of a run\r\n")
    server.export()
    assert server.read("runexport.log").startswith("the last words of a run")


def test_the_log_is_put_away_after_500_runs_and_a_new_one_begun(server: Server) -> None:
    server.write("runexport.cnt", "498\r\n")
    server.write("runexport.log", "old\r\n")
    server.write("runexport.old", "older\r\n")
    server.export()
    assert server.read("runexport.old") == "older\r\n"
    server.export()
    assert server.read("runexport.old").startswith("old\r\n")
    assert server.read("runexport.log").count("runexport ends with") == 1
    server.export()
    assert server.read("runexport.cnt").strip() == "1"


@pytest.mark.parametrize("damaged", ["", "many\r\n", "12x\r\n"])
def test_a_damaged_counter_stops_nothing(server: Server, damaged: str) -> None:
    server.write("runexport.cnt", damaged)
    assert server.export().returncode == 0


# ---- install.bat


@pytest.fixture
def closing(windows_server: Start, windows_programs: Path) -> Server:
    made = windows_server("openssh")
    shutil.copy(windows_programs / "icacls.exe", made.folder)
    for key in ("exchupdate-k1", "exchupdate-k2"):
        made.write(key, "private")
    return made


def lists(server: Server) -> dict[str, bytes]:
    """Who may open what, as icacls saves it."""
    found = {}
    for name in ("", "exchupdate-k1", "exchupdate-k2"):
        server.cmd(rf"D:\userexport\icacls D:\userexport\{name} /save D:\saved".replace("\\ /save", " /save"))
        found[name] = (server.drive / "saved").read_bytes()
    return found


def test_install_closes_the_folder_and_the_keys_to_all_but_administrators_and_the_system(closing: Server) -> None:
    for _ in range(2):
        ended = closing.cmd(r"D:\userexport\install.bat")
        assert ended.returncode == 0
        assert "Nobody else opens D:\\userexport" in ended.stdout
        assert {name: acl.describe_acl(saved) for name, saved in lists(closing).items()} == dict.fromkeys(
            ("", "exchupdate-k1", "exchupdate-k2"), acl.closed_acl()
        )
    (closing.folder / "exchupdate-k1").unlink()
    assert closing.cmd(r"D:\userexport\install.bat").returncode == 0


def test_install_lets_an_account_run_the_batch_and_read_the_key_and_no_more(closing: Server) -> None:
    assert closing.cmd(r"D:\userexport\install.bat ACME\exchange").returncode == 0
    text = {name: saved.replace(b"\0", b"").decode() for name, saved in lists(closing).items()}
    assert r"(A;OICI;0x1301bf;;;ACME\exchange)" in text[""]
    for key in ("exchupdate-k1", "exchupdate-k2"):
        assert r"(A;;FR;;;ACME\exchange)" in text[key]
        assert "D:PAI" in text[key]


def test_install_without_rights_says_so_and_ends_with_4(closing: Server, windows_programs: Path) -> None:
    shutil.copy(windows_programs / "recorder.exe", closing.folder / "icacls.exe")
    closing.write("icacls.codes", "5\n5\n")
    ended = closing.cmd(r"D:\userexport\install.bat")
    assert ended.returncode == 4
    assert "Run as administrator" in ended.stdout


# ---- schedule.bat

OURS = r"cmd /c D:\userexport\runexport.bat"


def schedule_on_nt_4(server: Server, word: str = "") -> subprocess.CompletedProcess[str]:
    return server.cmd(rf"set SystemRoot=D:\winnt&& D:\userexport\schedule.bat {word}")


def jobs(server: Server) -> list[str]:
    return server.read("at.jobs").splitlines()


def test_on_nt_4_there_is_a_job_for_each_time_of_day(server: Server) -> None:
    assert schedule_on_nt_4(server).returncode == 0
    assert [job.partition(" ")[2] for job in jobs(server)] == [OURS] * 12
    added = [call for call in server.read("at.calls").splitlines() if "/every" in call]
    assert added == re.findall(r"^at (\d.*)\r$", (KIT / "schedule.bat").read_bytes().decode(), re.MULTILINE)


def test_scheduling_twice_on_nt_4_does_not_double_the_jobs(server: Server) -> None:
    schedule_on_nt_4(server)
    schedule_on_nt_4(server)
    assert len(jobs(server)) == 12


def test_on_nt_4_jobs_of_others_stay_and_ours_go_even_those_that_failed(server: Server) -> None:
    others = ["1 cmd /c D:\\backup.bat", "3 cmd /c D:\\userexport2\\runexport.bat"]
    server.write("at.jobs", f"{others[0]}\nERROR 2 {OURS}\n{others[1]}\n4 {OURS}\n")
    assert schedule_on_nt_4(server, "remove").returncode == 0
    assert jobs(server) == others
    assert not {"schedule.tmp", "schedule.our"} & {path.name for path in server.folder.iterdir()}


def test_never_are_all_jobs_deleted_at_once(server: Server) -> None:
    schedule_on_nt_4(server)
    schedule_on_nt_4(server, "remove")
    deletions = [call for call in server.read("at.calls").splitlines() if "/delete" in call]
    assert all(re.fullmatch(r"\S+ /delete", call) for call in deletions)
    assert "/delete /delete" not in deletions


NAME = "Postern demo at "


def schedule_on_2003(server: Server, programs: Path, word: str = "") -> subprocess.CompletedProcess[str]:
    for place in ("userexport", "winnt/System32"):  # which find it at all, and which is looked into
        shutil.copy(programs / "schtasks.exe", server.drive / place)
    return schedule_on_nt_4(server, word)


def tasks(server: Server) -> list[str]:
    return sorted(path.name for path in (server.drive / "tasks").iterdir())


def test_on_2003_there_is_a_task_for_each_time_of_day_and_scheduling_twice_does_not_double_them(
    server: Server, windows_programs: Path
) -> None:
    for _ in range(2):
        assert schedule_on_2003(server, windows_programs).returncode == 0
        assert tasks(server) == [f"{NAME}{hour:02}.48" for hour in range(7, 19)]
        assert (server.drive / "tasks" / f"{NAME}07.48").read_text() == (
            f"/create /tn {NAME}07.48 /tr D:\\userexport\\runexport.bat /sc weekly /d MON,TUE,WED,THU,FRI "
            "/st 07:48:00 /ru SYSTEM\n"
        )
    assert jobs(server) == []


def test_on_2003_tasks_run_as_an_account_that_is_named(server: Server, windows_programs: Path) -> None:
    schedule_on_2003(server, windows_programs, r"ACME\exchange")
    assert (server.drive / "tasks" / f"{NAME}18.48").read_text().endswith("/ru ACME\\exchange\n")


def test_on_2003_tasks_of_others_stay_ours_go_and_jobs_that_an_older_kit_left_too(
    server: Server, windows_programs: Path
) -> None:
    schedule_on_2003(server, windows_programs)
    others = ["Backup", "My Postern demo at 07.48", "Postern demo", "Postern demo-b at 07.48"]
    for name in others:
        (server.drive / "tasks" / name).touch()
    server.write("at.jobs", f"1 cmd /c D:\\backup.bat\n2 {OURS}\n")
    assert schedule_on_2003(server, windows_programs, "remove").returncode == 0
    assert tasks(server) == others
    assert jobs(server) == ["1 cmd /c D:\\backup.bat"]
    assert not {"schedule.tmp", "schedule.our"} & {path.name for path in server.folder.iterdir()}


def test_on_2003_a_task_that_is_not_taken_is_told_and_ends_with_4(server: Server, windows_programs: Path) -> None:
    (server.drive / "schtasks.denied").touch()
    ended = schedule_on_2003(server, windows_programs)
    assert ended.returncode == 4
    assert "The task was not taken" in ended.stdout


def test_on_later_windows_one_task_replaces_itself_and_goes_alone(server: Server, windows_programs: Path) -> None:
    shutil.copy(windows_programs / "schtasks.exe", server.folder)
    (server.drive / "tasks").mkdir()
    (server.drive / "tasks" / "Postern demo-b").touch()
    for _ in range(2):
        assert server.cmd(r"D:\userexport\schedule.bat").returncode == 0
        assert tasks(server) == ["Postern demo", "Postern demo-b"]
    assert server.cmd(r"D:\userexport\schedule.bat remove").returncode == 0
    assert tasks(server) == ["Postern demo-b"]


def test_on_later_windows_there_is_one_task_that_replaces_itself(server: Server) -> None:
    assert server.cmd(r"D:\userexport\schedule.bat").returncode == 0
    assert server.read("schtasks.calls") == "/create /f /tn Postern demo /xml schedule.xml /ru SYSTEM\n"


def test_on_later_windows_the_task_may_run_as_an_account_of_its_own(server: Server) -> None:
    server.cmd(r"D:\userexport\schedule.bat ACME\exchange")
    assert server.read("schtasks.calls") == "/create /f /tn Postern demo /xml schedule.xml /ru ACME\\exchange /rp *\n"


def test_on_later_windows_only_our_task_is_removed(server: Server) -> None:
    assert server.cmd(r"D:\userexport\schedule.bat remove").returncode == 0
    assert server.read("schtasks.calls") == "/delete /f /tn Postern demo\n"


def test_a_task_that_is_not_taken_is_told_and_ends_with_4(server: Server) -> None:
    server.write("schtasks.codes", "1\n")
    ended = server.cmd(r"D:\userexport\schedule.bat")
    assert ended.returncode == 4
    assert "Run as administrator" in ended.stdout


# ---- the real plink.exe, where there is one


@pytest.mark.skipif(
    "PLINK_EXE" not in os.environ, reason="PLINK_EXE names no plink.exe of Windows to run in place of the stand-in"
)
def test_the_real_plink_takes_our_lines_and_a_relay_that_is_not_there_is_4(server: Server) -> None:
    shutil.copy(os.environ["PLINK_EXE"], server.folder / "plink.exe")
    batch = re.sub(r"postern@\S+", "postern@127.0.0.1", re.sub(r"-P \d+", "-P 1", server.read("runexport.bat")))
    server.write("runexport.bat", batch)
    assert server.export().returncode == 4
    assert "refused" in server.read("runexport.log")
