"""A customer whose server is reached over SSH: both ends set up by one command, exports on demand.

What Windows' ssh.exe is called with is done by Debian's ssh.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers, export
from tests.support.real_clients import RealClients
from tests.support.windows_host import WindowsHost
from tests.support.windows_server import needs_wine

pytestmark = needs_wine

StartHost = Callable[..., LabHost]


class Setting:
    """An operator, a relay, and a customer's server that both can be reached from."""

    def __init__(self, operator: Operator, relay: LabHost, windows: WindowsHost, programs: Path) -> None:
        self.operator, self.relay, self.windows = operator, relay, windows
        self.folder = windows.there.drive / "userexport"
        (windows.there.drive / "exchsrvr" / "bin").mkdir(parents=True)
        shutil.copy(programs / "admin.exe", windows.there.drive / "exchsrvr" / "bin")
        shutil.copy(programs / "recorder.exe", windows.there.drive / "programs" / "ssh.exe")
        operator.relay("mx1", relay)
        operator.customer("acme", exchange=self.exchange())

    def exchange(self, **changes: object) -> dict[str, object]:
        ssh = {"address": self.windows.host.address, "user": "Administrator"}
        paths = {"install": r"D:\exchsrvr", "directory": r"D:\userexport"}
        return {"reach": "ssh", "client": "openssh", **paths, "ssh": ssh, **changes}

    def trust(self) -> None:
        self.operator.done("trust acme --yes")

    def people(self, *names: str) -> None:
        (self.folder / "admin.rows").write_bytes(export(*names).partition(b"\r\n")[2])


@pytest.fixture
def setting(lab_host: StartHost, windows_host: WindowsHost, windows_programs: Path, tmp_path: Path) -> Setting:
    relay = lab_host("bookworm")
    relay.start_postfix()
    return Setting(AtOnce(tmp_path), relay, windows_host, windows_programs)


def test_both_ends_are_set_up_by_one_command_and_kept_so(setting: Setting) -> None:
    operator = setting.operator
    ran = operator.done("trust acme --yes")
    assert "acme's server NTSERVER: 3 host keys pinned" in ran.out
    assert operator.done("trust acme").out.endswith("acme's server NTSERVER: nothing to change\n")

    ran = operator.done("provision acme --dry-run", code=6)
    assert "acme: a key is made and NTSERVER set up once a relay is ready for it" in ran.out
    assert not setting.folder.exists()

    ran = operator.done("provision acme")
    assert "acme: server NTSERVER:" in ran.out
    assert "task Postern acme" in ran.out
    assert operator.public_keys() == ["k1"]
    assert {path.name for path in setting.folder.iterdir()} == {
        *("exchupdate-k1", "known_hosts", "exportfields.txt", "userexport.ini", "runexport.bat", "endmark.txt"),
        "schedule.xml",
    }
    assert "PRIVATE" not in ran.text + operator.done("provision acme --full").text
    assert not operator.kits.exists()

    again = operator.done("provision acme")
    assert again.out.splitlines()[1:-1] == ["acme: server NTSERVER: nothing to change"]
    assert "nothing to change" in again.out.splitlines()[0]

    (setting.folder / "endmark.txt").write_text("#the end\n")
    (setting.folder / "theirs.txt").write_text("theirs")
    assert "-#the end" in operator.done("provision acme --diff").out
    assert operator.done("provision acme").out.splitlines()[1:-1] == ["acme: server NTSERVER: nothing to change"]
    assert (setting.folder / "theirs.txt").read_text() == "theirs"


