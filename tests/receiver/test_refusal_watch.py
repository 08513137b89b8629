"""How the timer reads what is new in the relay's logs: through rotation, copies, damage, and new customers."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.settings import load_all_settings
from receiver.lists.review_record import MailSeen, Numbers
from receiver.monitoring import log_files, refusal_watch, refusals_file
from receiver.monitoring.journal import make_command, read_journal
from receiver.monitoring.last_hop import Trace
from receiver.monitoring.log_findings import SeenMail, Watch
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.postfix_message import Refusal
from receiver.monitoring.refusals import MOST, Refusals, RefusedAddress
from receiver.monitoring.refusals_file import StoredRefusals
from receiver.system import atomic_files
from receiver.timer import run_timer
from tests.support.maillog import delivery, read_files, refusal, smtp, smtpd
from tests.support.small_relay import SmallRelay, people

pytestmark = pytest.mark.slow  # each test runs uploads, accepts and the timer, as processes do
BOB = "bob@acme.example"
DAY = 86_400


def today(back: int = 0) -> str:
    return time.strftime("%Y-%m-%dT10:00:00.000000+00:00 mx1 ", time.localtime(time.time() - back * DAY))


def at(now: float) -> str:
    return time.strftime("%Y-%m-%dT10:00:00.000000+00:00 mx1 ", time.localtime(now))


def refusal_line(number: int, address: str = BOB) -> bytes:
    """Return a refusal that differs from all others."""
    return smtpd(refusal(address), today().replace("000000+", f"{number:06}+"))


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    relay = SmallRelay(tmp_path)
    relay.offer(people(40))
    relay.accept("first", 40)
    return relay


@pytest.fixture
def log(relay: SmallRelay) -> Path:
    """The log, of which one refusal of bob has been read."""
    log = relay.var / "mail.log"
    log.write_bytes(refusal_line(1))
    assert counted(relay, log) == 1
    return log


def read(relay: SmallRelay, log: Path, now: float = 0) -> Watch:
    with relay.opened_logs(log) as logs:
        run = atomic_files.open_directory(relay.places.run)
        try:
            customers = load_all_settings(relay.places)
            return refusal_watch.update(relay.places, run, customers, logs, now or time.time())
        finally:
            os.close(run)


def counted(relay: SmallRelay, log: Path) -> int:
    """Read on, and count bob's refusals."""
    refused = read(relay, log).customers["acme"].refusals.refused
    return refused[BOB].kinds.get("unlisted", 0) if BOB in refused else 0


def append(log: Path, *lines: bytes) -> None:
    with log.open("ab") as file:
        file.write(b"".join(lines))


# ---- going on


def test_what_was_read_is_not_read_again(relay: SmallRelay, log: Path) -> None:
    assert counted(relay, log) == 1
    append(log, refusal_line(2))
    assert counted(relay, log) == 2


def test_half_a_last_line_is_read_when_its_end_has_come(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2)[:100])
    assert counted(relay, log) == 1
    append(log, refusal_line(2)[100:])
    assert counted(relay, log) == 2


def _renamed(log: Path) -> None:
    log.rename(log.with_name("mail.log.1"))


def _dated(log: Path) -> None:
    log.rename(log.with_name("mail.log-20261122"))


