"""A customer's lists from the first on, as the relay answers over SMTP and the operator is told: nobody is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import ACCEPT, MARK, AtOnce, Operator, Ran, answers, export, people

pytestmark = pytest.mark.host

CUSTOMERS = ("acme", "bolt", "corp", "dart")  # one for each test


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay on which customers have been provisioned, and nothing has come yet."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        for customer in CUSTOMERS:
            operator.customer(customer, next_hop=host.start_sink() if customer == "dart" else "relay:[203.0.113.25]:25")
        operator.done("provision --all")
        yield host, operator


class Customer:
    """One of them, and what the relay answers about its addresses."""

    def __init__(self, id_: str, relay: tuple[LabHost, Operator]) -> None:
        self.id = id_
        self.domain = f"{id_}.example"
        self.relay, self.operator = relay

    def upload(self, *locals_: str) -> Ran:
        return self.operator.upload(export(*locals_, domain=self.domain), customer=self.id)

    def ask(self, *locals_: str) -> list[str]:
        return list(answers(self.relay, *(f"{one}@{self.domain}" for one in locals_)).values())


def test_a_customer_s_first_lists_as_smtp_sees_them(relay: tuple[LabHost, Operator]) -> None:
    """Open, held and open, accepted and closed, cut to 1 % and nobody lost, accepted by its number and by no other."""
    acme, operator = Customer("acme", relay), relay[1]
    assert acme.ask("anybody", "user0000") == ["250", "250"]
    assert "open until a list is accepted: acme.example" in operator.done("status acme", code=1).out
    assert "nothing is held" in operator.done(f"accept acme --first 200 --list {'0' * 64}", code=2).err

    first = acme.upload(*people(200))
    assert (first.code, first.err) == (3, "")
    assert first.out == "acme: first list of acme.example (200): held; 200 added; left out 200: 200 not internet\n"
    assert acme.ask("anybody", "user0000") == ["250", "250"]
    name = re.search(r"  inv accept acme --first 200 (.*--list [0-9a-f]{64})\n$", operator.done("review acme").out)
    assert name
    assert "--first 199 is not what is held" in operator.done(f"accept acme --first 199 {name[1]}", code=2).out
    assert acme.ask("anybody") == ["250"]
    operator.accept("acme", "--first 200")
    assert acme.ask("anybody2", "user0000", "USER0199", "postmaster") == ["550", "250", "250", "250"]
    operator.done("status acme")
    operator.done("verify acme")

    cut = acme.upload("user0000", "user0001", "newcomer")
    assert cut.code == 3
    assert cut.out.startswith("acme: 99.0 % would go (198 of 200), limit 10 %: held; 1 added")
    assert acme.ask("newcomer", "user0000", "user0199", "anybody3") == ["250", "250", "250", "550"]
    assert re.search("held since .*: 99.0 % would go", operator.done("status acme", code=1).out)

    review = operator.done("review acme").out
    assert len(re.findall(r"^ +- user\d{4}@acme.example$", review, re.MULTILINE)) == 198
    name = re.search(r"  inv accept acme --removing 198 (.*--list [0-9a-f]{64})\n$", review)
    assert name
    operator.done(f"accept acme --removing 198 {name[1]} --dry-run", code=6)
    for wrong in ("--removing 197", "--adding 198", "--first 198"):
        assert "is not what is held" in operator.done(f"accept acme {wrong} {name[1]}", code=2).out
    assert acme.ask("user0199") == ["250"]

    operator.accept("acme", "--removing 198")
    assert acme.ask("newcomer", "user0001", "user0150", "postmaster") == ["250", "250", "550", "250"]
    operator.done("status acme")


def test_twenty_small_cuts_in_a_row_are_held_as_one_big_one(relay: tuple[LabHost, Operator]) -> None:
    bolt, operator = Customer("bolt", relay), relay[1]
    left = people(100)
    bolt.upload(*left)
    operator.accept("bolt", "--first 100")
    codes = []
    for _ in range(20):
        left = left[2:]
        codes.append(bolt.upload(*left).code)
    assert codes == [0] * 5 + [3] * 15  # 10 of the 100 there were at first may go, one more may not
    assert bolt.ask("user0000", "user0009", "user0010", "user0039") == ["550", "550", "250", "250"]
    review = operator.done("review bolt").out
    assert "40.0 % would go (40 of 100), limit 10 %" in review
    bolt.upload(*left[1:])
    (command,) = ACCEPT.findall(review)
    assert "user0040@bolt.example would be removed by the list held now" in operator.done(command, code=2).text
    assert bolt.ask("user0039", "user0040") == ["250", "250"]
    operator.accept("bolt", "--removing 31")
    assert bolt.ask("user0040", "user0041") == ["550", "250"]


def test_an_export_file_goes_through_the_same_guard(relay: tuple[LabHost, Operator], tmp_path: Path) -> None:
    corp, operator = Customer("corp", relay), relay[1]
    file = tmp_path / "export.txt"
    file.write_bytes(export("anna", "bob", domain=corp.domain))
    look = operator.done(f"sync corp --export-file {file} --dry", code=3).out
    assert "only looked: 2 recipients (+2 -0); first list of corp.example (2): would be held" in look
    assert "  + anna@corp.example" in look
    assert "nothing is held" in operator.done("review corp").out

    assert "first list of corp.example (2): held" in operator.done(f"sync corp --export-file {file}", code=3).out
    operator.accept("corp", "--first 2")
    file.write_bytes(export("anna", "bob", "carol", domain=corp.domain) + MARK)
    said = json.loads(operator.done(f"sync corp --export-file {file} --json").out)["mx1"]
    assert (said["did"], said["added"], said["total"]) == ("published", 1, 3)
    assert corp.ask("carol", "dave") == ["250", "550"]

    file.write_bytes(export("anna", "bob", "carol", domain=corp.domain)[:-2])
    assert "the list in force stays" in operator.done(f"sync corp --export-file {file}", code=2).out
    assert corp.ask("carol") == ["250"]


def test_a_review_says_who_of_those_that_would_go_had_mail_lately(relay: tuple[LabHost, Operator]) -> None:
    dart, operator = Customer("dart", relay), relay[1]
    dart.upload("anna", "bob", "carol", "dave")
    operator.accept("dart", "--first 4")
    with smtp.Conversation(dart.relay.address, from_address=dart.relay.address) as session:
        session.send("carol@dart.example", "Subject: hello\n\nStill here.")
    dart.relay.log(until="status=sent")
    assert dart.upload("anna").code == 3
    review = operator.done("review dart").out
    named = r"- carol@dart.example  has had mail lately: on 1 day, the last .*\n +- bob@dart.example\n"
    assert re.search(named, review)
    assert "at least 1 that it refuses have had mail in the last 14 days" in review
    assert "the customer's server takes everybody: that it took mail for an address proves nothing" in review
    assert re.search(
        r"  inv accept dart --removing 3 --although-mail 1 --log-incomplete --list [0-9a-f]{64}\n$", review
    )