def test_exports_run_on_demand_by_task_scheduler_and_are_shown_line_by_line(setting: Setting) -> None:
    operator = setting.operator
    setting.trust()
    operator.done("provision acme")
    setting.people("bob", "ann")
    with RealClients(setting.folder):
        looked = operator.done("sync acme --dry-run", code=3)
        assert f"NTSERVER: {setting.relay.address}:" in looked.out
        assert "acme: only looked: " in looked.out
        assert "NTSERVER: + bob@acme.example\n" in looked.out
        assert answers(setting.relay, "nobody@acme.example") == {"nobody@acme.example": "250"}

        held = operator.done("sync acme", code=3)
        lines = [line.strip() for line in held.out.splitlines()]
        assert [line for line in lines if line.endswith("...")] == [
            "NTSERVER: Exporting the addresses of acme ...",
            f"NTSERVER: Calling {setting.relay.address} ...",
        ]
        assert lines[-1] == "NTSERVER: runexport ends with 3"
        operator.accept("acme", "--first 2")
        as_json = json.loads(operator.done("sync acme --json").out)
        assert as_json["NTSERVER"]["code"] == 0
        assert any("2 recipients, unchanged" in line for line in as_json["NTSERVER"]["lines"])
    # it was run by Task Scheduler, as the scheduled run is, and nothing of that is left
    tasks = (setting.windows.there.drive / "schtasks.calls").read_text().splitlines()
    assert len([call for call in tasks if call.startswith("/run /tn Postern acme now-")]) == 3
    assert all("/ru SYSTEM" in call for call in tasks if call.startswith("/create"))
    assert [path.name for path in (setting.windows.there.drive / "tasks").iterdir()] == ["Postern acme"]
    assert list(setting.folder.glob("now-*")) == []
    assert answers(setting.relay, "bob@acme.example", "nobody@acme.example") == {
        "bob@acme.example": "250",
        "nobody@acme.example": "550",
    }
    again = operator.done("provision acme")
    assert again.out.splitlines()[1:-1] == ["acme: server NTSERVER: nothing to change"]


def test_a_server_whose_host_key_nobody_pinned_is_not_spoken_to_and_no_key_is_made(setting: Setting) -> None:
    ran = setting.operator.done("provision acme --kit-dir elsewhere", code=2)
    assert "--kit-dir: acme has no kit, its server is reached over SSH" in ran.err
    ran = setting.operator.done("provision acme", code=4)
    assert "acme: no host key of its server is pinned yet: `inv trust acme` shows and records them" in ran.err
    assert setting.operator.public_keys() == []
    assert setting.windows.commands == []


def test_attack_another_machine_in_the_server_s_place_gets_no_key(setting: Setting, lab_host: StartHost) -> None:
    other = lab_host("bookworm")
    known = setting.operator.inventory / "known_hosts"
    known.write_text(known.read_text() + f"{setting.windows.host.address} {other.host_keys[0]}\n")
    for words in ("provision acme", "sync acme"):
        ran = setting.operator.done(words, code=4)
        assert "host key" in ran.err
    assert setting.operator.public_keys() == []
    assert setting.windows.commands == []


@pytest.mark.long
def test_a_server_that_is_down_does_not_stop_the_relays_of_a_customer_who_has_a_key(setting: Setting) -> None:
    setting.trust()
    setting.operator.done("provision acme")
    setting.operator.customer("acme", domains=["acme.example", "acme.co.example"], exchange=setting.exchange())
    setting.windows.host.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = setting.operator.done("provision acme", code=4)
    assert re.search(r"^mx1: \d+ changes made", ran.out, re.MULTILINE)
    assert "acme: " in ran.err
    assert setting.operator.done("sync acme", code=4).err != ""


def test_a_sync_that_fails_there_ends_as_the_batch_does_and_says_why(setting: Setting) -> None:
    setting.trust()
    setting.operator.done("provision acme")
    ran = setting.operator.done("sync acme", code=4)
    assert "NTSERVER: admin.exe exported no addresses" in ran.out
    (setting.folder / "runexport.lck").mkdir()
    ran = setting.operator.done("sync acme", code=75)
    assert "NTSERVER: Another run is at work: this one does nothing." in ran.out


def test_a_rotation_proves_the_new_key_from_the_server_and_who_leaves_leaves_no_key_and_no_task(
    setting: Setting,
) -> None:
    setting.trust()
    setting.operator.done("provision acme")
    setting.people("bob")
    windows = setting.windows
    with RealClients(windows.home, windows.there.drive), RealClients(setting.folder):
        ran = setting.operator.done("rotate-key acme")
        assert setting.operator.public_keys() == ["k2"], ran.text
        assert sorted(path.name for path in setting.folder.glob("exchupdate-*")) == ["exchupdate-k2"]
        setting.operator.done("sync acme", code=3)
    assert setting.operator.done("provision acme").out.splitlines()[1] == "acme: server NTSERVER: nothing to change"

    setting.operator.done("retire acme --yes --force")
    assert list((windows.there.drive / "tasks").iterdir()) == []
    ours = ("exchupdate-*", "*.bat", "schedule.xml", "known_hosts", "endmark.txt")
    assert [path.name for pattern in ours for path in setting.folder.glob(pattern)] == []