def _packed(log: Path) -> None:
    packed = log.with_name("mail.log.2.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    shutil.copystat(log, packed)
    log.unlink()


def _of_postlogd(log: Path) -> None:
    packed = log.with_name("mail.log.20261122-000012.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()


def _copied(log: Path) -> None:
    shutil.copy(log, log.with_name("mail.log.1"))
    log.write_bytes(b"")


def _packed_half_way(log: Path) -> None:
    """It exists unpacked and, in part, packed."""
    log.rename(log.with_name("mail.log.1"))
    log.with_name("mail.log.1.gz").write_bytes(gzip.compress(log.with_name("mail.log.1").read_bytes())[:20])


@pytest.mark.parametrize("rotate", [_renamed, _dated, _packed, _of_postlogd, _copied, _packed_half_way])
def test_a_rotation_loses_no_line_and_counts_none_twice(
    rotate: Callable[[Path], None], relay: SmallRelay, log: Path
) -> None:
    append(log, refusal_line(2))  # not read yet when the log is rotated
    before = log.stat().st_mtime
    os.utime(log, (before - 60, before - 60))
    rotate(log)
    assert counted(relay, log) == 2
    append(log, refusal_line(3))
    assert counted(relay, log) == 3
    append(log, refusal_line(4))
    assert counted(relay, log) == 4
    assert not read(relay, log).has_gaps("2026-01-01")


def test_a_log_truncated_in_place_with_a_hole_is_read_on(relay: SmallRelay, log: Path) -> None:
    size = log.stat().st_size
    shutil.copy(log, log.with_name("mail.log.1"))
    with log.open("r+b") as file:
        file.truncate(0)
        file.seek(size)
        file.write(refusal_line(2))
    assert counted(relay, log) == 2


def test_what_a_clock_that_was_ahead_had_forgotten_is_counted_anew_once_it_is_right(
    relay: SmallRelay, log: Path
) -> None:
    append(log, smtp(delivery("new@acme.example"), today()))
    assert "new@acme.example" in read(relay, log).customers["acme"].refusals.mail
    assert read(relay, log, time.time() + 20 * DAY).customers["acme"].refusals.mail == {}
    after = read(relay, log).customers["acme"].refusals
    assert "new@acme.example" in after.mail
    assert after.refused[BOB].kinds == {"unlisted": 1}


def test_a_log_in_which_others_write_and_postfix_does_not_is_told_and_not_taken_for_one_without_mail(
    relay: SmallRelay, log: Path
) -> None:
    """Of a chroot without a socket of the logger qmgr's lines are there, and smtpd's are not."""
    for back in (20, 0):  # days known for long enough, so that nothing else is missing
        append(log, today(back).encode() + b"postfix/qmgr[9]: 4ABC: removed\n")
    later = time.time() + 15 * DAY
    append(log, smtpd("connect from mx.example[192.0.2.1]", at(later)))
    assert read(relay, log, later).seen_mail("acme", later) == SeenMail()
    assert read(relay, log, later + 2 * DAY).seen_mail("acme", later + 2 * DAY).unseen == ()
    append(log, today(-18).encode() + b"postfix/qmgr[9]: 4ABD: removed\n")
    (said,) = read(relay, log, later + 3 * DAY).seen_mail("acme", later + 3 * DAY).unseen
    assert said.startswith("no line of Postfix's smtpd is in the mail log since ")
    with relay.opened_logs(log) as logs:
        alarms = run_timer(relay.places, relay.tables, int(later + 3 * DAY), logs).record["alarms"]
    assert any("so refusals are not watched" in line for line in alarms)
    append(log, smtpd("connect from mx.example[192.0.2.1]", at(later + 3 * DAY)))
    (said,) = read(relay, log, later + 3 * DAY).seen_mail("acme", later + 3 * DAY).unseen
    assert said.startswith("the mail log cannot be read, or lines of it are missing")


def test_logs_that_both_begin_with_a_hole_are_no_copies_of_one_another(relay: SmallRelay, log: Path) -> None:
    for number in range(2, 4):
        size, rotated = log.stat().st_size + 8_192, log.with_name("mail.log.1")
        rotated.unlink(missing_ok=True)
        shutil.copy(log, rotated)
        with log.open("r+b") as file:
            file.truncate(0)
            file.seek(size)
            file.write(refusal_line(number))
        assert counted(relay, log) == number


def test_two_rotations_between_two_readings_are_read_in_order(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2))
    os.utime(log, (time.time() - 120, time.time() - 120))
    log.rename(log.with_name("mail.log.2"))
    log.with_name("mail.log.1").write_bytes(refusal_line(3))
    os.utime(log.with_name("mail.log.1"), (time.time() - 60, time.time() - 60))
    log.write_bytes(refusal_line(4))
    assert counted(relay, log) == 4


def test_a_log_that_is_gone_is_a_gap(relay: SmallRelay, log: Path) -> None:
    log.write_bytes(refusal_line(9))
    watch = read(relay, log)
    assert watch.has_gaps("2026-01-01")
    assert watch.customers["acme"].refusals.refused[BOB].kinds == {"unlisted": 2}


def test_a_reading_that_takes_too_long_is_gone_on_with(
    relay: SmallRelay, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        packed = log.with_name(f"mail.log.{number + 1}")
        packed.write_bytes(refusal_line(10 + number))
        os.utime(packed, (time.time() + number, time.time() + number))
    monkeypatch.setattr(refusal_watch, "SECONDS", -1.0)
    watches = [read(relay, log) for _ in range(4)]
    assert [watch.state.is_behind for watch in watches] == [True, True, True, False]
    assert counted(relay, log) == 4


def test_a_hop_is_settled_by_the_next_reading(relay: SmallRelay, log: Path) -> None:
    hop = {"text": "250 Ok: queued as 4DEF12", "relay": "127.0.0.1[127.0.0.1]:10024"}
    append(log, smtp(delivery("a@acme.example", **hop), today()))
    append(log, smtp(delivery("b@acme.example", text="250 Ok: queued as 4DEF13"), today()))
    assert read(relay, log).customers["acme"].refusals.had_mail == {}
    append(log, smtp(delivery("a@acme.example", status="bounced", qid="4DEF12"), today()))
    assert set(read(relay, log).customers["acme"].refusals.had_mail) == {"b@acme.example"}


def test_the_length_at_which_lines_are_cut_is_remembered(relay: SmallRelay, log: Path) -> None:
    head = today()
    cut = smtpd(refusal(BOB, sender="v" * 1200), head)[:1026] + b"\n"
    append(log, cut)
    read(relay, log)
    missing = len(cut) - len(smtpd(refusal("victim@acme.example", sender=""), head))
    append(log, smtpd(refusal("victim@acme.example", sender="f" * missing), head))
    assert set(read(relay, log).customers["acme"].refusals.refused) == {BOB}


def test_a_log_that_is_rotated_while_it_is_read_loses_no_line(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2))
    with relay.opened_logs(log) as logs:
        _renamed(log)
        log.write_bytes(refusal_line(3))
        run = atomic_files.open_directory(relay.places.run)
        refusal_watch.update(relay.places, run, load_all_settings(relay.places), logs, time.time())
        os.close(run)
    assert counted(relay, log) == 3


def test_a_log_that_is_truncated_while_it_is_read_ends_the_reading_and_is_read_on(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2), refusal_line(3))
    with relay.opened_logs(log) as logs:
        log.write_bytes(b"")
        run = atomic_files.open_directory(relay.places.run)
        refusal_watch.update(relay.places, run, load_all_settings(relay.places), logs, time.time())
        os.close(run)
    append(log, refusal_line(4))
    assert read(relay, log).has_gaps("2026-01-01"), "what was in it is lost, and that is known"
    assert counted(relay, log) == 2


