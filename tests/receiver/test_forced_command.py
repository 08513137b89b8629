"""The forced command: what a customer's key may say, and what it cannot reach."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.exit_codes import DONE, FAILED, HELD, REFUSED
from lab.waiting import HANGS
from receiver.system import locks
from tests.support.small_relay import MARK, REPO, SmallRelay, export, people

pytestmark = pytest.mark.slow  # each test runs the receiver's programs and postmap, several times
PROLOGUE = (
    f"import sys; sys.path.insert(0, {str(REPO)!r})\n"
    "from receiver.system import process_limits\n"
    "from receiver.outcome import Failed, Origin, outcome_of_error; from common.settings import Settings\n"
    "settings = Settings('acme', 'exchange-5.5', ('acme.example',), max_megabytes=1)\n"
)


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    """A relay whose first list, of 40, has been accepted."""
    relay = SmallRelay(tmp_path, max_megabytes=1)
    relay.offer(people(40))
    relay.accept("first", 40)
    return relay


def output(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.stderr == b""
    return done.stdout.decode()


def test_receive_publishes_what_stdin_holds_and_answers_in_one_line(relay: SmallRelay) -> None:
    done = relay.forced_command("receive", export([*people(40), "new@acme.example"]) + MARK)
    assert (done.returncode, output(done)) == (DONE, "acme: 41 recipients (+1 -0)\n")
    assert "new@acme.example" in relay.in_tables()


def test_the_number_of_the_kit_that_sent_an_export_is_noted(relay: SmallRelay) -> None:
    def noted() -> object:
        return json.loads((relay.folder / "keys.json").read_text())["k1"].get("kit")

    relay.forced_command("look kit=7", export(people(40)) + MARK)
    assert noted() == 7
    relay.forced_command("status")
    assert noted() == 7
    assert relay.forced_command("receive kit=8", export(people(40)) + MARK).returncode == DONE
    assert noted() == 8
    relay.forced_command("receive", export(people(40)) + MARK)
    assert noted() is None


@pytest.mark.parametrize(
    "word", ["kit=0", "kit=01", "kit=1 kit=2", "kit=-1", "kit=1;id", "kit=\u0661", "kit=1234567", "kit="]
)
def test_attack_nothing_but_a_number_of_a_kit_may_follow_the_verb(relay: SmallRelay, word: str) -> None:
    done = relay.forced_command(f"receive {word}", export(people(40)) + MARK)
    assert done.returncode == REFUSED
    assert "is none of receive, look, status" in output(done)


def test_the_exit_code_says_when_a_list_is_held(relay: SmallRelay) -> None:
    done = relay.forced_command("receive", export(people(20)) + MARK)
    assert (done.returncode, output(done)) == (HELD, "acme: 50.0 % would go (20 of 40), limit 10 %: held; 0 added\n")


def test_look_judges_and_leaves_everything_as_it_was(relay: SmallRelay) -> None:
    done = relay.forced_command("look", export(people(20)) + MARK)
    assert done.returncode == HELD
    first, *names, last = output(done).splitlines()
    assert first.startswith("acme: only looked: 20 recipients (+0 -20); 50.0 % would go")
    assert names == [f"  - user000{number}@acme.example" for number in range(20, 40)]
    assert last == first  # again below the names, where it is still to be seen
    assert json.loads((relay.folder / "last-run.json").read_text())["did"] == "published"


def test_a_key_without_a_verb_proves_that_it_works(relay: SmallRelay) -> None:
    done = relay.forced_command(None, export(people(1)) + MARK)
    assert (done.returncode, output(done)) == (DONE, "acme: key k1 works; it may receive, look and ask for status\n")


def test_status_tells_the_customer_its_own_and_nothing_of_our_people(relay: SmallRelay) -> None:
    relay.forced_command("receive", export(people(20)) + MARK)
    text = output(relay.forced_command("status"))
    assert "acme: 40 recipients, last good upload " in text
    assert "held since " in text
    assert "olga" not in text


@pytest.mark.parametrize("verb", ["receive", "look", "status", None])
def test_a_key_is_seen_with_every_verb_it_may_say(relay: SmallRelay, verb: str | None) -> None:
    before = int(time.time())
    relay.forced_command(verb, export(people(40)) + MARK, key="k2")
    assert json.loads((relay.folder / "keys.json").read_text())["k2"]["last"] >= before


# ---- attacks


@pytest.mark.parametrize(
    "verb",
    [
        "receive acme",
        "receive; id",
        "receive\nstatus",
        "$(id)",
        "`id`",
        "/bin/sh",
        "RECEIVE",
        " receive",
        "offer acme",
        "accept acme --removing 20",
        "scp -t /etc/postfix",
        "/usr/lib/openssh/sftp-server",
        "internal-sftp",
        "rsync --server . /",
        "--help",
        "x" * 100_000,
    ],
)
def test_an_attack_by_any_other_word_is_refused_and_changes_nothing(relay: SmallRelay, verb: str) -> None:
    done = relay.forced_command(verb, export(people(39)) + MARK)
    assert done.returncode == REFUSED
    assert output(done).startswith("acme: refused: ")
    assert output(done).endswith(" is none of receive, look, status\n")
    assert len(output(done)) < 300
    assert relay.in_force() == set(people(40))


def test_an_attack_on_the_terminal_of_who_reads_the_log_is_escaped(relay: SmallRelay) -> None:
    assert output(relay.forced_command("\x1b]0;owned\x07\u202e")) == (
        r"acme: refused: \x1b]0;owned\x07\u202e is none of receive, look, status" + "\n"
    )


@pytest.mark.parametrize(
    "arguments", [("acme",), ("../bolt", "k1"), ("acme", "k1", "bolt"), ("acme", "../k1"), ("Acme", "k1"), ()]
)
def test_a_damaged_key_line_opens_nothing(relay: SmallRelay, arguments: tuple[str, ...]) -> None:
    code = (
        "from receiver.forced_command import answer_call\n"
        "sys.exit(answer_call(places, tables, sys.argv[1:], os.environ))"
    )
    done = relay.run(code, *arguments, stdin=b"", environ={"SSH_ORIGINAL_COMMAND": "status"})
    assert (done.returncode, b"this key's line is damaged" in done.stdout) == (FAILED, True)


def test_an_attack_through_the_environment_reaches_no_program_of_ours(relay: SmallRelay) -> None:
    relay.program("rebuild", f"#!/bin/sh\nenv > {relay.var}/environment\n")
    environ = {"SSH_ORIGINAL_COMMAND": "receive", "LD_PRELOAD": "/tmp/evil.so", "PYTHONPATH": "/tmp", "IFS": "x"}
    code = (
        "from receiver.forced_command import answer_call\n"
        "sys.exit(answer_call(places, tables, ['acme', 'k1'], os.environ))"
    )
    relay.run(code, stdin=export(people(39)) + MARK, environ=environ)
    names = {line.partition("=")[0] for line in (relay.var / "environment").read_text().splitlines()}
    assert names <= {"PATH", "LC_ALL", "PWD", "SHLVL", "_"}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"", "nothing was sent"),
        (export(people(40)), "end mark is missing"),
        (export(people(40))[:-20] + MARK, "not whole"),
        ((export(people(40)) + MARK)[:-1], "end mark"),
        (export(people(40)) + MARK + export(people(1)) + MARK, "two exports in one"),
        (b"x" * (2 << 20), "larger than 1 MB"),
    ],
)
def test_an_export_that_is_not_whole_is_refused_and_recorded(relay: SmallRelay, sent: bytes, why: str) -> None:
    done = relay.forced_command("receive", sent)
    assert done.returncode == REFUSED
    assert why in output(done)
    assert json.loads((relay.folder / "last-run.json").read_text())["did"] == "refused"
    assert relay.in_force() == set(people(40))


def test_an_attack_by_a_bomb_of_a_million_values_stays_within_memory(relay: SmallRelay) -> None:
    row = b"Mailbox\t" + b"%" * 1_000_000 + b"\t\r\n"
    done = relay.forced_command("receive", export([]) + row + MARK)
    assert (done.returncode, "left with none of its 40" in output(done)) == (HELD, True)
    assert relay.in_force() == set(people(40))


@pytest.mark.parametrize(
    ("greedy", "told"),
    [
        ("bytearray(1 << 40)", "this export needs more memory than max_megabytes allows for"),
        ("any(zero for zero in iter(int, 1))", "took more than 1 s of CPU"),
        ("open(sys.argv[1], 'wb').write(bytes(100 << 20))", "no room on the disk"),
    ],
)
def test_what_wants_too_much_is_stopped_and_told(tmp_path: Path, greedy: str, told: str) -> None:
    code = (
        f"{PROLOGUE}process_limits.CPU = 1\nprocess_limits.limit_resources(settings)\n"
        f"try:\n    {greedy}\n"
        "except BaseException as error:\n    print(outcome_of_error('acme', Origin(0), error).line)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "large")]
    assert told in subprocess.run(argv, capture_output=True, text=True, check=True, timeout=HANGS).stdout


def test_code_that_takes_the_end_of_its_time_for_a_damaged_file_is_ended_a_little_later() -> None:
    code = (
        f"{PROLOGUE}process_limits.CPU, process_limits._AFTER = 1, 1\nprocess_limits.limit_resources(settings)\n"
        "while True:\n    try:\n        any(zero for zero in iter(int, 1))\n    except Failed:\n        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=HANGS, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGXCPU, b"")


def test_a_full_disk_is_told_and_recorded_and_the_old_list_stays(relay: SmallRelay) -> None:
    code = (
        "import resource; from receiver.system import process_limits; from receiver.forced_command import answer_call\n"
        "process_limits.limit_resources = lambda settings: resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))\n"
        "sys.exit(answer_call(places, tables, ['acme', 'k1'], os.environ))"
    )
    done = relay.run(code, stdin=export(people(41)) + MARK, environ={"SSH_ORIGINAL_COMMAND": "receive"})
    assert (done.returncode, output(done)) == (FAILED, "acme: failed: no room on the disk: File too large\n")
    assert json.loads((relay.folder / "last-run.json").read_text())["did"] == "failed"
    assert relay.in_force() == set(people(40))


# ---- broken ends


def test_a_client_that_hangs_up_before_the_answer_does_not_break_the_publication(relay: SmallRelay) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = (
        "from receiver.forced_command import answer_call\n"
        "sys.exit(answer_call(places, tables, ['acme', 'k1'], os.environ))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", relay.start + code],
        input=export(people(39)) + MARK,
        stdout=writing,
        stderr=subprocess.PIPE,
        env={"SSH_ORIGINAL_COMMAND": "receive"},
        timeout=HANGS,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (DONE, b"")
    assert relay.in_tables() == set(people(39))


def test_a_customer_who_is_gone_is_told_so_clearly(relay: SmallRelay) -> None:
    tree = Path(relay.places.tree("acme"))
    tree.rename(tree.with_name(".gone"))
    done = relay.forced_command("receive", export(people(40)) + MARK)
    assert done.returncode == REFUSED
    assert "acme is not set up on this relay, or no longer" in output(done)


def test_a_customer_whose_settings_are_damaged_is_told_and_nobody_sees_a_traceback(relay: SmallRelay) -> None:
    (Path(relay.places.tree("acme")) / "settings.json").write_text("{")
    done = relay.forced_command("receive", export(people(40)) + MARK)
    assert done.returncode == FAILED
    assert "settings.json" in output(done)


@pytest.mark.parametrize("verb", ["receive", "status", None])
def test_a_disk_that_takes_no_lock_is_told_and_nobody_sees_a_traceback(relay: SmallRelay, verb: str | None) -> None:
    (relay.var / "run" / "call-0").unlink(missing_ok=True)
    (relay.var / "run" / "call-0").mkdir()  # which fails as a read-only file system does
    done = relay.forced_command(verb, export(people(40)) + MARK)
    assert done.returncode == FAILED
    assert output(done).startswith("acme: failed: [Errno 21] Is a directory: ")
    assert relay.in_force() == {*people(40)}


def test_an_attack_by_uploads_without_end_leaves_room_for_those_of_others(relay: SmallRelay) -> None:
    with ExitStack() as running:
        for _ in range(locks.UPLOADS):
            running.enter_context(locks.hold_upload_slot(relay.places, "acme"))
        done = relay.forced_command("receive", export(people(39)) + MARK)
        assert (done.returncode, b"2 uploads of this customer are running already" in done.stdout) == (75, True)
        assert relay.forced_command("status").returncode == DONE
    assert relay.forced_command("receive", export(people(39)) + MARK).returncode == DONE


@pytest.mark.parametrize("verb", ["", "status", "look", "receive"])
def test_attack_a_key_that_calls_all_the_time_takes_no_more_than_its_places(relay: SmallRelay, verb: str) -> None:
    Path(relay.places.spool("bolt")).mkdir()
    with ExitStack() as running:
        for _ in range(locks.CALLS):
            running.enter_context(locks.hold_call_slot(relay.places, "acme"))
        done = relay.forced_command(verb)
        assert (done.returncode, b"4 calls of this customer are being answered" in done.stdout) == (75, True)
        with locks.hold_call_slot(relay.places, "bolt"):
            pass


def test_attack_status_of_a_long_list_needs_no_memory_for_it(relay: SmallRelay) -> None:
    """One key asks for it many times at once."""
    text = b"".join(b"user%08d@acme.example\n" % number for number in range(2_000_000))
    (relay.folder / "recipients").write_bytes(text)
    code = (
        "from receiver.forced_command import answer_call\n"
        "code = answer_call(places, tables, ['acme', 'k1'], os.environ)\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = relay.run(code, environ={"SSH_ORIGINAL_COMMAND": "status"})
    assert b"2000000 recipients" in done.stdout
    assert int(done.stdout.split()[-1]) < 40_000, "kilobytes; the list alone has 60,000"


def test_attack_where_memory_ends_a_call_ends_before_the_build(relay: SmallRelay) -> None:
    code = "from receiver.forced_command import answer_call\n"
    code += "answer_call(places, tables, ['acme', 'k1'], os.environ)\n"
    code += "print(open('/proc/self/oom_score_adj').read())\n"
    code += "from receiver.system import clean_env\nclean_env.reset_environment()\n"
    code += "print(open('/proc/self/oom_score_adj').read())"
    done = relay.run(code, environ={"SSH_ORIGINAL_COMMAND": ""})
    assert done.stdout.split()[-2:] == [b"1000", b"500"]


def test_a_key_waits_for_a_place_to_parse_in_while_two_are_taken(relay: SmallRelay) -> None:
    places = relay.places
    for name in ("bolt", "corp"):
        Path(places.spool(name)).mkdir()
    with locks.hold_parsing_slot(places, "bolt", 0), locks.hold_parsing_slot(places, "corp", 0):
        code = (
            "from receiver.forced_command import answer_call\n"
            "sys.exit(answer_call(places, tables, ['acme', 'k1'], os.environ, wait=0.1))"
        )
        done = relay.run(code, stdin=export(people(39)) + MARK, environ={"SSH_ORIGINAL_COMMAND": "receive"})
    assert (done.returncode, b"try again in some minutes" in done.stdout) == (75, True)
    assert relay.forced_command("receive", export(people(39)) + MARK).returncode == DONE
