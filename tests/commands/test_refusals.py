"""`inv refusals`: log files on the operator's machine, and a real Postfix whose timer reads its own log."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lab import smtp
from lab.host import LabHost
from lab.operators import OUTSIDE, AtOnce, Operator, export, people
from tests.support.maillog import delivery, refusal
from tests.support.maillog import smtp as smtp_line
from tests.support.maillog import smtpd as smtpd_line

BOB = "bob@acme.example"
FIELDS = ["refused", "had_mail", "waiting", "gaps", "unread"]
SAMPLES = sorted((Path(__file__).parent.parent / "receiver" / "maillogs").glob("*.log"))


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator with customer acme, whose relay nobody has to reach."""
    operator = AtOnce(tmp_path)
    operator.table("relays.toml#mx1", {"address": "192.0.2.1"})
    operator.customer()
    return operator


# ---- log files


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_log_files_are_read_to_the_documented_document(sample: Path, operator: Operator, tmp_path: Path) -> None:
    wanted = json.loads(Path(f"{sample}.want.json").read_text("utf-8"))
    file = tmp_path / Path(wanted["on_disk"]).name
    file.write_bytes(gzip.compress(sample.read_bytes()) if wanted.get("compress") else sample.read_bytes())
    written = datetime.fromisoformat(wanted["mtime"]).timestamp()
    os.utime(file, (written, written))
    found = json.loads(operator.done(f"refusals acme --log {file} --json --now {wanted['now']}").out)
    assert list(found) == FIELDS
    may = set(wanted.get("may", ()))
    assert {name: kinds for name, kinds in found["refused"].items() if name not in may} == wanted["reasons"]
    assert found["had_mail"] == wanted["delivered"]
    assert found["gaps"] == wanted.get("gaps", False)


def test_several_log_files_are_one_log(operator: Operator, tmp_path: Path) -> None:
    old, new = tmp_path / "mail.log.1", tmp_path / "mail.log"
    old.write_bytes(smtp_line(delivery(BOB, text="250 Ok: queued as 4DEF12", relay="127.0.0.1[127.0.0.1]:10024")))
    new.write_bytes(smtp_line(delivery(BOB, status="bounced", qid="4DEF12")) + smtpd_line(refusal(BOB)))
    os.utime(old, (1_700_000_000, 1_700_000_000))
    found = json.loads(operator.done(f"refusals acme --log {new} {old} --json").out)
    assert (found["refused"], found["had_mail"]) == ({BOB: {"unlisted": 1}}, {})
    said = operator.done(f"refusals acme --log {new} --log {old}").out
    assert said == "acme: 1 address was refused; 0 had mail, mail waits for 0\n  bob@acme.example  1 unlisted\n"


def test_a_log_that_is_there_twice_is_counted_once(operator: Operator, tmp_path: Path) -> None:
    """Once plain and once packed, as a rotation leaves it that was stopped."""
    plain, packed = tmp_path / "maillog-20261122", tmp_path / "maillog-20261122.gz"
    plain.write_bytes(smtpd_line(refusal(BOB)) * 3)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert json.loads(operator.done(f"refusals acme --log {plain} {packed} --json").out)["refused"][BOB] == {
        "unlisted": 3
    }