def test_a_relay_without_any_log_says_that_nothing_is_watched(relay: SmallRelay, log: Path) -> None:
    log.unlink()
    log.mkdir()
    with relay.opened_logs(log) as logs:
        alarms = run_timer(relay.places, relay.tables, int(time.time()), logs).record["alarms"]
    assert any(line.startswith("no mail log is found, nor a journal: refusals are not watched") for line in alarms)


@pytest.mark.parametrize(("size", "told"), [(1000, True), (0, False)])
def test_a_log_whose_disk_is_full_is_told(
    relay: SmallRelay, log: Path, monkeypatch: pytest.MonkeyPatch, size: int, told: bool
) -> None:
    """A file system of no size does not tell it."""
    disk = [*os.statvfs("/")]
    disk[2:5] = size, 0, 0
    with relay.opened_logs(log) as logs:
        monkeypatch.setattr("os.fstatvfs", lambda descriptor: os.statvfs_result(disk))
        alarms = run_timer(relay.places, relay.tables, int(time.time()), logs).record["alarms"]
    full = f"{log}: its disk is full, so that lines are lost, and refusals in them are not watched"
    assert (full in alarms) == told


# ---- damage and bounds


@pytest.mark.parametrize("content", [b"", b"{", b'{"postern": 1}', b'{"postern": 1, "positions": [1]}', b"[]"])
def test_a_damaged_position_counts_the_days_anew_and_not_twice(content: bytes, relay: SmallRelay, log: Path) -> None:
    (Path(relay.places.run) / "mail-log.json").write_bytes(content)
    watch = read(relay, log)
    assert watch.customers["acme"].refusals.refused[BOB].kinds == {"unlisted": 1}
    assert watch.customers["acme"].refusals.totals["unlisted"] == 1


