"""Which refusals raise an alarm, case by case as data; and how servers are asked."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import next_hop_probe
from common.next_hop_probe import Answers, Reply, Sender, Server
from receiver.lists import upload_log
from receiver.lists.review_record import MailSeen, Numbers
from receiver.monitoring.log_findings import SeenMail
from receiver.monitoring.postfix_message import Breakage
from receiver.monitoring.refusal_alarms import (
    ListSnapshot,
    RecentRemoval,
    SuspectAnswers,
    daily_line,
    find_mended,
    find_refusal_alarms,
    find_suspects,
)
from receiver.monitoring.refusals import Fault, Mail, RefusalDay, Refusals, RefusedAddress
from receiver.timer import run_timer
from tests.support import next_hop_server
from tests.support.listener import Listener
from tests.support.maillog import refusal, smtpd
from tests.support.small_relay import SmallRelay, people

CASES = sorted((Path(__file__).parent / "refusal_alarms").glob("*.json"))
TODAY = "2026-11-20"
LAST = "user00039@acme.example"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_refusal_is_told_when_it_looks_wrong_and_the_answers_bear_it_out(case: Path) -> None:
    given = json.loads(case.read_text("utf-8"))
    refusals = Refusals()
    for name, seen in given["refused"].items():
        was_listed = name in given["was_listed"]
        refusals.refused[name] = RefusedAddress(
            {"unlisted": len(seen)}, tuple(RefusalDay(*each) for each in seen), was_listed
        )
    refusals.faults = {name: Fault(TODAY, *fault) for name, fault in given["faults"].items()}
    refusals.had_mail = {name: Mail(TODAY, 1) for name in given["had_mail"]}
    refusals.named, refusals.asked = dict.fromkeys(given["named"], TODAY), dict.fromkeys(given["asked_today"], TODAY)
    gone = {name: RecentRemoval(*each) for name, each in given["gone"].items()}
    known = ListSnapshot(
        "acme", set(given["listed"]), set(given["held"]), gone, may_be_asked=given.get("may_be_asked", True)
    )
    asked = find_suspects(refusals, known, TODAY)
    assert sorted((*asked.for_next_hop, *asked.for_relay)) == given["asks"]
    replies = {name: Reply(code, "said") for name, code in given["replies"].items()}
    random = Reply(given["random"], "said") if given["random"] else None
    missing = asked.for_tables if given["missing"] is None else given["missing"]
    relay = {name: Reply(*each) for name, each in given["relay"].items()}
    alarms = find_refusal_alarms(
        known, asked, SuspectAnswers({"acme.example": Answers(replies, random)}, relay, missing)
    )
    line = daily_line(refusals, known)
    assert [alarm.text for alarm in (*alarms, *([line] if line else []))] == given["alarms"]


MADE_UP = f"q{'0af3' * 6}@acme.example"  # as Postern asks about


def test_a_name_of_the_form_that_we_make_up_is_asked_about_where_somebody_has_it() -> None:
    refusals = Refusals()
    seen = tuple(RefusalDay(f"2026-11-{day}", f"198.51.{day}.0/24", has_sender=True) for day in (18, 19, 20))
    refusals.refused = {MADE_UP: RefusedAddress({"unlisted": 3}, seen)}
    assert not find_suspects(refusals, ListSnapshot("acme", set()), TODAY).for_next_hop
    assert daily_line(refusals, ListSnapshot("acme", set())) is None
    assert find_suspects(refusals, ListSnapshot("acme", set(), {MADE_UP}), TODAY).for_next_hop == [MADE_UP]
    gone = {MADE_UP: RecentRemoval("e1", by_person=False, since="2026-11-01")}
    assert find_suspects(refusals, ListSnapshot("acme", set(), gone=gone), TODAY).for_next_hop == [MADE_UP]


def test_whom_the_line_of_the_day_has_named_is_asked_about_once_a_held_list_has_them() -> None:
    refusals, eva = Refusals(), "eva@acme.example"
    seen = tuple(RefusalDay(f"2026-11-{day}", f"198.51.{day}.0/24", has_sender=True) for day in (18, 19, 20))
    refusals.refused = {eva: RefusedAddress({"unlisted": 3}, seen)}
    line = daily_line(refusals, ListSnapshot("acme", set()))
    assert line
    assert line.addresses == (eva,)
    refusals.noticed = {eva: TODAY}
    assert daily_line(refusals, ListSnapshot("acme", set())) is None
    assert find_suspects(refusals, ListSnapshot("acme", set(), {eva}), "2026-11-21").unlisted == (eva,)


def test_a_table_that_cannot_be_read_is_told_every_day_and_again_once_it_was_mended() -> None:
    refusals, known, anna = Refusals(), ListSnapshot("acme", {"anna@acme.example"}), "anna@acme.example"
    refusals.fail(anna, Breakage(anna, "Temporary lookup failure", "192.0.2.1"), TODAY)
    refusals.named, refusals.asked = {anna: "2026-11-18"}, {anna: "2026-11-18"}
    asked = find_suspects(refusals, known, TODAY)
    assert asked.broken == (anna,)
    still = SuspectAnswers(relay={anna: Reply(451, "4.3.0 Temporary lookup failure")})
    assert len(find_refusal_alarms(known, asked, still)) == 1
    assert find_mended(asked, still) == []
    refusals.named[anna] = TODAY
    assert find_suspects(refusals, known, TODAY).broken == (), "it was told today"
    refusals.mend(find_mended(asked, SuspectAnswers(relay={anna: Reply(250, "ok")})))
    assert find_suspects(refusals, known, TODAY).broken == ()
    refusals.fail(anna, Breakage(anna, "Temporary lookup failure", "192.0.2.1"), TODAY)
    assert find_suspects(refusals, known, TODAY).broken == (anna,), "it is another one"


# ---- asking


@contextmanager
def mail_server(taken: str, greeting: bytes = b"220 mx\r\n") -> Iterator[tuple[Server, list[str]]]:
    """Yield a server that accepts addresses with this text and refuses others, and what it was sent."""
    heard: list[str] = []

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            connection.sendall(greeting)
            for line in lines:
                heard.append(line.decode().rstrip("\r\n"))
                is_taken = not line.startswith(b"RCPT") or taken.encode() in line
                connection.sendall(b"250-one\r\n250 two\r\n" if is_taken else b"550 5.1.1 nobody\r\n")

    with Listener(serve) as listener:
        yield Server("127.0.0.1", listener.port), heard


def test_a_server_is_asked_about_a_random_name_and_then_about_each_address() -> None:
    with mail_server("anna@") as (where, heard):
        found = next_hop_probe.ask(
            where,
            Sender("mx1.example", "double-bounce@mx1.example"),
            ["anna@acme.example", "eva@acme.example"],
            "acme.example",
        )
    assert heard[:2] == ["EHLO mx1.example", "MAIL FROM:<double-bounce@mx1.example>"]
    assert found.random == Reply(550, "5.1.1 nobody")
    assert found.replies == {"anna@acme.example": Reply(250, "one two"), "eva@acme.example": Reply(550, "5.1.1 nobody")}
    assert not found.takes_everybody
    assert not any(line.startswith("DATA") for line in heard)


def test_a_server_that_takes_everybody_is_known_by_the_random_name() -> None:
    with mail_server("@") as (where, _):
        assert next_hop_probe.ask(where, Sender("mx1"), ["anna@acme.example"], "acme.example").takes_everybody


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (b"554 go away\r\n", "it greets with 554 go away"),
        (b"220-" * 2000, "its line does not end"),
        (b"220-x\r\n" * 60, "does not end"),
    ],
)
def test_attack_a_server_that_does_not_answer_as_it_must_ends_the_question(greeting: bytes, problem: str) -> None:
    with mail_server("@", greeting) as (where, _):
        assert problem in next_hop_probe.ask(where, Sender("mx1"), ["anna@acme.example"]).problem


def test_attack_a_server_that_never_answers_costs_no_more_than_the_time_that_is_set() -> None:
    with mail_server("@", b"220-x") as (where, _):
        assert next_hop_probe.ask(where, Sender("mx1"), ["anna@acme.example"], seconds=0.2).problem


def test_attack_an_address_cannot_bring_a_command_of_its_own() -> None:
    with mail_server("@") as (where, heard):
        names = ["a@acme.example>\r\nDATA", "a@acme.example\nDATA", "müller@acme.example", "b@acme.example"]
        found = next_hop_probe.ask(where, Sender("mx1"), names)
    assert set(found.replies) == {"b@acme.example"}
    assert heard[2:] == ["RCPT TO:<b@acme.example>"]


@pytest.mark.parametrize(
    ("route", "server"),
    [
        ("relay:[203.0.113.25]:2525", Server("203.0.113.25", 2525)),
        ("relay:[exchange.acme.example]", Server("exchange.acme.example", 25)),
        ("lmtp:inet:[::1]", Server("::1", 24)),
        ("relay:203.0.113.25", Server("203.0.113.25", 25)),
        ("relay:acme.example", None),
        ("lmtp:unix:private/lmtp", None),
        ("", None),
    ],
)
def test_a_route_says_where_to_ask_where_it_names_a_host(route: str, server: Server | None) -> None:
    assert next_hop_probe.server_of(route) == server


# ---- the timer


def test_the_timer_tells_of_a_held_address_once_and_names_the_command(tmp_path: Path) -> None:
    relay = SmallRelay(tmp_path)
    mail = relay.program("alarm", f"#!/bin/sh\ncat >> {relay.var}/alarms\n")
    relay.relay(alarm=(str(mail),))
    relay.offer(people(10))
    relay.accept("first", 10)
    relay.offer([*people(10), *(f"new{n}@acme.example" for n in range(900))])
    log = relay.var / "mail.log"
    head = time.strftime("%Y-%m-%dT10:00:00+00:00 mx1 ", time.localtime())
    log.write_bytes(smtpd(refusal("new7@acme.example"), head))
    with mail_server("new") as (where, heard):
        (Path(relay.places.tree("acme")) / "transport").write_text(f"acme.example relay:[127.0.0.1]:{where.port}\n")
        for _ in range(2):
            with relay.opened_logs(log) as logs:
                run_timer(relay.places, relay.tables, int(time.time()), logs)
    text = "refused while the list they are on is held, and the server takes them: new7@acme.example"
    assert [line for line in (relay.var / "alarms").read_text().splitlines() if "new7@" in line] == [
        f"acme: {text}; `inv review acme`"
    ]
    assert heard[-1] == "RCPT TO:<new7@acme.example>"


@pytest.fixture
def watched(tmp_path: Path) -> SmallRelay:
    """A relay that writes its alarms to a file; its list of 40 was accepted, then an upload removed the last."""
    relay = SmallRelay(tmp_path)
    mail = relay.program("alarm", f"#!/bin/sh\ncat >> {relay.var}/alarms\n")
    relay.relay(alarm=(str(mail),))
    relay.offer(people(40))
    relay.accept("first", 40)
    relay.offer(people(39))
    return relay


def refused(*names: str) -> bytes:
    """Log lines of today that say these were refused."""
    head = time.strftime("%Y-%m-%dT10:00:00+00:00 mx1 ", time.localtime())
    return b"".join(smtpd(refusal(name), head) for name in names)


def alarm_lines(relay: SmallRelay, taken: str, *lines: bytes) -> list[str]:
    """Return the timer's alarms about refusals, with a server that accepts addresses with this text."""
    log = relay.var / "mail.log"
    with log.open("ab") as file:
        file.write(b"".join(lines))
    (relay.var / "alarms").unlink(missing_ok=True)
    with mail_server(taken) as (where, _):
        (Path(relay.places.tree("acme")) / "transport").write_text(f"acme.example relay:[127.0.0.1]:{where.port}\n")
        with relay.opened_logs(log) as logs:
            run_timer(relay.places, relay.tables, int(time.time()), logs)
    path = relay.var / "alarms"
    return [line for line in path.read_text().splitlines() if "refus" in line] if path.exists() else []