def test_the_year_is_the_file_s_and_now_counts_where_it_has_none(operator: Operator, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(smtp_line(delivery(BOB), "Nov 20 10:00:00 mx1 "))
    for written, day in ((1_700_600_000, "2023-11-20"), (0, "2025-11-20")):
        os.utime(log, (written, written))
        found = json.loads(operator.done(f"refusals acme --log {log} --json --now 2026-03-01T10:00:00").out)
        assert found["had_mail"] == {BOB: day}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--log {folder}/none", "none: No such file or directory"),
        ("--log {folder}", "is not a plain file"),
        ("--log {folder}/log --now soon", "--now soon: a time as 2026-11-28T12:00:00"),
        ("--now 2026-11-28", "--now is for log files without a time of their own"),
    ],
)
def test_a_wrong_call_is_one_sentence(words: str, sentence: str, operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"")
    ran = operator.done(f"refusals acme {words.format(folder=tmp_path)}", code=2)
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_attack_an_address_in_a_log_cannot_write_to_the_terminal(operator: Operator, tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(smtpd_line(refusal("x\u202e\u2028y@acme.example")))
    assert "x\\u202e\\u2028y@acme.example" in operator.done(f"refusals acme --log {log}").out


# ---- a relay


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabHost, Operator]]:
    """A relay whose customer has a list, and whose next hop takes mail."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        operator.customer(next_hop=host.start_sink())
        operator.done("provision acme")
        operator.upload(export(*people(20)))
        operator.accept("acme", "--first 20")
        yield host, operator


def send(host: LabHost, recipient: str) -> None:
    conversation = smtp.Conversation(host.address, from_address=OUTSIDE)
    conversation.send(recipient, "Subject: hello\n\nhello", sender="s@sender.example")
    conversation.close()


def tick(host: LabHost) -> None:
    """What cron does."""
    user, *command = host.run("grep", "tick", "/etc/cron.d/postern").stdout.split()[5:]
    host.run(*command, user=user)


@pytest.mark.host
def test_the_timer_reads_what_a_real_postfix_wrote(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    assert host.ask("nobody@acme.example", sender="s@sender.example", from_address=OUTSIDE).startswith("550")
    send(host, "user0001@acme.example")
    host.log(until="status=sent")
    host.run("postconf", "-e", "defer_transports=relay")
    host.reload_postfix()
    send(host, "user0002@acme.example")
    host.log(until="status=deferred")
    tick(host)
    (found,) = json.loads(operator.done("refusals acme --json").out).values()
    assert list(found) == FIELDS
    assert found["refused"]["nobody@acme.example"] == {"unlisted": 1}  # besides names that inv itself asked about
    assert not any(name.startswith("user") for name in found["refused"])
    assert set(found["had_mail"]) == {"user0001@acme.example"}
    assert set(found["waiting"]) == {"user0002@acme.example"}
    assert "nobody@acme.example  1 unlisted; on 1 day" in operator.done("refusals acme").out
    assert (
        'postern_refused_total{customer="acme",kind="unlisted"} '
        in host.run("cat", "/var/lib/postern/metrics/postern.prom").stdout
    )
    operator.upload(export("user0000"))
    review = operator.done("review acme").out
    assert "user0001@acme.example  has had mail lately: on 1 day" in review
    assert "user0002@acme.example  has had mail lately: on 1 day" in review


@pytest.mark.host
def test_the_timer_parses_as_the_account_what_root_opened(relay: tuple[LabHost, Operator]) -> None:
    host, _ = relay
    host.run("chmod", "600", "/var/log/mail.log")
    host.ask("other@acme.example", sender="s@sender.example", from_address=OUTSIDE)
    host.log(until="other@acme.example")
    tick(host)
    files = "/var/lib/postern/run/mail-log.json /var/lib/postern/customers/acme/refusals.json"
    owners = host.run("stat", "-c", "%U %a", *files.split()).stdout.split("\n")
    assert owners[:2] == ["postern 600", "postern 600"]
    assert "other@acme.example" in host.run("cat", files.split()[1]).stdout


@pytest.mark.host
def test_a_table_that_cannot_be_read_is_told_with_what_the_relay_answers(relay: tuple[LabHost, Operator]) -> None:
    host, _ = relay
    host.run("postconf", "-e", "relay_recipient_maps=hash:/nowhere,hash:/etc/postern/tables/exchange_recipients")
    host.reload_postfix()
    assert host.ask("user0003@acme.example", sender="s@sender.example", from_address=OUTSIDE).startswith("451")
    host.log(until="Temporary lookup failure")
    told = json.loads(host.run("postern", "tick", "--json").stdout)["alarms"]
    (line,) = [line for line in told if line.startswith("acme: mail cannot be taken")]
    assert "this relay answers user0003@acme.example with `451 4.3.0 <user0003@acme.example>: Temporary" in line