@pytest.mark.parametrize("name", ["refusals.json", "had-mail.json"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"postern": 1}', b'{"postern": 1, "refused": {"a": 1}}', b"[]", None])
def test_damaged_refusals_are_counted_from_the_logs_once_more(
    name: str, content: bytes | None, relay: SmallRelay, log: Path
) -> None:
    (relay.folder / name).unlink()
    if content is not None:
        (relay.folder / name).write_bytes(content)
    assert counted(relay, log) == 1
    append(log, refusal_line(2))
    assert counted(relay, log) == 2


def test_a_customer_who_comes_later_has_the_days_before_read(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2, "eva@bolt.example"))
    read(relay, log)
    relay.provision(customer="bolt", domains=("bolt.example",))
    watch = read(relay, log)
    assert watch.customers["bolt"].refusals.refused.keys() == {"eva@bolt.example"}
    assert watch.customers["acme"].refusals.refused[BOB].kinds == {"unlisted": 1}


def test_who_was_ever_listed_stays_when_there_are_too_many() -> None:
    refusals = Refusals(most=10)
    listed = Refusal("old@acme.example", "unlisted", "192.0.2.1", has_sender=True)
    refusals.refuse(listed.address, listed, "2026-11-20", 1)
    refusals.mark_listed({listed.address})
    for number in range(100):
        refusals.refuse(f"x{number}@acme.example", listed, "2026-11-20", 5)
    refusals.refuse("often@acme.example", listed, "2026-11-19", 1)
    refusals.refuse("often@acme.example", listed, "2026-11-20", 1)
    refusals.forget("2026-11-10")
    assert len(refusals.refused) == 10
    assert {"old@acme.example", "often@acme.example"} <= refusals.refused.keys()


def test_attack_a_dictionary_of_names_drives_out_nobody_who_may_be_missed() -> None:
    refusals = Refusals(most=10)
    refusals.keep_known(lambda: {"held@acme.example", "gone@acme.example"})
    refusals.deliver("mail@acme.example", Trace("2026-11-19", 1, ("mail@acme.example",), "sent"))
    for name in ("held", "gone", "mail", *(f"x{number}" for number in range(100))):
        refused = Refusal(f"{name}@acme.example", "unlisted", "192.0.2.1", has_sender=True)
        refusals.refuse(refused.address, refused, "2026-11-20", 1)
    refusals.forget("2026-11-10")
    assert {f"{name}@acme.example" for name in ("held", "gone", "mail")} <= refusals.refused.keys()
    assert len(refusals.refused) == 10


MADE_UP = f"q{'0af3' * 6}@acme.example"  # as Postern asks about


def test_names_that_we_make_up_are_left_out_unless_somebody_has_them(relay: SmallRelay) -> None:
    """A stranger may make up such a name, and a person may have one: who was ever listed or had mail is shown."""
    mailed, listed = MADE_UP.replace("q0", "q1"), MADE_UP.replace("q0", "q2")
    refusals = Refusals()
    for name in (MADE_UP, mailed, listed, BOB):
        refusals.refuse(name, Refusal(name, "unlisted", "192.0.2.1", has_sender=True), "2026-11-20", 1)
    refusals.mark_listed({listed})
    refusals.deliver(mailed, Trace("2026-11-19", 1, (mailed,), "sent"))
    assert set(refusals.document["refused"]) == {mailed, listed, BOB}
    with relay.spool() as spool:
        refusals_file.save(spool.folder, StoredRefusals(refusals, "2026-11-10", ("acme.example",)))
        assert refusals_file.load_refused(spool.folder).keys() == {mailed, listed, BOB}
        found = refusals_file.load(spool.folder)
    assert found is not None
    assert MADE_UP in found.refusals.refused, "who is listed later is not forgotten"


