"""The relay's timer where systemd runs the machine: its units, and that there is never a line of cron beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.paths import REBUILD
from deploy.items import Item, timer
from inventory.model import StoreFiles
from lab.host import LabHost
from lab.operators import AtOnce
from roles import relay as relay_role
from roles.relay.facts import BLANK
from roles.relay.timers import timers
from templates import render
from tests.roles.test_relay import FRESH, customer, relay

ACCESS = StoreFiles("{}", "", "")
ITEM = timer("postern", render("relay/postern.service.j2"), render("relay/postern.timer.j2"))
SYSTEMCTL = """#!/bin/sh
echo "$*" >> /run/systemctl.log
state=/run/systemctl.state
touch $state
case $1 in
    enable) echo enabled >> $state ;;
    restart) echo active >> $state ;;
    daemon-reload) cat /etc/systemd/system/postern.* > /run/systemctl.read 2> /dev/null ;;
    disable) : > $state ;;
    is-active) exit 1 ;;
    show)
        grep -q active $state && echo ActiveState=active || echo ActiveState=inactive
        grep -q enabled $state && echo UnitFileState=enabled || echo UnitFileState=disabled
        cat /etc/systemd/system/postern.* 2> /dev/null | cmp -s - /run/systemctl.read &&
            echo NeedDaemonReload=no || echo NeedDaemonReload=yes
        ;;
esac
"""


def timer_items(systemd: bool) -> dict[str, Item]:
    found = relay_role.items(relay(), [customer()], FRESH._replace(systemd=systemd))
    return {item.name: item for item in found if item.name in ("postern", "/etc/cron.d/postern", "cron")}


def test_a_machine_with_systemd_gets_a_timer_and_no_line_of_cron() -> None:
    found = timer_items(systemd=True)
    assert found["postern"].kind in ("timer", "sudo")
    assert found["/etc/cron.d/postern"].wanted is None
    assert "cron" not in found


def test_a_machine_without_systemd_gets_cron() -> None:
    found = timer_items(systemd=False)
    assert "postern tick" in (found["/etc/cron.d/postern"].wanted or {})["content"]
    assert "cron" in found
    assert BLANK.systemd is False


def test_the_timer_is_there_before_the_line_of_cron_goes() -> None:
    names = [(item.kind, item.name) for item in relay_role.items(relay(), [], FRESH._replace(systemd=True))]
    assert names.index(("timer", "postern")) < names.index(("file", "/etc/cron.d/postern"))


@pytest.mark.parametrize("systemd", [True, False])
def test_a_relay_with_a_store_follows_it_each_minute_and_before_postfix_starts(systemd: bool) -> None:
    found = {item.name: item.wanted for item in timers(relay().model_copy(update={"store": ACCESS}), systemd)}
    (second,) = re.findall(r"OnCalendar=\*:\*:(\d\d)|sleep (\d+);", str(found))
    assert 0 <= int("".join(second)) < 60
    asked = found["postern-follow"] if systemd else found["/etc/cron.d/postern-follow"]
    assert "/usr/local/sbin/postern follow\n" in str(asked and (asked.get("service") or asked["content"]))
    before = [wanted for name, wanted in found.items() if name.startswith("/etc/systemd/system/postfix")]
    assert len(before) == 2 * systemd
    assert all(re.search("follow --seconds 20.*rebuild-relay-recips", str(wanted)) for wanted in before)


@pytest.mark.parametrize("systemd", [True, False])
def test_a_relay_without_a_store_has_nothing_left_that_follows(systemd: bool) -> None:
    found = {item.name: item.wanted for item in timers(relay(), systemd)}
    before = {f"/etc/systemd/system/{unit}.d/postern.conf" for unit in ("postfix.service", "postfix@.service")}
    wanted = {"postern", *before} if systemd else {"/etc/cron.d/postern"}
    assert {name for name, each in found.items() if each} == wanted
    assert "follow" not in str([each for each in found.values() if each])


@pytest.mark.parametrize("systemd", [True, False])
def test_a_relay_that_was_off_for_weeks_builds_before_it_answers(systemd: bool) -> None:
    """A build alone opens a domain whose list is too old; see test_rebuild."""
    found = {item.name: str(item.wanted) for item in timers(relay(), systemd)}
    name = "/etc/systemd/system/postfix@.service.d/postern.conf" if systemd else "/etc/cron.d/postern"
    line = "ExecStartPre=-/usr/bin/timeout -k 5 30 " if systemd else "@reboot root "
    assert f"{line}/usr/local/sbin/rebuild-relay-recips\\n" in found[name]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here to ask")
def test_systemd_s_own_check_takes_the_units_and_their_times(tmp_path: Path) -> None:
    for end in ("service", "timer"):
        text = str((ITEM.wanted or {})[end]).replace("/usr/local/sbin/postern", "/bin/true")
        (tmp_path / f"postern.{end}").write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "postern.timer")]
    checked = subprocess.run(argv, capture_output=True, text=True)
    assert [line for line in checked.stderr.splitlines() if "postern." in line] == []
    times = subprocess.run(["systemd-analyze", "calendar", "*:0/5"], capture_output=True, text=True, check=True)
    assert "*-*-* *:00/5:00" in times.stdout


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    """A relay that seems to be run by systemd: a stand-in for systemctl does what is asked here of the real one."""
    with LabHost("bookworm") as found:
        found.start_postfix()
        found.run("mkdir", "-p", "/run/systemd/system")
        path = found.root / "usr/bin/systemctl"
        path.unlink(missing_ok=True)
        path.write_text(SYSTEMCTL)
        path.chmod(0o755)
        yield found


@pytest.mark.host
def test_cron_of_a_release_before_is_replaced_by_the_timer_and_a_second_run_changes_nothing(
    host: LabHost, tmp_path: Path
) -> None:
    operator = AtOnce(tmp_path)
    operator.relay("mx1", host)
    operator.customer()
    cron = host.root / "etc/cron.d/postern"
    cron.write_text(render("relay/cron.j2", rebuild=REBUILD))
    operator.done("provision acme")
    assert not cron.exists()
    assert (host.root / "etc/systemd/system/postern.timer").read_text() == render("relay/postern.timer.j2")
    assert "restart postern.timer" in (host.root / "run/systemctl.log").read_text()
    assert "nothing to change" in operator.done("provision acme").out


@pytest.mark.host
@pytest.mark.long
def test_a_timer_that_somebody_stopped_is_drift_and_is_set_again(host: LabHost, tmp_path: Path) -> None:
    operator = AtOnce(tmp_path)
    operator.relay("mx1", host)
    operator.customer("bolt")
    operator.done("provision bolt")
    host.run("systemctl", "disable", "--now", "postern.timer")
    assert "timer postern" in operator.run("status --json").out
    operator.done("provision bolt")
    assert "timer postern" not in operator.run("status --json").out
