"""A kit from its first number to the next: what is recorded, what uploads name, and who must carry one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, export
from tests.support.servers import Server

pytestmark = pytest.mark.host


def test_a_spare_host_key_makes_a_second_kit_that_is_asked_for_until_it_is_carried(
    lab_host: Callable[..., LabHost], tmp_path: Path
) -> None:
    host, operator = lab_host("bookworm"), AtOnce(tmp_path)
    host.start_postfix()
    operator.relay("mx1", host)
    operator.customer("acme")
    ran = operator.done("provision acme")
    assert f"acme: kit 1 recorded; commit {operator.inventory / 'kits' / 'acme.json'}" in ran.out
    server = Server(operator)
    assert server.verb == "receive kit=1"
    assert "nobody has uploaded with it yet" in operator.done("kits").out
    assert server.upload().code == 3
    operator.accept("acme", "--first 1")
    assert json.loads(operator.done("kits acme --json").out)["customers"]["acme"]["in_use"] == 1
    assert json.loads(operator.done("status --json").out)["customers"][0]["needs"] == []

    spare = tmp_path / "spare.pub"
    host.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/spare")
    spare.write_text(host.run("cat", "/root/spare.pub").stdout)
    assert "say --yes" in operator.done(f"trust mx1 --spare {spare}", code=2).err
    operator.done(f"trust mx1 --spare {spare} --yes")
    assert operator.done("trust mx1").out.endswith("mx1: nothing to change\n")
    (need,) = json.loads(operator.done("status --json").out)["customers"][0]["needs"]
    assert (need["kind"], need["urgent"]) == ("kit", False)
    assert "1 more host key of mx1" in need["text"]

    operator.done("provision acme")
    record = json.loads((operator.inventory / "kits" / "acme.json").read_text())
    assert (record["number"], record["keys"], [*record["relays"]]) == (2, ["k1"], ["mx1"])
    assert spare.read_text().split()[1] in (operator.kits / "acme" / "runexport.bat").read_text()
    assert "kit 2 is to be carried to C:\\userexport on its server: 1 more host key" in operator.done("kits").out
    assert server.upload().code == 0
    server.carry()
    assert server.verb == "receive kit=2"
    assert server.upload().code == 0
    assert "0 to be carried" in operator.done("kits").out

    operator.upload(export("bob"))
    host.run("sh", "-c", "cp /root/spare /etc/ssh/ssh_host_ed25519_key; rm /etc/ssh/ssh_host_[er][cs]*")
    host.run(
        "sh",
        "-c",
        "old=$(cat /run/sshd.pid); kill $old; while kill -0 $old; do sleep 0.05; done 2>/dev/null; /usr/sbin/sshd",
    )
    assert server.upload().code == 0
    operator.done("status")
