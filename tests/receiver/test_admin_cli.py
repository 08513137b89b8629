"""`postern`: what people see of a list, and what they can do with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from common.exit_codes import DONE, FAILED, REFUSED
from receiver.monitoring import refusal_watch
from receiver.outcome import Outcome
from receiver.system import atomic_files
from tests.support.maillog import delivery, refusal, smtp, smtpd
from tests.support.small_relay import MARK, SmallRelay, export, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
NEW = "new@acme.example"
NOW = 1_790_000_000  # 21 September 2026
UNREAD = "the mail log has not been read yet; the timer does that as root, every five minutes"


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay whose first list, of 40, has been accepted."""
    relay = SmallRelay(tmp_path / "relay")
    relay.offer(people(40))
    relay.accept("first", 40)
    return relay


def admin_lines(relay: SmallRelay, *arguments: str, stdin: bytes = b"", code: int = DONE) -> list[str]:
    done = relay.admin(*arguments, stdin=stdin)
    assert (done.returncode, done.stderr) == (code, b"")
    return done.stdout.decode().splitlines()


def record(relay: SmallRelay, *arguments: str, stdin: bytes = b"", code: int = DONE) -> dict[str, Any]:
    (line,) = admin_lines(relay, *arguments, "--json", stdin=stdin, code=code)
    found: dict[str, Any] = json.loads(line)
    assert (found["postern"], found["code"]) == (1, code)
    return found


def reviewed(relay: SmallRelay) -> list[str]:
    """Review what is held; return the words of the command that the review ends with."""
    return admin_lines(relay, "review", "acme")[-1].split()[1:]


def accept(relay: SmallRelay, option: str, size: int) -> None:
    """Review what is held and accept it, with this number."""
    command = reviewed(relay)
    assert command[:4] == ["accept", "acme", f"--{option}", str(size)]
    admin_lines(relay, *command)


# ---- who did it


def test_the_operator_s_own_name_stands_in_history_beside_the_relay_s(relay: SmallRelay) -> None:
    relay.offer([*people(40), NEW])
    admin_lines(relay, "rollback", "acme", "--removing", "1", "--operator=anna@desk")
    assert "by anna@desk as olga, to list" in admin_lines(relay, "history", "acme")[-1]
    assert "accepted by anna@desk as olga, rolling back" in admin_lines(relay, "history", "acme")[0]
    assert "by anna@desk as olga from 192.0.2.1" in "".join(admin_lines(relay, "status", "acme"))


def test_attack_an_operator_s_name_cannot_write_to_a_terminal_or_fill_the_log(relay: SmallRelay) -> None:
    relay.offer([*people(40), NEW])
    admin_lines(relay, "rollback", "acme", "--removing", "1", "--operator=\x1b[2Janna\n" + "a" * 5_000)
    (entry,) = record(relay, "history", "acme")["history"][:1]
    assert entry["accepted_by"].startswith("\\x1b[2Janna\\naaa")
    assert len(entry["accepted_by"]) < 150


# ---- each verb, as people see it


@pytest.mark.parametrize("end", [b"", MARK])
def test_offer_takes_a_file_with_or_without_its_end_mark_and_tells_whose_hand_it_was(
    relay: SmallRelay, end: bytes
) -> None:
    found = Outcome.read(record(relay, "offer", "acme", stdin=export([*people(40), NEW]) + end))
    assert (found.did, found.total) == ("published", 41)
    assert (found.origin.key, found.origin.by, found.origin.client) == ("", "olga", "192.0.2.1")


def test_offer_to_look_names_who_would_come_and_go(relay: SmallRelay) -> None:
    lines = admin_lines(relay, "offer", "acme", "--look", stdin=export([*people(39), NEW]))
    assert lines[1:] == [f"  + {NEW}", "  - user00039@acme.example", lines[0]]
    assert relay.in_force() == set(people(40))


def test_offer_refuses_an_export_with_an_end_mark_that_says_what_is_not_so(relay: SmallRelay) -> None:
    stdin = export(people(40)) + b"#postern end rows=7\r\n"
    assert "7 rows" in admin_lines(relay, "offer", "acme", stdin=stdin, code=REFUSED)[0]


def test_review_names_all_that_is_held_and_ends_with_the_command_that_takes_it(relay: SmallRelay) -> None:
    held = relay.offer(people(36)[1:])
    lines = admin_lines(relay, "review", "acme")
    assert lines[0].startswith("acme: 12.5 % would go (5 of 40), limit 10 %; held since ")
    assert lines[2:] == [
        "would go, of 40 in force (5):",
        "  - user00000@acme.example",
        "  - user00036@acme.example",
        "  - user00037@acme.example",
        "  - user00038@acme.example",
        "  - user00039@acme.example",
        "at least 0 that it refuses have had mail in the last 14 days",
        f"there may have been more mail: {UNREAD}",
        "there may have been more mail: only this relay was asked, and other relays of the customer may have seen mail",
        f"inv accept acme --removing 5 --log-incomplete --list {held.offered}",
    ]


