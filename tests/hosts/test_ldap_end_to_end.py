"""From a real directory to what a relay's SMTP says, the customer's host reached over SSH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import roots
from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers
from tests.support.directories import BASE, FOLDER, PASSWORD, READER, SERVER, UNLIMITED, Directory

pytestmark = pytest.mark.host

StartHost = Callable[..., LabHost]
HIDDEN = f'access to dn.regex="cn=user[1-9]..?,ou=people" by dn.exact="{READER}" none\naccess to * by * read\n'


class Setting:
    """An operator, a relay, and a customer's directory whose host both can be reached from."""

    def __init__(self, operator: Operator, relay: LabHost, directory: Directory) -> None:
        self.operator, self.relay, self.directory = operator, relay, directory
        operator.relay("mx1", relay)
        ldap = {"servers": [SERVER], "base": BASE, "bind_dn": READER, "attributes": ["mail"]}
        host = directory.host
        operator.customer(
            "acme",
            canaries=["user999@acme.example"],
            exchange={
                **dict.fromkeys(("server", "install", "directory", "basepoint")),
                "source": "ldap",
                "addresses": ["127.0.0.0/8"],
                "reach": "ssh",
                "ldap": ldap,
                "ssh": {"address": host.address, "user": "root"},
            },
        )

    def secrets(self) -> None:
        """Do what the customer's admin does: the password and the CA."""
        self.directory.file("bind.password").write_text(PASSWORD)
        self.directory.file("bind.password").chmod(0o600)
        self.directory.host.run("cp", "/etc/ldap/lab/ca.pem", f"{FOLDER}/ca.pem")


@pytest.fixture
def setting(lab_host: StartHost, tmp_path: Path) -> Setting:
    relay = lab_host("bookworm")
    relay.start_postfix()
    directory = Directory(lab_host("bookworm", bare=True, extra=roots.DIRECTORY), people=1000)
    return Setting(AtOnce(tmp_path), relay, directory)


def test_a_linux_host_is_provisioned_synced_rotated_and_retired_over_ssh(setting: Setting) -> None:
    operator, directory = setting.operator, setting.directory
    operator.done("trust acme --yes")
    ran = operator.done("provision acme")
    assert "schedule postern-acme" in ran.out
    assert directory.file("exchupdate-k1").stat().st_mode & 0o777 == 0o600
    assert directory.file("runexport.sh").stat().st_mode & 0o777 == 0o700
    assert "7 * * 1" in (directory.host.root / "etc/cron.d/postern-acme").read_text()
    assert "nothing to change" in operator.done("provision acme").out.splitlines()[-2]

    setting.secrets()
    assert "only looked: 1000 recipients" in operator.done("sync acme --dry-run", code=3).out
    operator.done("sync acme", code=3)
    operator.accept("acme", "--first 1000")
    told = answers(setting.relay, "user7@acme.example", "nobody@acme.example")
    assert told == {"user7@acme.example": "250", "nobody@acme.example": "550"}

    directory.restart(f"{UNLIMITED}\n{HIDDEN}")
    ran = operator.done("sync acme", code=3)
    assert "canary user999@acme.example is missing" in ran.text
    assert answers(setting.relay, "user999@acme.example") == {"user999@acme.example": "250"}
    directory.restart(UNLIMITED)

    operator.done("rotate-key acme")
    assert operator.public_keys() == ["k2"]
    assert not directory.file("exchupdate-k1").exists()
    assert operator.done("sync acme").code == 0

    operator.done("retire acme --yes")
    assert not directory.file("runexport.sh").exists()
    assert not (directory.host.root / "etc/cron.d/postern-acme").exists()