def newest_entry(relay: SmallRelay) -> str:
    with relay.spool() as spool:
        return next(upload_log.read_entries(spool.folder)).entry


def test_the_timer_names_the_command_that_mends_a_wrong_removal(watched: SmallRelay) -> None:
    entry, text = newest_entry(watched), "removed by an upload and now refused, though the server takes them"
    assert alarm_lines(watched, LAST, refused(LAST)) == [f"acme: {text}: {LAST}; `inv rollback acme --entry {entry}`"]
    assert alarm_lines(watched, LAST, refused(LAST)) == [], "it was named"


def test_a_server_that_takes_everybody_in_one_domain_is_believed_in_another(tmp_path: Path) -> None:
    relay, here, there = (
        SmallRelay(tmp_path, domains=("acme.example", "b.example")),
        people(40),
        people(40, "b.example"),
    )
    relay.offer([*here, *there])
    relay.accept("first", 80)
    relay.offer([*here[:-1], *there[:-1]])
    with next_hop_server.mail_server(there) as server:
        server.open_domain = "acme.example"
        (line,) = run_with_server(relay, server, refused(here[-1], there[-1]))
    assert line.startswith(f"acme: removed by an upload and now refused, though the server takes them: {there[-1]};")


@pytest.mark.parametrize("refuses_senders", [True, False], ids=["the sender", "whoever is asked about"])
def test_a_server_that_refuses_the_question_leaves_no_wrong_removal_untold(
    tmp_path: Path, refuses_senders: bool
) -> None:
    relay = SmallRelay(tmp_path, shrink_percent=20)
    relay.offer(people(40))
    relay.accept("first", 40)
    relay.offer(people(36))
    with next_hop_server.mail_server([]) as server:
        server.refuses_senders = refuses_senders
        assert run_with_server(relay, server, refused(*people(40)[36:38])) == [], "no more than a few, as anywhere"
        (line,) = run_with_server(relay, server, refused(*people(40)[38:]))
    assert "and now refused, though it cannot be asked whether the server takes them: user00036@" in line
    assert line.endswith(f"`inv rollback acme --entry {newest_entry(relay)}`")


