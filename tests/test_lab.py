"""The lab's own promises; everything else that runs on a lab host rests on them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost

pytestmark = pytest.mark.host


def ssh(host: LabHost, home: Path, *argv: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    known = home / ".ssh" / "known_hosts"
    known.write_text("".join(f"{host.address} {key}\n" for key in host.host_keys))
    options = ["-F", str(home / ".ssh/config"), "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
    return subprocess.run(["ssh", "-n", *options, f"{user}@{host.address}", *argv], capture_output=True, text=True)


def test_the_operator_logs_in_as_root_and_finds_the_pinned_host_key(bookworm: LabHost, operator_home: Path) -> None:
    done = ssh(bookworm, operator_home, "hostname", "&&", "id", "-un")
    assert done.stdout.split() == [bookworm.name, "root"], done.stderr


def test_two_hosts_stand_side_by_side(lab_host: Callable[..., LabHost]) -> None:
    one, two = lab_host("bookworm"), lab_host("bookworm")
    for host in (one, two):
        host.start_postfix()
    assert one.address != two.address
    assert set(one.host_keys).isdisjoint(two.host_keys)
    assert one.ask(f"root@{one.name}") == "250 2.1.5 Ok"
    assert one.ask(f"root@{two.name}").startswith("454 4.7.1") or one.ask(f"root@{two.name}") == "250 2.1.5 Ok"