def test_review_as_json_has_what_accept_needs(relay: SmallRelay) -> None:
    outcome = relay.offer(people(20))
    found = record(relay, "review", "acme")
    assert found["list"] == outcome.offered
    assert found["numbers"] == {"first": 0, "adding": 0, "removing": 20, "although_mail": 0}
    assert found["going"] == people(40)[20:]
    words = ("--removing", "20", "--log-incomplete", "--list", found["list"])
    look = record(relay, "accept", "acme", "--dry-run", *words)
    assert (look["did"], look["going"]) == ("looked", people(40)[20:])
    assert record(relay, "accept", "acme", *words)["total"] == 20


def test_accept_refuses_a_list_by_which_others_go_than_somebody_has_reviewed(relay: SmallRelay) -> None:
    relay.offer(people(20))
    command = reviewed(relay)
    relay.offer([*people(19), NEW])
    (refused,) = admin_lines(relay, *command, code=REFUSED)
    assert (
        "user00019@acme.example would be removed by the list held now, which the review did not show; look again"
        in refused
    )
    assert len(relay.in_force()) == 41
    accept(relay, "removing", 21)
    assert len(relay.in_force()) == 20


def test_a_review_does_not_outlive_what_was_held(relay: SmallRelay) -> None:
    relay.offer(people(20))
    command = reviewed(relay)
    relay.offer(people(40))
    relay.offer(people(19))
    assert "the held list has not been reviewed here" in admin_lines(relay, *command, code=REFUSED)[0]
    assert len(relay.in_force()) == 40


def test_a_list_that_comes_again_as_it_was_reviewed_has_not_changed(relay: SmallRelay) -> None:
    relay.offer(people(20))
    command = reviewed(relay)
    relay.offer(people(20))
    admin_lines(relay, *command)
    assert len(relay.in_force()) == 20


def test_review_of_nothing_is_no_mistake(relay: SmallRelay) -> None:
    assert admin_lines(relay, "review", "acme") == ["acme: nothing is held"]


def test_review_while_pinned_ends_with_resume(relay: SmallRelay) -> None:
    admin_lines(relay, "rollback", "acme", "--to", "0")
    relay.offer(people(20))
    assert admin_lines(relay, "review", "acme")[-1] == "inv resume acme"


def test_accept_is_told_in_the_log_of_history_with_who_did_it(relay: SmallRelay) -> None:
    relay.offer(people(20))
    accept(relay, "removing", 20)
    newest, first = admin_lines(relay, "history", "acme")
    assert "20 (+0 -20)  key k1 from 198.51.100.7; accepted by olga" in newest
    assert "40 (+40 -0)  key k1 from 198.51.100.7; accepted by olga" in first
    assert admin_lines(relay, "history", "acme", "--diff", "0")[1:3] == ["went (20):", "  - user00020@acme.example"]
    assert "not kept" in admin_lines(relay, "history", "acme", "--diff", "1", code=REFUSED)[0]


def test_history_names_each_list_by_the_hash_that_rollback_takes(relay: SmallRelay) -> None:
    relay.offer([*people(40), NEW])
    _, first = record(relay, "history", "acme")["history"]
    look = record(relay, "rollback", "acme", "--list", first["list"], "--dry-run")
    assert (look["coming"], look["going"]) == ([], [NEW])
    assert "--removing 1" in admin_lines(relay, "rollback", "acme", "--list", first["list"], code=REFUSED)[0]
    found = record(relay, "rollback", "acme", "--list", first["list"], "--removing", "1")
    assert (found["did"], found["total"]) == ("pinned", 40)
    assert "frozen since" in admin_lines(relay, "status", "acme")[1]
    assert admin_lines(relay, "resume", "acme") == ["acme: resumed: no list waits"]


def test_status_tells_all_there_is_to_know(relay: SmallRelay) -> None:
    relay.offer(people(20))
    relay.forced_command(None)
    found = record(relay, "status", "acme")
    assert (found["total"], found["open"], found["unproven"], found["pinned"]) == (40, [], 0, None)
    assert found["held"]["reasons"] == ["50.0 % would go (20 of 40), limit 10 %"]
    assert found["last"]["did"] == "held"
    assert found["keys"].keys() == {"k1"}
    assert "key k1 last seen" in admin_lines(relay, "status", "acme")[-1]


