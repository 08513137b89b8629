"""A new list is seen over SMTP without a reload, on each Postfix and with each table type of the field."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, answers, export
from tests.support.releases import releases

pytestmark = pytest.mark.host


@pytest.mark.parametrize(
    ("release", "given", "table_type"),
    releases(("bookworm", None, "hash"), ("trixie", None, "hash"), ("trixie", "lmdb", "lmdb"), ("forky", None, "cdb")),
)
def test_a_new_list_is_seen_at_once_though_nobody_reloads_postfix(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str, given: str | None, table_type: str
) -> None:
    host, operator = lab_host(release), AtOnce(tmp_path)
    chrooted = host.run("postconf", "-Fh", "smtp/inet/chroot").stdout.strip()
    assert chrooted == ("n" if release == "forky" else "y")  # as Debian has it
    host.start_postfix()
    table: dict[str, Any] = {"table_type": given} if given else {}
    operator.relay("mx1", host, **table)
    operator.customer("acme")
    operator.done("provision acme")
    assert (
        f"{table_type}:/etc/postern/tables/exchange_recipients"
        in host.run("postconf", "-h", "relay_recipient_maps").stdout
    )
    master, reloads = running(host), host.log().count("reload")

    operator.upload(export("anna"))
    operator.accept("acme", "--first 1")
    with smtp.Conversation(host.address, from_address=OUTSIDE) as open_since_before:  # whose smtpd has the old table
        assert open_since_before.ask("bob@acme.example").startswith("550")
        assert operator.upload(export("anna", "bob")).code == 0
        assert answers(host, "anna@acme.example", "bob@acme.example", "carol@acme.example") == {
            "anna@acme.example": "250",
            "bob@acme.example": "250",
            "carol@acme.example": "550",
        }
    assert operator.upload(export("anna")).code == 0
    assert answers(host, "bob@acme.example") == {"bob@acme.example": "550"}
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")
    operator.done("verify acme")
    assert running(host) == master
    assert host.log().count("reload") == reloads


def running(host: LabHost) -> str:
    """Postfix' master, and when it was started."""
    return host.run("sh", "-c", "ps -o pid=,lstart= -p $(cat /var/spool/postfix/pid/master.pid)").stdout
