"""`inv explain` and `inv find`: each way in which an address can stand, on a real relay."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, Operator, people
from tests.support.releases import unpack_first_release

HEADER = "DN,objectClass,proxyAddresses,msExchRequireAuthToSendTo\r\n"
EXCHANGE = {"source": "csvde", "server": "DC1", "install": None, "basepoint": None}


def csvde(*locals_: str, internal: str = "Team") -> bytes:
    """An export of users, and of one group that takes no mail from outside."""
    rows = [f'"CN={name},DC=acme,DC=example",user,SMTP:{name}@acme.example,FALSE\r\n' for name in locals_]
    group = f'"CN={internal},DC=acme,DC=example",group,SMTP:{internal}@acme.example,TRUE\r\n'
    return (HEADER + "".join(rows) + group).encode()


pytestmark = pytest.mark.story

NAMES = (*people(20), "boss", "john..doe")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay whose customer has an accepted list of one domain, an open domain, and a removed recipient."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        domains = ["acme.example", "acme.co.example"]
        operator.customer(domains=domains, exclude=["administrator", "boss"], exchange=EXCHANGE)
        operator.done("provision acme")
        operator.upload(csvde(*NAMES))
        operator.accept("acme", "--first 21")
        assert operator.upload(csvde(*NAMES[:19], *NAMES[20:])).code == 0  # without user0019
        yield host, operator


@pytest.fixture
def operator(relay: tuple[LabHost, Operator]) -> Operator:
    return relay[1]


def explained(operator: Operator, address: str, code: int = 0) -> str:
    """What is printed, which fits a screen."""
    out = operator.done(f"explain {address}", code=code).out
    assert len(out.splitlines()) <= 24
    assert "\nWhat to do: " in out
    return out


def record(operator: Operator, address: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(operator.done(f"explain {address} --json").out)
    return found


@pytest.mark.host
def test_a_listed_address_says_since_when_and_what_an_outsider_is_answered(operator: Operator) -> None:
    out = explained(operator, "user0003@acme.example")
    assert "user0003@acme.example: customer acme, Demo Ltd" in out
    assert "mx1: LISTED, already on the oldest list that is kept, of " in out
    assert "brought by key k1 from 127." in out
    assert "accepted by " in out
    assert "answers an outsider (" in out
    assert "`250 2.1.5 Ok`" in out
    assert "hash:/etc/postern/tables/exchange_recipients knows user0003@acme.example" in out
    assert "mail for it goes to relay:[203.0.113.25]:25" in out
    assert "What to do: nothing here: its mail is taken." in out


@pytest.mark.host
def test_an_address_removed_last_week_names_the_upload_and_the_way_back(operator: Operator) -> None:
    out = explained(operator, "user0019@acme.example")
    (entry,) = {one["entry"] for one in json.loads(operator.done("history acme --json").out)["mx1"]["log"]}
    assert "NOT LISTED" in out
    assert f"; entry {entry}" in out
    assert (
        f"What to do: nobody has accepted that it goes: if that was wrong, `inv rollback acme --entry {entry}`" in out
    )
    assert "`550 5.1.1 " in out


@pytest.mark.host
def test_an_excluded_address_names_the_line_of_the_inventory(operator: Operator) -> None:
    lines = (operator.inventory / "customers" / "acme.toml").read_text().split("\n")
    number = next(number for number, line in enumerate(lines, 1) if "exclude" in line)
    out = explained(operator, "Boss@Acme.example")
    assert "the last export has it as `SMTP:boss@acme.example`, and it was left out: excluded" in out
    assert f"leaves it out (customers/acme.toml:{number}: exclude = " in out


@pytest.mark.host
def test_an_address_left_out_as_internal_only_shows_the_value_as_exported(operator: Operator) -> None:
    out = explained(operator, "team@acme.example")
    assert "the last export has it as `SMTP:Team@acme.example`, and it was left out: internal only" in out
    assert "What to do: internal only are left out (customers/acme.toml does not say otherwise): " in out
    assert "`internal_only = true` in its [exchange.take]" in out


@pytest.mark.host
def test_an_address_that_nobody_has_ever_seen_is_to_be_asked_about(operator: Operator) -> None:
    out = explained(operator, "mallory@acme.example")
    assert "NOT LISTED\n" in out
    assert "What to do: ask whether mallory@acme.example exists; if so the export lacks it" in out


@pytest.mark.host
def test_an_address_of_an_open_domain_is_refused_to_nobody(operator: Operator) -> None:
    out = explained(operator, "anybody@acme.co.example")
    assert "acme.co.example is OPEN: nobody in it is refused; no list of it counts as accepted" in out
    assert "knows @acme.co.example" in out
    assert "What to do: nothing for this address; the domain is open until a list is accepted" in out


@pytest.mark.host
def test_an_address_with_two_dots_is_found_as_it_is_listed(operator: Operator) -> None:
    found = record(operator, "john..doe@acme.example")["relays"]["mx1"]
    assert (found["list"]["address"], found["list"]["listed"]) == ('"john..doe"@acme.example', "list")
    assert found["mail"]["answer"].startswith("250")


@pytest.mark.host
def test_a_damaged_list_is_told_with_root_s_copy_that_stands_in_for_it(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    spool = "/var/lib/postern/customers/acme"
    host.run("sh", "-c", f"cp -p {spool}/recipients /root; printf '\\377' >>{spool}/recipients")
    host.run("sh", "-c", "rebuild-relay-recips || true")
    out = explained(operator, "user0001@acme.example")
    assert "the relay's tables are not of its files as they stand: recipients is not UTF-8" in out
    assert "in the built table" in out
    assert "What to do: the customer's files on a relay are not in its tables as they stand" in out
    assert "exists; if so the export lacks it" not in out
    host.run("sh", "-c", f"cp -p /root/recipients {spool}; rebuild-relay-recips")
    assert "not of its files" not in explained(operator, "user0001@acme.example")


@pytest.mark.host
def test_an_address_that_waits_to_go_stays_until_somebody_accepts_that(relay: tuple[LabHost, Operator]) -> None:
    _, operator = relay
    assert operator.upload(csvde(*NAMES[:5], "new")).code == 3
    out = explained(operator, "user0010@acme.example")
    assert "a list waits since " in out
    assert ", and lacks it" in out
    assert "What to do: it stays listed until somebody accepts the list that waits: `inv review acme`" in out
    assert operator.upload(csvde(*NAMES[:19], *NAMES[20:], "new")).code == 0


@pytest.mark.host
def test_mail_and_refusals_of_an_address_are_told(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    assert host.ask("mallory@acme.example", sender="s@sender.example", from_address=OUTSIDE).startswith("550")
    host.log(until="to=<mallory@acme.example>")
    assert "refused: " in explained(operator, "mallory@acme.example")
    assert record(operator, "mallory@acme.example")["relays"]["mx1"]["list"]["refused"]["unlisted"] >= 1


@pytest.mark.host
def test_a_listed_address_that_another_rule_refuses_is_an_alarm_of_its_own(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    host.run(
        "postconf", "-e", "smtpd_recipient_restrictions=check_recipient_access inline:{user0001@acme.example=REJECT}"
    )
    host.reload_postfix()
    try:
        out = explained(operator, "user0001@acme.example")
    finally:
        host.run("postconf", "-X", "smtpd_recipient_restrictions")
        host.reload_postfix()
    assert "What to do: a relay refuses it though it should take it, and says why; `inv verify acme`" in out


@pytest.mark.host
def test_find_lists_whom_a_pattern_finds(operator: Operator) -> None:
    assert operator.done("find user000").out.splitlines()[:2] == [
        "acme: user0000@acme.example",
        "acme: user0001@acme.example",
    ]
    assert operator.done("find", "J*@acme.example").out == 'acme: "john..doe"@acme.example\n'
    assert "nobody who is listed has that" in operator.done("find mallory").out
    found = json.loads(operator.done("find user0001 --json").out)
    assert found["acme"]["mx1"]["found"] == ["user0001@acme.example"]


@pytest.mark.host
def test_a_relay_that_is_down_is_named_and_the_others_are_asked(relay: tuple[LabHost, Operator]) -> None:
    _, operator = relay
    file = operator.inventory / "customers" / "acme.toml"
    before, known = file.read_text(), (operator.inventory / "known_hosts").read_text()
    operator.table("relays.toml#mx2", {"address": "127.77.0.254", "port": 1})
    (operator.inventory / "known_hosts").write_text(known + f"[127.77.0.254]:1 {known.split(' ', 1)[1]}")
    file.write_text(before.replace('relays = ["mx1"]', 'relays = ["mx1", "mx2"]'))
    try:
        ran = operator.done("explain user0003@acme.example", code=4)
        assert "mx1: LISTED" in ran.out
        assert "mx2: " in ran.err
        assert "acme: user0003@acme.example" in operator.done("find user0003", code=4).out
    finally:
        file.write_text(before)


# ---- without a relay


@pytest.fixture
def alone(tmp_path: Path) -> Operator:
    """An operator with customer acme, whose relay nobody has to reach."""
    operator = AtOnce(tmp_path)
    operator.table("relays.toml#mx1", {"address": "192.0.2.1"})
    operator.customer()
    return operator


def test_another_domain_is_nobody_s_and_a_near_one_is_named(alone: Operator) -> None:
    out = alone.done("explain bob@acme.exampel").out
    assert "acme.exampel is no domain of any customer in this inventory; did you mean 'acme.example'?" in out
    assert json.loads(alone.done("explain bob@other.example --json").out)["customer"] is None


@pytest.mark.parametrize("word", ["bob", "@acme.example", "bob@", "bob@acme", "bob@exa mple.org"])
def test_what_is_no_address_is_refused_with_a_sentence(word: str, alone: Operator) -> None:
    assert alone.done("explain", word, code=2).err


def test_find_without_a_pattern_says_what_is_wanted(alone: Operator) -> None:
    assert "find what?" in alone.done("find", "", code=2).err


def test_a_relay_of_which_no_host_key_is_pinned_is_named(alone: Operator) -> None:
    ran = alone.done("explain bob@acme.example", code=4)
    assert "no host key is pinned for it yet" in ran.err
    assert "What to do: no relay could say how it is listed" in ran.out


@pytest.mark.host
@pytest.mark.long
def test_a_relay_of_the_first_release_says_that_it_does_not_know_that(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    first = unpack_first_release(tmp_path / "first")
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path)
        operator.relay("mx1", host)
        operator.customer()
        ran = operator.call([sys.executable, str(first / "cli.py"), "provision", "acme"])
        assert ran.code == 0, ran.text
        for words in ("explain bob@acme.example", "find bob", "rehearse acme", "refusals acme"):
            said = operator.done(words, code=4).text
            assert "its release of Postern does not know that yet; `inv provision acme` brings it up to date" in said
        assert "`250 2.1.5 Ok`" in operator.done("explain bob@acme.example", code=4).out


def test_a_domain_that_may_stand_in_a_file_with_faults_is_not_called_nobody_s(tmp_path: Path) -> None:
    operator = AtOnce(tmp_path)
    operator.customer("acme")
    file = operator.inventory / "customers/acme.toml"
    file.write_text(f"misspelt = 1\n{file.read_text()}")
    said = operator.done("explain anna@acme.example", code=2)
    assert "acme.example is not found, and may be in a file with faults: customers/acme.toml" in said.err