def test_attack_a_dictionary_of_names_does_not_grow_the_files(relay: SmallRelay, log: Path) -> None:
    append(log, *(refusal_line(number, f"n{number}@acme.example") for number in range(3 * MOST)))
    read(relay, log)
    fields = json.loads((relay.folder / "refusals.json").read_text())
    assert len(fields["refused"]) == MOST
    assert fields["totals"]["unlisted"] == 3 * MOST + 1


def test_days_that_are_long_past_are_forgotten(relay: SmallRelay, log: Path) -> None:
    append(log, smtp(delivery("eva@acme.example"), today()))
    assert set(read(relay, log).customers["acme"].refusals.had_mail) == {"eva@acme.example"}
    later = read(relay, log, time.time() + 16 * DAY).customers["acme"].refusals
    assert (later.refused, later.had_mail) == ({}, {})


def test_what_is_written_is_read_again_alike(relay: SmallRelay) -> None:
    refusals = Refusals()
    refused = Refusal(BOB, "asked", "2001:db8::1", has_sender=False)
    refusals.refuse(BOB, refused, "2026-11-20", 3)
    refusals.mark_listed({BOB})
    with relay.spool() as spool:
        refusals_file.save(spool.folder, StoredRefusals(refusals, "2026-11-10", ("acme.example",)))
        found = refusals_file.load(spool.folder)
    assert found is not None
    assert (found.since, found.domains) == ("2026-11-10", ("acme.example",))
    assert found.refusals.refused[BOB] == RefusedAddress({"asked": 3}, refusals.refused[BOB].seen, was_listed=True)
    assert found[0].refused[BOB].networks == ["2001:db8::/48"]


# ---- the timer, metrics, files


def test_the_timer_counts_refusals_and_writes_the_metric(relay: SmallRelay, log: Path) -> None:
    append(log, refusal_line(2), smtpd(refusal("eva@acme.example", code="450 4.1.1"), today()))
    with relay.opened_logs(log) as logs:
        assert run_timer(relay.places, relay.tables, int(time.time()), logs).code == 0
    text = (relay.var / "metrics" / "postern.prom").read_text()
    assert "# TYPE postern_refused_total counter\n" in text
    assert 'postern_refused_total{customer="acme",kind="unlisted"} 2\n' in text
    assert 'postern_refused_total{customer="acme",kind="deferred"} 1\n' in text


def test_rotations_are_found_and_other_files_are_not(tmp_path: Path) -> None:
    rotated = ["mail.log", "mail.log.1", "mail.log.2.gz", "mail.log-20261122", "mail.log-20261115.xz", "mail.log.0"]
    rotated += [
        "mail.log.20261109-000012.gz",
        "mail-20261101.log",
        "mail.log.1.xz.1.xz",
        "mail.2016-07-02.1462307513.log",
    ]
    others = ["mail.log~", "mail.log.bak", "mail.log.offset", "mail.login", "mail.err", "mail.log.3.gz.tmp"]
    for name in (*rotated, *others):
        (tmp_path / name).write_bytes(b"x\n")
    assert sorted(log_files.find_rotations(str(tmp_path), "mail.log")) == sorted(rotated)


def test_old_and_empty_files_are_not_opened(tmp_path: Path) -> None:
    for name, content, age in (("maillog", b"x\n", 1), ("maillog.1", b"x\n", 20), ("maillog.2", b"", 1)):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (time.time() - age * DAY, time.time() - age * DAY))
    logs = log_files.open_logs("/nowhere", time.time(), "", [str(tmp_path / "maillog")])
    assert [file.name for log in logs.logs for file in log.files] == [str(tmp_path / "maillog")]
    logs.close()