def test_whom_a_person_judged_is_told_once_an_upload_has_listed_and_removed_them_though_nobody_else_is_refused(
    tmp_path: Path,
) -> None:
    relay, sales = SmallRelay(tmp_path), "sales@acme.example"
    relay.offer(people(40))
    seen = SeenMail({sales: MailSeen("2026-11-28", 1)})
    relay.accept_reviewed(relay.review(seen).held.list, Numbers(first=40, although_mail=1), seen)
    with next_hop_server.mail_server([sales]) as server:
        assert run_with_server(relay, server, later=100) == []
        relay.offer([*people(40), sales])
        assert run_with_server(relay, server, later=200) == []
        relay.offer(people(40))
        (line,) = run_with_server(relay, server, refused(sales), later=300)
    assert line.endswith(f"{sales}; `inv rollback acme --entry {newest_entry(relay)}`")


def run_with_server(relay: SmallRelay, server: next_hop_server.MailServer, *lines: bytes, later: int = 0) -> list[str]:
    """Return what the timer finds of refused addresses, where this server is the next hop."""
    log = relay.var / "mail.log"
    with log.open("ab") as file:
        file.write(b"".join(lines))
    routes = "".join(f"{name} {server.route}\n" for name in relay.settings.domains)
    (Path(relay.places.tree("acme")) / "transport").write_text(routes)
    with relay.opened_logs(log) as logs:
        answer = run_timer(relay.places, relay.tables, int(time.time()) + later, logs)
    return [line for line in answer.record["alarms"] if "refused" in line]


