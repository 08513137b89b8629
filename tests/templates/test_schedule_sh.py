"""schedule.sh on a host with systemd, without it, and between the two: one schedule stands, never both, never neither.

A stand-in for systemctl does what is asked here of the real one; the units are read by systemd's own check.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import roots
from lab.host import LabHost
from tests.support.directories import FOLDER, kit_files

SYSTEMCTL = """#!/bin/sh
case "$*" in *"$(cat /run/systemctl.fails 2> /dev/null || echo nothing)"*) echo "Job failed." >&2; exit 1 ;; esac
unit=/etc/systemd/system/postern-acme.timer
case "$*" in
    daemon-reload) ;;
    "enable postern-acme.timer") [ -e $unit ] && : > /run/enabled ;;
    "restart postern-acme.timer") [ -e $unit ] && : > /run/active ;;
    "disable --now postern-acme.timer") [ -e $unit ] && rm -f /run/enabled /run/active ;;
    "-q is-enabled postern-acme.timer") [ -e /run/enabled ] ;;
    "-q is-active postern-acme.timer") [ -e /run/active ] ;;
    *) echo "systemctl $*: not asked of the stand-in" >&2; exit 64 ;;
esac
"""
CRON, TIMER = "etc/cron.d/postern-acme", "etc/systemd/system/postern-acme.timer"
SYSTEMD = "run/systemd/system"


class Scheduled:
    """A host with a kit's folder, and what on it would run the script."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        host.run("mkdir", "-p", FOLDER)
        for name, text in kit_files(host, "ssh-ed25519 AAAA").items():
            (host.root / FOLDER.lstrip("/") / name).write_text(text)

    def boots_with_systemd(self, with_it: bool) -> None:
        """Have systemd run this host, or not."""
        self.host.run("rm", "-rf", "/run/systemd")
        if with_it:
            self.host.run("mkdir", "-p", f"/{SYSTEMD}")
            systemctl = self.host.root / "usr/bin/systemctl"
            systemctl.unlink(missing_ok=True)
            systemctl.write_text(SYSTEMCTL)
            systemctl.chmod(0o755)

    def fails(self, call: str) -> None:
        """Have this call of systemctl fail; nothing: none does."""
        (self.host.root / "run/systemctl.fails").write_text(call or "nothing")

    def schedule(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run schedule.sh."""
        return self.host.run("dash", f"{FOLDER}/schedule.sh", *words, check=False)

    def runs_by(self) -> set[str]:
        """Return what runs the script now: cron, the timer."""
        lines = (self.host.root / CRON).exists() and "runexport.sh" in (self.host.root / CRON).read_text()
        timer = self.host.run("test", "-e", "/run/active", check=False).returncode == 0
        return {name for name, true in (("cron", lines), ("timer", timer)) if true}


@pytest.fixture(scope="module")
def started() -> Iterator[Scheduled]:
    with LabHost("bookworm", bare=True, extra=roots.DIRECTORY) as host:
        yield Scheduled(host)


@pytest.fixture
def scheduled(started: Scheduled) -> Scheduled:
    """A host with systemd that has no schedule yet."""
    left = f"rm -f /{CRON} /etc/systemd/system/postern-* /run/enabled /run/active; mkdir -p /etc/cron.d"
    started.host.run("sh", "-c", left)
    started.boots_with_systemd(True)
    started.fails("")
    return started


@pytest.mark.host
def test_a_host_with_systemd_gets_a_timer_alone_and_a_second_time_changes_nothing(scheduled: Scheduled) -> None:
    for _ in range(2):
        ran = scheduled.schedule()
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert scheduled.runs_by() == {"timer"}
        assert scheduled.schedule("--check").stdout == ""
    kit = scheduled.host.root / FOLDER.lstrip("/")
    assert (scheduled.host.root / TIMER).read_bytes() == (kit / "postern-acme.timer").read_bytes()


@pytest.mark.host
@pytest.mark.parametrize("fails", ["daemon-reload", "enable", "restart"])
def test_a_timer_that_does_not_come_about_leaves_the_line_of_cron(scheduled: Scheduled, fails: str) -> None:
    scheduled.boots_with_systemd(False)
    assert scheduled.schedule().returncode == 0
    assert scheduled.runs_by() == {"cron"}

    scheduled.boots_with_systemd(True)
    scheduled.fails(fails)
    ran = scheduled.schedule()
    assert (ran.returncode, "the line of cron stays" in ran.stdout) == (4, True), ran.stdout
    assert scheduled.runs_by() == {"cron"}
    assert not (scheduled.host.root / TIMER).exists(), "the next start of the host would run both"

    scheduled.fails("")
    assert scheduled.schedule().returncode == 0
    assert scheduled.runs_by() == {"timer"}


@pytest.mark.host
def test_a_timer_that_does_not_come_about_where_there_was_nothing_is_said(scheduled: Scheduled) -> None:
    scheduled.fails("restart")
    ran = scheduled.schedule()
    assert (ran.returncode, "nothing else runs runexport.sh" in ran.stdout) == (4, True), ran.stdout


@pytest.mark.host
def test_a_host_that_lost_systemd_keeps_its_timer_until_a_line_of_cron_stands(scheduled: Scheduled) -> None:
    assert scheduled.schedule().returncode == 0
    scheduled.boots_with_systemd(False)
    scheduled.host.run("rm", "-rf", "/etc/cron.d")
    ran = scheduled.schedule()
    assert (ran.returncode, "neither systemd nor /etc/cron.d" in ran.stdout) == (4, True)
    assert (scheduled.host.root / TIMER).exists()
    scheduled.host.run("mkdir", "/etc/cron.d")
    assert scheduled.schedule().returncode == 0
    assert "cron" in scheduled.runs_by()
    assert not (scheduled.host.root / TIMER).exists()


@pytest.mark.host
def test_what_somebody_changed_stopped_or_added_is_said_and_put_right(scheduled: Scheduled) -> None:
    scheduled.schedule()
    scheduled.host.run("rm", "-f", "/run/active")
    (scheduled.host.root / CRON).write_text("* * * * * root /opt/userexport/runexport.sh\n")
    (scheduled.host.root / TIMER).write_text("[Timer]\n")
    assert scheduled.schedule("--check").stdout.splitlines() == [
        f"/{TIMER} is not as it should be",
        "postern-acme.timer is not running",
        f"/{CRON} should not be there",
    ]
    assert scheduled.schedule().returncode == 0
    assert (scheduled.schedule("--check").stdout, scheduled.runs_by()) == ("", {"timer"})


@pytest.mark.host
@pytest.mark.parametrize("systemd", [True, False])
def test_remove_takes_away_whatever_runs_it(scheduled: Scheduled, systemd: bool) -> None:
    scheduled.boots_with_systemd(systemd)
    scheduled.schedule()
    assert scheduled.schedule("remove").returncode == 0
    assert scheduled.runs_by() == set()
    assert not [path for path in ("etc/cron.d", "etc/systemd/system") if any_of(scheduled, path)]


def any_of(scheduled: Scheduled, folder: str) -> list[Path]:
    return [*(scheduled.host.root / folder).glob("postern-*")]


@pytest.mark.host
def test_a_word_it_does_not_know_is_refused(scheduled: Scheduled) -> None:
    assert scheduled.schedule("start").returncode == 2
    assert scheduled.schedule("remove", "remove").returncode == 2
    assert scheduled.runs_by() == set()


@pytest.mark.host
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here to ask")
def test_systemd_s_own_check_takes_the_units_and_their_times(scheduled: Scheduled, tmp_path: Path) -> None:
    kit = scheduled.host.root / FOLDER.lstrip("/")
    for end in ("service", "timer"):
        text = (kit / f"postern-acme.{end}").read_text().replace(f"{FOLDER}/runexport.sh", "/bin/true")
        (tmp_path / f"postern-acme.{end}").write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "postern-acme.timer")]
    checked = subprocess.run(argv, capture_output=True, text=True)
    assert [line for line in checked.stderr.splitlines() if "postern-" in line] == []
    times = re.findall(r"^OnCalendar=(.*)$", (tmp_path / "postern-acme.timer").read_text(), re.MULTILINE)
    subprocess.run(["systemd-analyze", "calendar", *times], capture_output=True, text=True, check=True)


@pytest.mark.host
def test_a_full_disk_leaves_no_half_line_of_cron() -> None:
    with LabHost("bookworm", bare=True, extra=roots.DIRECTORY) as host:
        scheduled = Scheduled(host)
        host.tmpfs("/etc/cron.d", "16k")
        host.run("sh", "-c", "cat /dev/zero > /etc/cron.d/fill", check=False)
        ran = scheduled.schedule()
        assert (ran.returncode, f"/{CRON} could not be written" in ran.stdout) == (4, True), ran.stdout
        assert not any_of(scheduled, "etc/cron.d")