def test_a_log_as_suse_and_cis_name_it_is_opened_where_there_is_no_other(tmp_path: Path) -> None:
    usual, other = str(tmp_path / "mail.log"), str(tmp_path / "mail")
    for name in ("mail", "mail-20261115.xz", "mail.err"):
        (tmp_path / name).write_bytes(b"x\n")
    logs = log_files.open_logs("/nowhere", time.time(), "", [usual], last_resort=other)
    assert {file.name for log in logs.logs for file in log.files} == {other, f"{other}-20261115.xz"}
    logs.close()
    Path(usual).write_bytes(b"x\n")
    logs = log_files.open_logs("/nowhere", time.time(), "", [usual], last_resort=other)
    assert [file.name for log in logs.logs for file in log.files] == [usual]
    logs.close()


# ---- the journal


def entry(message: Any, **fields: str) -> bytes:
    when = str(int(time.time() * 1_000_000))
    known: dict[str, Any] = {
        "__CURSOR": "s=1;i=2",
        "__REALTIME_TIMESTAMP": when,
        "SYSLOG_IDENTIFIER": "postfix/smtpd",
        "MESSAGE": message,
    }
    return json.dumps({**known, **fields}).encode() + b"\n"


def journal(*entries: bytes) -> tuple[list[str], list[str], int]:
    """The addresses that were refused, the cursors, and what was not understood."""
    losses = Losses()
    found = list(read_journal(io.BytesIO(b"".join(entries)), MailLog(losses), losses))
    names = [event.message.address for event, _ in found if event and isinstance(event.message, Refusal)]
    return names, [cursor for _, cursor in found], losses.unread


def test_the_journal_s_entries_are_read_as_text_and_as_octets() -> None:
    octets = list(refusal("müller@acme.example").encode())
    names, cursors, unread = journal(entry(refusal(BOB)), entry(octets), b"{}\n", b"nonsense\n", entry(None))
    assert (names, unread) == ([BOB, "müller@acme.example"], 2)
    assert cursors[0] == "s=1;i=2"


def test_a_file_exported_from_the_journal_is_read_as_the_journal_is(tmp_path: Path) -> None:
    file = tmp_path / "mail.json"
    file.write_bytes(entry(refusal(BOB)) + entry(refusal("x@acme.example"), _COMM="logger") + b'{"\n')
    found = read_files([file])
    assert (found["refused"], found["unread"]) == ({BOB: {"unlisted": 1}}, 1)


@pytest.mark.parametrize("by", [{"_EXE": "/usr/bin/logger"}, {"_COMM": "logger"}, {"_EXE": "/usr/bin/systemd-cat"}])
def test_attack_a_line_that_anybody_wrote_into_the_journal_is_not_postfix_s(by: dict[str, str]) -> None:
    assert journal(entry(refusal(BOB), **by))[0] == []


@pytest.mark.parametrize("cursor", ["--output=cat", "s=1 --directory=/tmp", "", "s=1\n"])
def test_attack_a_cursor_that_is_no_cursor_is_not_given_to_root_s_program(cursor: str) -> None:
    assert make_command(5.0, cursor)[5] == "--since=@5"
    assert make_command(5.0, "s=1a;i=2b")[5] == "--after-cursor=s=1a;i=2b"