def test_whom_a_person_let_go_is_told_as_a_leaver_once(watched: SmallRelay) -> None:
    watched.offer(people(30))
    watched.accept("removing", 9)
    leaver = "user00035@acme.example"
    text = f"removed by a person, and still written to: {leaver}; `inv refusals acme` shows them"
    assert alarm_lines(watched, "user", refused(leaver)) == [f"acme: {text}"]
    assert alarm_lines(watched, "user", refused(leaver)) == []


def test_whom_an_upload_removes_again_after_a_person_did_is_an_alarm(watched: SmallRelay) -> None:
    watched.offer(people(30))
    watched.accept("removing", 9)
    alarm_lines(watched, "user", refused("user00030@acme.example"))
    watched.offer(people(31))
    assert alarm_lines(watched, "user") == []
    watched.offer(people(30))
    (line,) = alarm_lines(watched, "user", refused("user00030@acme.example"))
    assert line.endswith(f"--entry {newest_entry(watched)}`")


def test_a_removal_that_was_mended_and_comes_again_is_named_again(watched: SmallRelay) -> None:
    assert len(alarm_lines(watched, LAST, refused(LAST))) == 1
    watched.offer(people(40))
    assert alarm_lines(watched, LAST) == []
    watched.offer(people(39))
    yesterday(watched)
    assert len(alarm_lines(watched, LAST, refused(LAST))) == 1


def test_nobody_is_missed_in_a_domain_that_is_open(watched: SmallRelay) -> None:
    (watched.var / "customers" / "open").mkdir()  # the stand-in for the build takes all lists as they are
    (watched.var / "customers" / "open" / "recipients").write_text("@acme.example\n")
    assert alarm_lines(watched, LAST, refused(LAST)) == []


def test_the_line_of_the_day_is_one_a_day(watched: SmallRelay) -> None:
    watched.offer(people(30))
    watched.accept("removing", 9)
    assert len(alarm_lines(watched, "user", refused("user00035@acme.example"))) == 1
    assert alarm_lines(watched, "user", refused("user00036@acme.example")) == []
    yesterday(watched)
    (line,) = alarm_lines(watched, "user")
    assert "user00036@" in line
    assert "user00035@" not in line


def yesterday(relay: SmallRelay) -> None:
    """Make all that was asked and raised today a day older."""
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    for name in ("refusals.json", "refusal-alarms.json"):
        fields = json.loads((relay.folder / name).read_text())
        fields |= {"asked": dict.fromkeys(fields["asked"], day)} if "asked" in fields else {}
        raised = fields.get("raised", {}).items()
        fields |= {"raised": {kind: [day, text] for kind, (_, text) in raised}} if "raised" in fields else {}
        (relay.folder / name).write_text(json.dumps(fields))
    (Path(relay.places.run) / "alarms.json").unlink(missing_ok=True)
