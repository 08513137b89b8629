"""Reading a mail log: the samples with their right answers, the shapes of lines, and attacks."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from receiver.monitoring.log_content import open_log
from receiver.monitoring.log_lines import LONGEST, SLICE, read_slices
from tests.support.maillog import HEAD, UNKNOWN, VICTIM, delivery, read, read_files, refusal, smtp, smtpd

SAMPLES = sorted((Path(__file__).parent / "maillogs").glob("*.log"))
BOB = "bob@acme.example"
REFUSED = {BOB: {"unlisted": 1}}


def dated(file: Path, moment: str) -> None:
    when = datetime.fromisoformat(moment).timestamp()
    os.utime(file, (when, when))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_log_as_it_is_found_is_read_to_the_right_answer(sample: Path, tmp_path: Path) -> None:
    wanted = json.loads(Path(f"{sample}.want.json").read_text("utf-8"))
    file = tmp_path / Path(wanted["on_disk"]).name
    content = sample.read_bytes()
    file.write_bytes(gzip.compress(content) if wanted.get("compress") == "gzip" else content)
    dated(file, wanted["mtime"])
    found = read_files([file])
    may = set(wanted.get("may", ()))
    assert {name: kinds for name, kinds in found["refused"].items() if name not in may} == wanted["reasons"]
    assert found["had_mail"] == wanted["delivered"]
    assert not {*wanted.get("never", ())} & {*found["refused"], *found["had_mail"]}
    assert found["gaps"] == wanted.get("gaps", False)
    if "waiting" in wanted:
        assert found["waiting"] == wanted["waiting"]


# ---- shapes of lines

MESSAGE = f"postfix/smtpd[7]: {refusal(BOB)}"
SHAPES = {
    "rsyslog traditional": f"Nov  2 07:20:17 mx1 {MESSAGE}",
    "postlogd": f"Nov 02 07:20:17 mx1 {MESSAGE}",
    "iso": f"2026-11-02T07:20:17.436627+01:00 mx1 {MESSAGE}",
    "iso of Zimbra": f"2026-11-02T07:20:17.591Z mx1 {MESSAGE}",
    "iso of syslog-ng": f"2026-11-02T07:20:17+01:00 mx1 {MESSAGE}",
    "full date of syslog-ng": f"2026 Nov 02 07:20:17 mx1 {MESSAGE}",
    "RFC 5424 without the program": f"<22>1 2026-11-02T07:20:17.4+01:00 mx1 postfix 178 - -  {refusal(BOB)}",
    "RFC 5424 with data": f'<22>1 2026-11-02T07:20:17Z mx1 postfix/smtpd 1 - [meta sequenceId="5"] {refusal(BOB)}',
    "illumos": f"Nov  2 07:20:17 mx1 postfix/smtpd[7]: [ID 197553 mail.info] {refusal(BOB)}",
    "busybox": f"Nov  2 07:20:17 gw mail.info {MESSAGE}",
    "busybox -S": f"Nov  2 07:20:17 {MESSAGE}",
    "journalctl short-iso": f"2026-11-02T07:20:17-0400 mx1 {MESSAGE}",
    "journalctl short-full": f"Mon 2026-11-02 07:20:17 CET mx1 {MESSAGE}",
    "journalctl short-precise": f"Nov 02 07:20:17.123456 mx1 {MESSAGE}",
    "docker compose": f"postfix-1  | Nov 02 07:20:17 3f2a9c1b7d10 {MESSAGE}",
    "docker compose in colour": f"\x1b[36mpostfix-1  | \x1b[0mNov 02 07:20:17 mx1 {MESSAGE}",
    "docker's own syslog": f"Nov 03 01:20:17 host docker[32360]: Nov  2 20:56:17 host {MESSAGE}",
    "a container's id": f"Nov 03 01:20:17 host 3f2a9c1b7d10[99]: Nov  2 20:56:17 host {MESSAGE}",
    "docker logs -t": f"2026-11-03T01:20:17.123456789Z Nov 02 20:56:17 host {MESSAGE}",
    "no host but a level": f"2026-11-02T07:20:17.123456+00:00 INFO    {MESSAGE}",
    "a name of its own": f"Nov  2 07:20:17 mx1 mx1/in/smtpd[7]: {refusal(BOB)}",
    "submission": f"Nov  2 07:20:17 mx1 postfix/submission/smtpd[7]: {refusal(BOB)}",
    "a port": f"Nov  2 07:20:17 mx1 {MESSAGE}".replace("192.0.2.10]", "192.0.2.10]:59529"),
    "sasl": f"Nov  2 07:20:17 mx1 {MESSAGE} sasl_method=PLAIN sasl_username=olga smith",
    "without HELO": f"Nov  2 07:20:17 mx1 {MESSAGE}".replace("proto=ESMTP helo=<x.example>", "proto=SMTP"),
    "a queue id": f"Nov  2 07:20:17 mx1 {MESSAGE}".replace("NOQUEUE", "4jc20M69kxz1k6bD"),
    "carriage return": f"Nov  2 07:20:17 mx1 {MESSAGE}\r",
    "NULs before it": "\0" * 4096 + f"Nov  2 07:20:17 mx1 {MESSAGE}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_refusal_is_read_in_every_shape_of_line(shape: str, tmp_path: Path) -> None:
    sent = SHAPES[shape].partition("postfix/")[0].partition("mx1/in")[0]
    file = tmp_path / "mail.log"
    is_named = "RFC 5424" not in shape
    file.write_text(f"{SHAPES[shape]}\n" + is_named * f"{sent}postfix/smtp[8]: {delivery('eva@acme.example')}\n")
    dated(file, "2026-11-04T00:00:00")
    found = read_files([file])
    assert (found["refused"], found["unread"]) == (REFUSED, 0)
    assert found["had_mail"] == ({"eva@acme.example": "2026-11-02"} if is_named else {})


@pytest.mark.parametrize(
    ("code", "why", "kind"),
    [
        ("550 5.1.1", UNKNOWN, "unlisted"),
        ("550 5.1.1", "User unknown", "unlisted"),
        ("450 4.1.1", UNKNOWN, "deferred"),
        ("550 5.1.1", "undeliverable address: host h[192.0.2.25] said: 550 5.1.1 <bob@acme.example>: no", "asked"),
        ("450 4.1.1", "unverified address: connect to h[192.0.2.25]:25: Connection refused", "unanswered"),
        ("450 4.1.1", "unverified address: Address verification in progress", "unanswered"),
        ("450 4.1.1", "address verification problem", "unanswered"),
        ("450 4.2.0", "Greylisted, see http://isp.example/greylist", ""),
        ("550 5.1.1", "User unknown in local recipient table", ""),
    ],
)
def test_a_refusal_is_of_the_kind_that_its_words_say(code: str, why: str, kind: str, tmp_path: Path) -> None:
    assert read(tmp_path, smtpd(refusal(BOB, why, code)))["refused"] == ({BOB: {kind: 1}} if kind else {})


_SUPPRESSED = "Last message 'NOQUEUE: reject: RCP' repeated 3 times, suppressed by syslog-ng on mx1"
REPEATS = {
    "rsyslog": f"{HEAD}postfix/smtpd[7]: message repeated 3 times: [ {refusal(BOB)}]",
    "syslog-ng": f"{HEAD}postfix/smtpd[1]: {_SUPPRESSED}",
    "syslog-ng under its own name": f"{HEAD}syslog-ng[1]: {_SUPPRESSED}",
    "syslogd": f"{HEAD}last message repeated 3 times",
    "syslogd with its name": f"{HEAD}syslogd: last message repeated 3 times",
}


@pytest.mark.parametrize("logger", REPEATS)
def test_repeats_come_on_top_of_the_line_before(logger: str, tmp_path: Path) -> None:
    assert read(tmp_path, smtpd(refusal(BOB)), f"{REPEATS[logger]}\n".encode())["refused"] == {BOB: {"unlisted": 4}}


@pytest.mark.parametrize("logger", ["syslogd", "syslog-ng"])
def test_repeats_of_something_else_count_nothing(logger: str, tmp_path: Path) -> None:
    lines = smtpd(refusal(BOB)), smtpd("connect from x.example[192.0.2.10]") * 2, f"{REPEATS[logger]}\n".encode()
    expected = 4 if logger == "syslog-ng" else 1  # the last words of the program are known by their beginning
    assert read(tmp_path, *lines)["refused"] == {BOB: {"unlisted": expected}}


def test_an_address_is_counted_under_one_form(tmp_path: Path) -> None:
    forms = [
        refusal("Bob@ACME.Example"),
        refusal("bob@acme.example."),
        refusal("joe smith@acme.example", to='"joe smith"@acme.example'),
        refusal("a..b@acme.example", to='"a..b"@acme.example'),
    ]
    found = read(tmp_path, *map(smtpd, forms))["refused"]
    assert found == {
        BOB: {"unlisted": 2},
        '"joe smith"@acme.example': {"unlisted": 1},
        '"a..b"@acme.example': {"unlisted": 1},
    }


# ---- years


@pytest.mark.parametrize(
    ("written", "printed", "days"),
    [
        ("2026-01-03T06:00:00", ["Dec 31", "Jan  1"], ["2025-12-31", "2026-01-01"]),
        ("2026-01-02T06:00:00", ["Jan  1", "Dec 31", "Jan  1"], ["2026-01-01", "2025-12-31", "2026-01-01"]),
        (
            "2026-03-01T06:00:00",
            ["Nov  5", "Nov  5", "Feb  1", "Dec  1", "Feb 28"],
            ["2024-11-05"] * 2 + ["2025-02-01", "2025-12-01", "2026-02-28"],
        ),
        ("2024-03-01T06:00:00", ["Feb 29", "Mar  1"], ["2024-02-29", "2024-03-01"]),
        ("2026-01-03T06:00:00", ["Feb 29"], ["2024-02-29"]),
        ("2025-12-31T23:30:00", ["Jan  1"], ["2026-01-01"]),
    ],
)
def test_days_without_a_year_are_told_from_the_file_backwards(
    written: str, printed: list[str], days: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "mail.log"
    lines = (smtp(delivery(f"u{at}@acme.example"), f"{day} 12:00:00 mx1 ") for at, day in enumerate(printed))
    file.write_bytes(b"".join(lines))
    dated(file, written)
    assert list(read_files([file])["had_mail"].values()) == days


# ---- hops

FILTER = "127.0.0.1[127.0.0.1]:10024"


def test_a_hop_counts_where_no_other_line_has_its_queue_id(tmp_path: Path) -> None:
    lines = [
        smtp(delivery("a@acme.example", text="250 2.0.0 Ok: queued as 4XYZ99")),
        smtp(delivery("b@acme.example", text="250 Ok: queued as 4DEF12", relay=FILTER)),
        smtp(delivery("b@acme.example", status="bounced", qid="4DEF12")),
        smtp(delivery("c@acme.example", status="bounced", qid="4DEF13")),
        smtp(delivery("c@acme.example", text="250 Ok: queued as 4DEF13", relay=FILTER)),
        smtp(delivery("d@acme.example", text="250 Ok: queued as 4DEF14", relay=FILTER)),
        smtp(delivery("e@acme.example", text="250 Ok", relay=FILTER)),
        smtp(delivery("f@acme.example", text="silently", relay="none")),
    ]
    assert set(read(tmp_path, *lines)["had_mail"]) == {"a@acme.example", "d@acme.example"}


def test_a_tunnel_on_this_machine_is_the_last_hop_where_mail_is_routed_there(tmp_path: Path) -> None:
    line = smtp(delivery(BOB, text="250 Ok", relay="127.0.0.1[127.0.0.1]:2525"))
    assert read(tmp_path, line, route="relay:[127.0.0.1]:2525")["had_mail"] == {BOB: "2026-11-20"}
    assert read(tmp_path, line, route="relay:[127.0.0.1]:25")["had_mail"] == {}


def test_mail_waits_until_some_reaches_the_address(tmp_path: Path) -> None:
    deferred, sent = smtp(delivery(BOB, status="deferred", relay="none")), smtp(delivery(BOB))
    assert read(tmp_path, deferred)["waiting"] == {BOB: "2026-11-20"}
    assert read(tmp_path, deferred, sent)["waiting"] == {}
    assert read(tmp_path, sent, deferred)["waiting"] == {BOB: "2026-11-20"}


# ---- files


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-cq"], input=content, capture_output=True, check=True).stdout


PACKERS: dict[str, Any] = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_log_is_known_by_its_content_and_not_by_its_name(kind: str, tmp_path: Path) -> None:
    if kind == "zst" and not Path("/usr/bin/zstd").exists():
        pytest.skip("zstd is not installed")
    file = tmp_path / "mail.log.2"
    file.write_bytes(PACKERS[kind](smtpd(refusal(BOB)) * 3))
    assert read_files([file])["refused"] == {BOB: {"unlisted": 3}}


def test_a_log_that_was_packed_twice_is_read(tmp_path: Path) -> None:
    (tmp_path / "mail.log.1.xz.1.xz").write_bytes(lzma.compress(lzma.compress(smtpd(refusal(BOB)))))
    assert read_files([tmp_path / "mail.log.1.xz.1.xz"])["refused"] == REFUSED


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_that_is_not_whole_is_a_gap(kind: str, tmp_path: Path) -> None:
    if kind == "zst" and not Path("/usr/bin/zstd").exists():
        pytest.skip("zstd is not installed")
    file = tmp_path / "mail.log.gz"
    file.write_bytes(PACKERS[kind](b"".join(smtpd(refusal(f"u{at}@acme.example")) for at in range(2000)))[:-20])
    assert read_files([file])["gaps"]


def test_lines_are_read_in_bounded_memory_whatever_a_log_holds(tmp_path: Path) -> None:
    file = tmp_path / "mail.log"
    with file.open("wb") as log:
        log.truncate(40 << 20)
        log.seek(40 << 20)
        log.write(smtpd(refusal(BOB)) + b"x" * (20 << 20) + b"\n" + smtpd(refusal(BOB)))
    with file.open("rb") as stream:
        sizes = [sum(map(len, each.lines)) for each in read_slices(stream)]
    assert max(sizes) <= SLICE + LONGEST
    assert read_files([file])["refused"] == {BOB: {"unlisted": 2}}


def test_half_a_last_line_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, smtpd(refusal(BOB)).rstrip(b"\n"))["refused"] == {}


def test_a_binary_file_says_nothing_and_ends(tmp_path: Path) -> None:
    found = read(tmp_path, Random(1).randbytes(3 << 20))
    assert (found["refused"], found["had_mail"]) == ({}, {})


@pytest.mark.parametrize(
    "line",
    [
        "rsyslogd: imuxsock[pid: 442, name: smtpd] from <mx1:postfix>: begin to drop messages due to rate-limiting",
        "rsyslogd: imjournal: 118 messages lost due to rate-limiting (200 allowed within 5 seconds)",
        "systemd-journald[99]: Suppressed 118 messages from postfix.service",
        "rsyslogd-2177: imuxsock lost 118 messages from pid 442 due to rate-limiting",
    ],
)
def test_a_logger_that_says_it_lost_lines_is_a_gap(line: str, tmp_path: Path) -> None:
    assert read(tmp_path, f"{HEAD}{line}\n".encode())["gaps"]
    assert not read(tmp_path, smtpd(f"warning: {line}"))["gaps"]


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="is not a plain file"):
        open_log(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a plain file"):
        open_log(str(tmp_path / "pipe"))


# ---- attacks

TAIL = f"Recipient address rejected: {UNKNOWN}; from=<> to=<{VICTIM}> proto=ESMTP helo=<x>"
REJECTED = f"NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.1.1 <{VICTIM}>: {TAIL}"
SENT = f"to=<{VICTIM}>, relay=192.0.2.25[192.0.2.25]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 ok)"
FORGED = {
    "in the recipient": smtpd(refusal(f"x>, {SENT}@acme.example", to=f'"x>, {SENT}"@acme.example')),
    "in the recipient, raw": smtpd(refusal(f"{VICTIM}>: {TAIL[:-1]}@acme.example")),
    "a second tail in the recipient": smtpd(
        refusal(f"{VICTIM}>: Recipient address rejected: User unknown; from=<> to=<{VICTIM}")
    ),
    "a verification's answer in the recipient": smtpd(
        refusal(f"{VICTIM}>: Recipient address rejected: undeliverable address: ; from=<> to=<{VICTIM}")
    ),
    "quotes in the recipient": smtpd(
        refusal(f'{VICTIM}>: Recipient address rejected: {UNKNOWN}; from=<"@x> to=<{VICTIM}')
    ),
    "in the sender": smtpd(refusal(BOB, sender=f'"{TAIL}"@x.example')),
    "in a pipelined command": smtpd(f"improper command pipelining after DATA from x[192.0.2.1]: {REJECTED}"),
    "in a command": smtpd(f"warning: non-SMTP command from x[192.0.2.1]: {SENT}"),
    "in a user name": smtpd(f"warning: x[192.0.2.1]: SASL PLAIN authentication failed: (no), sasl_username={SENT}"),
    "in a subject": f"{HEAD}postfix/cleanup[9]: 4ABC12: warning: header Subject: {SENT} from x[192.0.2.1]\n".encode(),
    "in a message id": f"{HEAD}postfix/cleanup[9]: 4ABC12: message-id={SENT}\n".encode(),
    "in a reply": smtp(delivery("x@other.example", text=f"250 ok), {SENT}")),
    "in a reply that puts off": smtp(f"4ABC12: host h[192.0.2.25] said: 450 {SENT} (in reply to RCPT TO command)"),
    "a bounce's reply": smtp(delivery("x@other.example", status="bounced", text=f"host h said: 550 no), {SENT}")),
    "a verification's reply": smtpd(
        refusal(
            "x@other.example", f"undeliverable address: host h said: 550 no; from=<> to=<{VICTIM}> proto=ESMTP helo=<x>"
        )
    ),
    "another daemon": f"{HEAD}amavis[9]: {SENT}\n{HEAD}sshd[3]: {REJECTED}\n{HEAD}postern[3]: x: {SENT}\n".encode(),
    "another agent of Postfix": f"{HEAD}postfix/cleanup[9]: {REJECTED}\n".encode() + smtpd(f"4ABC12: {SENT}"),
    "a second head": smtpd(
        f"warning: Illegal address syntax from x[192.0.2.1]: <{HEAD}postfix/smtp[9]: 4ABC12: {SENT}>"
    ),
    "a second head of another daemon": f"{HEAD}nginx[3]: {HEAD}postfix/smtp[9]: 4ABC12: {SENT}\n".encode(),
    "two lines in one": smtpd("connect from mail.sen")[:-1] + smtp(delivery(VICTIM)),
    "half a line and another": smtpd(refusal(VICTIM))[:120] + smtp(delivery(VICTIM)),
    "a line separator of Unicode": smtpd(refusal(f"x\u2028{HEAD}postfix/smtpd[7]: {REJECTED}@acme.example")),
    "the sender's class": smtpd(refusal(VICTIM).replace("Recipient address", "Sender address")),
    "a bracketless address cut by Postfix": smtpd(
        refusal(VICTIM, sender="f" * (2000 - len(refusal(VICTIM, sender=""))))
    ),
}


@pytest.mark.parametrize("attack", FORGED)
def test_attack_a_forged_line_is_never_one_of_ours(attack: str, tmp_path: Path) -> None:
    found = read(tmp_path, FORGED[attack])
    assert VICTIM not in {*found["refused"], *found["had_mail"], *found["waiting"]}


def test_attack_a_line_cut_where_it_looks_whole_proves_nothing(tmp_path: Path) -> None:
    cut = smtpd(refusal(BOB, sender="v" * 1200))[:1026] + b"\n"
    forged = smtpd(refusal(VICTIM, sender="f" * (1026 - len(smtpd(refusal(VICTIM, sender=""))) + 1)))
    assert len(forged) == len(cut)
    assert read(tmp_path, forged, cut)["refused"] == {}
    assert read(tmp_path, forged, smtpd(refusal(BOB)))["refused"] == {VICTIM: {"unlisted": 1}, **REFUSED}


@pytest.mark.slow
def test_attack_a_stranger_s_text_never_becomes_an_address_of_ours() -> None:
    """Whatever a stranger or a next hop writes into a line, the victim is in no event."""
    chance, pieces = Random(7), _pieces()
    for _ in range(20_000):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 7)))
        for line in _lines_with(text):
            assert VICTIM not in _said(line), line


def _pieces() -> list[str]:
    return [
        *(f"<{VICTIM}>", f"to=<{VICTIM}>", VICTIM, ">: ", "<", ">", '"', "\\", "; ", ", ", ") ", " (", "from=<>", "x"),
        *("Recipient address rejected: ", UNKNOWN, "User unknown", " proto=ESMTP helo=<x>", "undeliverable address: "),
        *("relay=192.0.2.25[192.0.2.25]:25, ", "delay=1, delays=0/0/0/1, dsn=2.0.0, ", "status=sent (ok)", "4ABC12: "),
        *("NOQUEUE: reject: RCPT from x[192.0.2.1]: 550 5.1.1 ", f"{HEAD}postfix/smtpd[7]: ", "\u2028", "postfix-1 | "),
    ]


def _lines_with(text: str) -> list[bytes]:
    """A recipient, a sender, a reply and a command with this text, as Postfix prints them."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"@evil.example'
    return [
        smtpd(refusal(f"{text}@evil.example", to=quoted)),
        smtpd(refusal("x@evil.example", sender=quoted)),
        smtp(delivery(quoted)),
        smtp(delivery("x@evil.example", text=text)),
        smtpd(refusal("x@evil.example", f"undeliverable address: {text}")),
        smtpd(f"warning: non-SMTP command from x[192.0.2.1]: {text}"),
        f"{HEAD}postfix/cleanup[9]: 4ABC12: message-id={text}\n".encode(),
    ]


def _said(line: bytes) -> set[str]:
    from receiver.monitoring.log_years import Days, YearCounter
    from receiver.monitoring.mail_log import Losses, MailLog

    events = MailLog(Losses()).read([line.rstrip(b"\n")], Days(YearCounter(), 0.0))
    return {
        name
        for event in events
        for name in getattr(event.message, "addresses", (getattr(event.message, "address", ""),))
    }