def test_a_journal_that_the_time_did_not_suffice_for_is_not_taken_for_one_that_was_read(
    relay: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = b"".join(entry(refusal(BOB), __CURSOR=f"s=1;i={number}") for number in range(1, 4))
    monkeypatch.setattr(refusal_watch, "make_deadline", lambda _: lambda: True)
    run = atomic_files.open_directory(relay.places.run)
    logs = log_files.OpenedLogs(journal=cast("Any", SimpleNamespace(stream=io.BytesIO(entries))))
    watch = refusal_watch.update(relay.places, run, load_all_settings(relay.places), logs, time.time())
    assert (watch.state.cursor, watch.state.is_behind) == ("s=1;i=1", True)
    monkeypatch.undo()
    rest = log_files.OpenedLogs(journal=cast("Any", SimpleNamespace(stream=io.BytesIO(entries))))
    watch = refusal_watch.update(relay.places, run, load_all_settings(relay.places), rest, time.time())
    assert (watch.state.cursor, watch.state.is_behind) == ("s=1;i=3", False)


# ---- what one customer's files hold


def spoil_history(spool: Path) -> None:
    shutil.rmtree(spool / "history")
    (spool / "history").touch()


def spoil_draft(spool: Path) -> None:
    (spool / ".refusals.json").mkdir()


def spoil_findings(spool: Path) -> None:
    (spool / "had-mail.json").unlink()
    (spool / "had-mail.json").mkdir()


@pytest.mark.parametrize("spoil", [spoil_history, spoil_draft, spoil_findings])
def test_what_one_customer_s_files_hold_keeps_no_other_from_being_watched(
    relay: SmallRelay, log: Path, spoil: Callable[[Path], None]
) -> None:
    relay.provision(customer="bolt", domains=("bolt.example",))
    relay.offer(people(40, "bolt.example"))
    relay.accept("first", 40)
    spoil(Path(relay.places.spool("acme")))
    append(log, refusal_line(2, "new@acme.example"), refusal_line(3, "kim@bolt.example"))
    for _ in range(2):
        watch = read(relay, log)
        assert watch.customers["bolt"].refusals.refused["kim@bolt.example"].kinds == {"unlisted": 1}
    append(log, refusal_line(4, "newer@acme.example"))
    with relay.opened_logs(log) as logs:
        lines = run_timer(relay.places, relay.tables, int(time.time()), logs).record["alarms"]
    assert not any("the mail log cannot be read" in line for line in lines)
    assert any(line.startswith("acme: its refusals are not watched, as its files") for line in lines), lines


# ---- what review must know


def test_the_days_before_are_read_for_a_domain_that_is_new_to_the_relay(relay: SmallRelay, log: Path) -> None:
    """Its mail came through this relay before it was a customer's, and was not counted then."""
    append(log, smtp(delivery("old@acme.co.example"), today(3)), smtp(delivery(BOB), today()))
    assert read(relay, log).seen_mail("acme", time.time()).mail.keys() == {BOB}
    relay.provision(domains=("acme.example", "acme.co.example"))
    append(log, smtp(delivery("new@acme.co.example"), today()), refusal_line(2))
    for _ in range(2):
        watch = read(relay, log)
        assert watch.seen_mail("acme", time.time()).mail.keys() == {BOB, "old@acme.co.example", "new@acme.co.example"}
        assert watch.customers["acme"].refusals.refused[BOB].kinds == {"unlisted": 2}, "and nothing is counted twice"


def test_a_log_that_is_gone_is_told_and_not_taken_for_one_without_mail(relay: SmallRelay, log: Path) -> None:
    assert "is known since" in read(relay, log).seen_mail("acme", time.time()).unseen[0]
    log.unlink()
    (unseen,) = read(relay, log).seen_mail("acme", time.time()).unseen
    assert unseen.startswith("the mail log cannot be read, or lines of it are missing")


def test_mail_that_waits_is_mail(relay: SmallRelay, log: Path) -> None:
    append(log, smtp(delivery(BOB, "deferred", relay="none"), today()))
    assert read(relay, log).seen_mail("acme", time.time()).mail[BOB].days == 1


def test_whom_an_accepted_review_has_shown_is_told_to_nobody_again(relay: SmallRelay, log: Path) -> None:
    """Until the address is listed again."""
    name = people(40)[30]
    relay.offer(people(20))
    found = relay.review(SeenMail({name: MailSeen("2026-11-28", 1)}))
    relay.accept_reviewed(found.held.list, Numbers(removing=20, although_mail=1))
    watch = read(relay, log, time.time() + 5)
    assert watch.customers["acme"].refusals.named.keys() == {name}
    watch.customers["acme"].refusals.forget_named({name})
    refusal_watch.save(relay.places, watch)
    assert read(relay, log, time.time() + 10).customers["acme"].refusals.named == {}


@pytest.mark.parametrize("damage", [b"", b"nothing", b"[]", b'{"judged": 5}', b'{"judged": {"a@acme.example": "x"}}'])
def test_a_damaged_note_of_whom_a_review_has_shown_says_nothing(relay: SmallRelay, log: Path, damage: bytes) -> None:
    (relay.folder / "judged-mail.json").write_bytes(damage)
    assert read(relay, log).customers["acme"].refusals.named == {}