def test_a_list_of_a_hundred_thousand_is_shown_in_part_and_is_whole_as_json(relay: SmallRelay) -> None:
    relay.offer(people(3000)[40:])
    lines = admin_lines(relay, "review", "acme")
    assert len(lines) < 1100
    assert "  ... and 1960 more; --json names them all" in lines
    assert len(record(relay, "review", "acme")["coming"]) == 2960


# ---- hand over, take over


@pytest.fixture
def sibling(tmp_path: Path) -> SmallRelay:
    return SmallRelay(tmp_path / "sibling")


def test_a_new_relay_takes_over_all_that_its_sibling_has(relay: SmallRelay, sibling: SmallRelay) -> None:
    relay.offer(people(38))
    relay.offer(people(20))
    given = relay.admin("hand-over", "acme").stdout
    assert admin_lines(sibling, "take-over", "acme", stdin=given) == ["acme: 38 recipients (+38 -0)"]
    assert sibling.in_force() == sibling.in_tables() == set(people(38))
    assert sibling.accepted() == relay.accepted()
    assert admin_lines(sibling, "history", "acme") == admin_lines(relay, "history", "acme")
    assert admin_lines(sibling, "review", "acme") == admin_lines(relay, "review", "acme")
    assert sibling.offer(people(35)).reasons == ("12.5 % would go (5 of 40), limit 10 %",), "the reference came too"
    assert admin_lines(sibling, "rollback", "acme", "--to", "1", "--removing", "0")[0].startswith("acme: 40 recipients")


def test_only_an_empty_spool_takes_over(relay: SmallRelay, sibling: SmallRelay) -> None:
    given = relay.admin("hand-over", "acme").stdout
    sibling.offer(people(3))
    assert "only an empty spool" in admin_lines(sibling, "take-over", "acme", stdin=given, code=REFUSED)[0]
    assert sibling.in_force() == set(people(3))


def test_a_relay_without_a_list_hands_over_that_it_has_none(sibling: SmallRelay, tmp_path: Path) -> None:
    given = SmallRelay(tmp_path / "third").admin("hand-over", "acme").stdout
    assert admin_lines(sibling, "take-over", "acme", stdin=given) == ["acme: 0 recipients, unchanged"]


@pytest.mark.parametrize(
    "change",
    [
        {"customer": "bolt"},
        {"postern": 2},
        {"list": "AAAA"},
        {"accepted": None},
        {"files": {"../../../etc/cron.d/x": ""}},
        {"files": {"history/../x": ""}},
        {"files": {"recipients": ""}},
        {"files": {"held/why.json": "not base64"}},
    ],
)
def test_an_attack_by_what_is_handed_over_places_no_file_outside_the_spool(
    relay: SmallRelay, sibling: SmallRelay, change: dict[str, Any]
) -> None:
    given = {**json.loads(relay.admin("hand-over", "acme").stdout), **change}
    before = sorted(sibling.var.rglob("*"))
    lines = admin_lines(sibling, "take-over", "acme", stdin=json.dumps(given).encode(), code=REFUSED)
    assert "cannot be used" in lines[0]
    assert sorted(sibling.var.rglob("*")) == before


# ---- wrong calls


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("accept", "acme", "--removing", "-1"),
        ("accept", "acme", "--rem", "1"),
        ("rollback", "acme", "--to", "1", "--list", "0123456789ab"),
        ("rollback", "acme", "--list", "abc"),
        ("receive", "acme"),
        ("review",),
    ],
)
def test_a_wrong_call_ends_2_with_the_usage(relay: SmallRelay, arguments: Sequence[str]) -> None:
    done = relay.admin(*arguments)
    assert done.returncode == REFUSED
    assert done.stderr.startswith(b"usage: postern")


def test_a_customer_that_is_not_there_is_told_with_the_nearest_name(relay: SmallRelay) -> None:
    line = admin_lines(relay, "status", "acmee", code=REFUSED)[0]
    assert line == "acmee: refused: no such customer on this relay; did you mean 'acme'?"


def test_a_customer_without_a_spool_yet_is_no_traceback(relay: SmallRelay) -> None:
    relay.folder.rename(relay.folder.with_name("gone"))
    assert "rebuild-relay-recips makes it" in admin_lines(relay, "status", "acme", code=FAILED)[0]
    assert record(relay, "status", "acme", code=FAILED)["did"] == "failed"


def test_what_failed_before_is_finished_before_anything_else(relay: SmallRelay) -> None:
    (relay.etc / "left-out").write_text("acme: its list is damaged\n")
    relay.offer([*people(40), NEW])
    (relay.etc / "left-out").unlink()
    assert record(relay, "status", "acme")["unproven"]
    admin_lines(relay, "resume", "acme", code=REFUSED)
    found = record(relay, "status", "acme")
    assert (found["unproven"], found["last"]["trouble"]) == (0, "")


# ---- the mail log


