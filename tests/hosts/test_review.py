"""A review of three relays: one takes no upload, of one the mail log is gone. Nobody who had mail is missed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import ACCEPT, AtOnce, answers, export

pytestmark = pytest.mark.host

RECORD = "var/lib/postern/customers/acme/held/review.json"


def test_mail_on_any_relay_is_beside_the_first_list_and_what_was_not_seen_is_said(tmp_path: Path) -> None:
    with ExitStack() as running:
        mx1, mx2, mx3 = (running.enter_context(LabHost("bookworm")) for _ in range(3))
        operator, hosts = AtOnce(tmp_path), {"mx1": mx1, "mx2": mx2, "mx3": mx3}
        for name, host in hosts.items():
            host.start_postfix()
            operator.relay(name, host)
        operator.customer(relays=[*hosts], next_hop=mx1.start_sink())
        operator.done("provision acme")
        assert [operator.upload(export("anna", "bob"), relay=number).code for number in range(2)] == [3, 3]
        deliver(mx3, "sales")
        mx2.run("rm", "/var/log/mail.log")

        review = operator.done("review acme").out
        assert "NOT ON THE LIST, and had mail in the last 14 days (1):\n    ! sales@acme.example  on 1 day" in review
        assert "there may have been more mail: mx2: the mail log cannot be read" in review
        assert "there may have been more mail: mx3: the mail log is known since" in review
        (command,) = {*ACCEPT.findall(review)}
        assert command.startswith("accept acme --first 2 --although-mail 1 --log-incomplete --list ")
        records = [json.loads((host.root / RECORD).read_text()) for host in hosts.values()]
        assert records[0] == records[1] == records[2]
        assert records[0]["relays"] == 3

        assert operator.done(command.replace("--although-mail 1 ", ""), code=2).out.count("--although-mail 1") == 1
        deliver(mx1, "late")
        said = operator.done(command).out
        assert "note: late@acme.example had mail since the review, and the customer's server takes everybody" in said
        for host in (mx1, mx2):
            assert [*answers(host, "anna@acme.example", "sales@acme.example").values()] == ["250", "550"]


def deliver(host: LabHost, local: str) -> None:
    """Have mail for an address go through a relay to the customer's server, and be logged."""
    with smtp.Conversation(host.address, from_address=host.address) as session:
        session.send(f"{local}@acme.example", "Subject: hello\n\nA question.")
    host.log(until=f"to=<{local}@acme.example>")