def log(relay: SmallRelay, *lines: bytes) -> None:
    """Let the relay read a mail log with these lines, of today."""
    file = relay.var / "mail.log"
    file.write_bytes(b"".join(lines))
    with relay.opened_logs(file) as logs:
        run = atomic_files.open_directory(relay.places.run)
        refusal_watch.update(relay.places, run, [relay.settings], logs, time.time())
        os.close(run)


def today(back: int = 0) -> str:
    return time.strftime("%Y-%m-%dT10:00:00+00:00 mx1 ", time.localtime(time.time() - back * 86_400))


def test_review_names_first_who_would_be_hurt(relay: SmallRelay) -> None:
    relay.offer(people(20))
    log(
        relay,
        smtp(delivery(people(31)[30]), today()),
        smtp(delivery(people(26)[25], "deferred", relay="none"), today()),
    )
    lines = admin_lines(relay, "review", "acme")
    assert lines[3].startswith("  - user00025@acme.example  has had mail lately: on 1 day, the last ")
    assert lines[4].startswith("  - user00030@acme.example  has had mail lately: on 1 day, the last ")
    assert "at least 2 that it refuses have had mail in the last 14 days" in lines
    assert any("the mail log is known since" in line for line in lines), "it begins too late"
    assert " --removing 20 --although-mail 2 --log-incomplete --list " in lines[-1]


def test_review_names_at_the_top_who_had_mail_and_is_not_on_a_first_list(tmp_path: Path) -> None:
    relay = SmallRelay(tmp_path / "new")
    relay.offer(people(40))
    days = [today(), today(back=1)]
    log(relay, *(smtp(delivery("Sales@acme.example"), head) for head in reversed(days)))
    lines = admin_lines(relay, "review", "acme")
    assert lines[2] == "NOT ON THE LIST, and had mail in the last 14 days (1):"
    assert lines[3].startswith("  ! sales@acme.example  on 2 days, the last ")
    assert "closes acme.example: who is not listed is refused from then on" in lines
    assert "the customer's server could not be asked: mail for it goes by MX records, so no server" in "".join(lines)
    assert " --first 40 --although-mail 1 --log-incomplete --list " in lines[-1]


@pytest.mark.parametrize(
    ("word", "fate"), [("defer", "put off with 450"), ("ask", "refused where the customer's own server refuses it")]
)
def test_review_says_what_unlisted_addresses_get_where_they_are_not_refused(
    tmp_path: Path, word: str, fate: str
) -> None:
    relay = SmallRelay(tmp_path / "new", unlisted=word)
    relay.offer(people(40))
    assert f"closes acme.example: who is not listed is {fate} from then on" in admin_lines(relay, "review", "acme")


def test_refusals_are_shown_and_those_ever_listed_come_first(relay: SmallRelay) -> None:
    log(relay, smtpd(refusal("a@acme.example"), today()), smtpd(refusal(people(1)[0]), today()) * 2)
    found = record(relay, "refusals", "acme")
    assert list(found["refused"].items()) == [(people(1)[0], {"unlisted": 2}), ("a@acme.example", {"unlisted": 1})]
    assert (found["had_mail"], found["waiting"], found["gaps"], found["unread"]) == ({}, {}, False, 0)
    lines = admin_lines(relay, "refusals", "acme")
    assert lines[0] == "acme: 2 addresses were refused in the last 14 days; 0 had mail, mail waits for 0"
    assert lines[1].startswith("  user00000@acme.example  2 unlisted; on 1 day, the last ")
    assert lines[1].endswith("; 1 network  WAS LISTED")


def test_attack_a_verb_of_another_customer_s_key_is_no_mail_of_ours(relay: SmallRelay) -> None:
    relay.offer(people(20))
    forged = f"x: to=<{people(31)[30]}>, relay=10.0.0.1, status=sent (250)"
    log(relay, f"{today()}postern[9]: refused: no such verb: {forged}\n".encode() * 3)
    assert "at least 0 that it refuses have had mail in the last 14 days" in admin_lines(relay, "review", "acme")


# ---- a person opens a customer's domains


def test_open_lets_no_list_count_as_accepted_so_the_next_is_a_first_one(relay: SmallRelay) -> None:
    said = admin_lines(relay, "open", "acme")
    assert said == ["acme: opened: acme.example, until a list is accepted again; 40 recipients"]
    assert relay.accepted() == {}
    assert relay.in_force() == set(people(40))
    assert "first list of acme.example (40)" in relay.offer(people(40)).line


def test_open_asked_again_changes_nothing(relay: SmallRelay) -> None:
    admin_lines(relay, "open", "acme")
    log = (relay.folder / "log").read_bytes()
    admin_lines(relay, "open", "acme")
    assert (relay.folder / "log").read_bytes() == log
