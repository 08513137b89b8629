"""The remote program, run as on a relay but by this machine's Python: what it reads and makes, and what it survives."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import Any

import pytest

from deploy.items import Item, State, derived, file, tree
from deploy.plan import Busy, Change, HostError, Plan, ProofFailed
from deploy.remote_session import BOOTSTRAP, CommandEnd, Lock, Session, sent_modules
from lab.operators import REPO
from lab.waiting import HANGS, wait_until
from remote import files
from remote.main import Failed
from remote.programs import run_command

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the program works as root"),
    pytest.mark.slow,  # each test sends the program, and runs it as a process of its own
]


class Process:
    """A line to the program as a process of this machine."""

    def __init__(self) -> None:
        argv = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", BOOTSTRAP]
        pipe = subprocess.PIPE
        self.child: Any = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def receive(self, seconds: float) -> bytes:
        line: bytes = self.child.stdout.readline()
        return line

    def end(self) -> CommandEnd:
        with suppress(BrokenPipeError):
            self.child.stdin.close()
        self.child.stdout.close()
        code = self.child.wait(HANGS)
        return CommandEnd(None if code < 0 else code, self.child.stderr.read().decode())


class Here:
    """This machine as a host: a session with the program in a process of its own."""

    name = "here"

    def __init__(self, lock: Path, modules: Sequence[Path] = (), seconds: float = 5) -> None:
        self.line = Process()
        self.session = Session(self.line, Lock(str(lock), seconds), modules)

    def read(self, items: Sequence[Item]) -> list[State | None]:
        return self.session.read(items)

    def make(self, changes: Sequence[Change]) -> None:
        self.session.make(changes)

    def apply(self, *items: Item) -> None:
        Plan.of(self, items).apply()


Start = Callable[..., Here]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the program; `sources`, by name, are modules sent with it."""
    hosts: list[Here] = []

    def start(sources: dict[str, str] | None = None, seconds: float = 5) -> Here:
        modules = [tmp_path / f"{name}.py" for name in sources or {}]
        for module, source in zip(modules, (sources or {}).values(), strict=True):
            module.write_text(dedent(source))
        hosts.append(Here(tmp_path / "lock", modules, seconds))
        return hosts[-1]

    yield start
    for host in hosts:
        host.line.end()


@pytest.fixture
def here(start: Start) -> Here:
    return start()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def program(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + dedent(text))
    path.chmod(0o755)
    return str(path)


# ---- file


def test_a_file_is_made_with_its_parents_and_is_then_as_wanted(here: Here, tmp_path: Path) -> None:
    item = file(str(tmp_path / "a/b/motd"), "grüß Gott\n", mode="0750")
    here.apply(item)
    made = tmp_path / "a/b/motd"
    assert made.read_bytes() == "grüß Gott\n".encode()
    assert made.stat().st_mode & 0o7777 == 0o750
    assert made.parent.stat().st_mode & 0o7777 == 0o755
    assert Plan.of(here, [item]).changes == ()


def test_a_file_that_must_not_be_there_is_removed(here: Here, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    here.apply(file(str(tmp_path / "x"), None))
    assert not (tmp_path / "x").exists()


def test_another_mode_and_another_owner_are_seen_and_put_right(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "sudoers"
    path.write_text("x\n")
    path.chmod(0o666)
    os.chown(path, 1000, 1000)
    plan = Plan.of(here, [file(str(path), "x\n", mode="0440")])
    assert plan.text() == f"! {path} belongs to user 1000 and group 1000\nmode of {path}: 0666 -> 0440\n"
    plan.apply()
    info = path.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (0, 0, 0o440)


def test_attack_a_link_in_a_files_place_is_replaced_and_not_written_through(here: Here, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("secret\n")
    (tmp_path / "motd").symlink_to(tmp_path / "shadow")
    plan = Plan.of(here, [file(str(tmp_path / "motd"), "hello\n")])
    assert f"! {tmp_path}/motd is a symbolic link to {tmp_path}/shadow\n" in plan.text()
    assert "secret" not in plan.text()
    plan.apply()
    assert (tmp_path / "shadow").read_text() == "secret\n"
    assert not (tmp_path / "motd").is_symlink()


def test_attack_a_pipe_in_a_files_place_does_not_stop_the_reading(here: Here, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "motd")
    here.apply(file(str(tmp_path / "motd"), "hello\n"))
    assert (tmp_path / "motd").read_text() == "hello\n"


def test_bytes_that_are_no_text_are_replaced_without_being_shown(here: Here, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\0\1")
    plan = Plan.of(here, [file(str(tmp_path / "x"), "text\n")])
    assert plan.text().startswith(f"binary {tmp_path}/x: 4 bytes")
    plan.apply()


def test_a_file_too_big_to_be_ours_is_not_read_whole(here: Here, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as big:
        big.truncate(files.LARGEST + 1)
    assert here.read([file(str(tmp_path / "x"), "a\n")]) == [{"odd": [f"is a file of {files.LARGEST + 1} bytes"]}]


def test_a_directory_in_a_files_place_is_an_error_that_names_it(here: Here, tmp_path: Path) -> None:
    (tmp_path / "motd").mkdir()
    with pytest.raises(HostError, match=f"file {tmp_path}/motd: .*Is a directory.*"):
        here.apply(file(str(tmp_path / "motd"), "x\n"))


# ---- tree


def test_a_tree_is_a_link_to_a_hidden_directory_beside_it(here: Here, tmp_path: Path) -> None:
    item = tree(str(tmp_path / "acme"), {"settings.json": "{}\n", "formats/a.py": "pass\n"})
    here.apply(item)
    target = (tmp_path / "acme").readlink()
    assert target.parent == Path()
    assert target.name.startswith(".acme.")
    assert (tmp_path / "acme/formats/a.py").read_text() == "pass\n"
    assert Plan.of(here, [item]).changes == ()


def test_each_change_of_a_tree_gets_a_directory_never_used_before(here: Here, tmp_path: Path) -> None:
    targets = set()
    for content in ("1\n", "2\n", "1\n"):
        here.apply(tree(str(tmp_path / "acme"), {"x": content}))
        targets.add((tmp_path / "acme").readlink())
    assert len(targets) == 3


def test_what_a_tree_replaced_stays_for_those_who_are_reading_it_until_the_next_change(
    here: Here, tmp_path: Path
) -> None:
    for content in ("1\n", "2\n"):
        here.apply(tree(str(tmp_path / "acme"), {"x": content}))
    assert len(hidden(tmp_path)) == 2
    here.apply(tree(str(tmp_path / "bolt"), {"x": content}))
    assert hidden(tmp_path) == sorted([str((tmp_path / name).readlink()) for name in ("acme", "bolt")])


def test_a_tree_that_goes_leaves_nothing(here: Here, tmp_path: Path) -> None:
    here.apply(tree(str(tmp_path / "etc/acme"), {"x/y": "1\n"}))
    here.apply(tree(str(tmp_path / "etc/acme"), None))
    assert list((tmp_path / "etc").iterdir()) == []


def strange(path: Path) -> None:
    (path / "x").unlink()
    (path / "x").symlink_to("/etc/passwd")


DRIFT: dict[str, tuple[Callable[[Path], object], str]] = {
    "another file": (lambda path: (path / "s/new").write_text("1\n"), "+++ /dev/null"),
    "a missing file": (lambda path: (path / "x").unlink(), "--- /dev/null"),
    "another content": (lambda path: (path / "x").write_text("2\n"), "-2"),
    "another mode": (lambda path: (path / "x").chmod(0o4755), "holds x, which has mode 4755"),
    "another mode of a directory": (lambda path: (path / "s").chmod(0o777), "holds s/, which has mode 0777"),
    "another mode of the whole": (lambda path: path.resolve().chmod(0o700), "is a directory that has mode 0700"),
    "another owner of the whole": (
        lambda path: os.chown(path.resolve(), 1, 1),
        "is a directory that belongs to user 1 and group 1",
    ),
    "another owner": (lambda path: os.chown(path / "x", 1, 1), "holds x, which belongs to user 1 and group 1"),
    "a link in a file's place": (strange, "holds x, which is a symbolic link to /etc/passwd"),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_drift_in_a_tree_is_seen_and_put_right(here: Here, tmp_path: Path, drift: str) -> None:
    item = tree(str(tmp_path / "acme"), {"x": "1\n", "s/y": "1\n"})
    here.apply(item)
    change, sign = DRIFT[drift]
    change(tmp_path / "acme")
    plan = Plan.of(here, [item])
    assert sign in plan.text()
    assert "root:" not in plan.text()
    plan.apply()
    assert Plan.of(here, [item]).changes == ()


def test_a_directory_made_by_hand_in_a_trees_place_is_shown_and_replaced(here: Here, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/by-hand").write_text("bob\n")
    plan = Plan.of(here, [tree(str(tmp_path / "acme"), {"x": "1\n"})])
    assert f"! {tmp_path}/acme is a directory and not a link to one\n" in plan.text()
    assert "-bob\n" in plan.text()
    plan.apply()
    assert os.listdir(tmp_path / "acme") == ["x"]  # noqa: PTH208 names


def test_attack_a_link_that_leads_elsewhere_is_neither_read_nor_emptied(here: Here, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letters").write_text("private\n")
    (tmp_path / "acme").symlink_to(tmp_path / "home")
    plan = Plan.of(here, [tree(str(tmp_path / "acme"), {"x": "1\n"})])
    assert "private" not in plan.text()
    plan.apply()
    here.apply(tree(str(tmp_path / "acme"), None))
    assert (tmp_path / "home/letters").read_text() == "private\n"


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_attack_a_name_in_a_tree_cannot_leave_it(here: Here, tmp_path: Path, name: str) -> None:
    with pytest.raises(HostError, match="would lie outside"):
        here.apply(tree(str(tmp_path / "a/b/acme"), {name: "x\n"}))
    assert not (tmp_path / "a/x").exists()
    assert not (tmp_path / "a/b/x").exists()


# ---- compare and swap, the lock


def test_what_was_changed_since_the_plan_is_not_overwritten_and_nothing_else_is_made(
    here: Here, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("old\n")
    plan = Plan.of(here, [file(str(tmp_path / "first"), "1\n"), file(str(tmp_path / "x"), "new\n")])
    (tmp_path / "x").write_text("by bob\n")
    with pytest.raises(Busy, match=f"file {tmp_path}/x was changed by someone else"):
        plan.apply()
    assert (tmp_path / "x").read_text() == "by bob\n"
    assert not (tmp_path / "first").exists()


def test_what_someone_else_made_just_as_wanted_is_no_conflict(here: Here, tmp_path: Path) -> None:
    plan = Plan.of(here, [file(str(tmp_path / "x"), "new\n")])
    (tmp_path / "x").write_text("new\n")
    plan.apply()


def test_two_applying_the_same_plan_at_once_both_succeed(start: Start, tmp_path: Path) -> None:
    items = [tree(str(tmp_path / "acme"), {"x": "1\n"}), file(str(tmp_path / "y"), "1\n")]
    first, second = Plan.of(start(), items), Plan.of(start(), items)
    first.apply()
    second.apply()


def test_a_lock_held_too_long_is_busy_and_its_holder_named(start: Start, tmp_path: Path) -> None:
    slow = settler(tmp_path, f"touch {tmp_path}/held; while [ ! -e {tmp_path}/over ]; do sleep 0.05; done")
    working = Thread(target=Plan.of(start(), [file(str(tmp_path / "a"), "1\n"), slow]).apply)
    working.start()
    wait_until((tmp_path / "held").exists)
    with pytest.raises(Busy, match=r"lock has been locked for 0 s by \S+ at \S+, process \d+, since 2"):
        start(seconds=0.3).apply(file(str(tmp_path / "b"), "1\n"))
    (tmp_path / "over").touch()
    working.join()
    start(seconds=0.3).apply(file(str(tmp_path / "b"), "1\n"))


def test_attack_who_holds_the_lock_for_ever_is_named(start: Start, tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    ours = os.getpid()
    with pytest.raises(Busy, match=rf"by process {ours} \(.+\) of user {os.getuid()}, .+ \(kill {ours}\); "):
        start(seconds=0.2).apply(file(str(tmp_path / "b"), "1\n"))
    os.close(descriptor)
    start(seconds=0.2).apply(file(str(tmp_path / "b"), "1\n"))


def test_a_killed_run_leaves_no_lock_and_is_not_named_as_its_holder(start: Start, tmp_path: Path) -> None:
    killed = start({"m": kinds("os.kill(os.getpid(), 9)")})
    with pytest.raises(HostError):
        killed.apply(OWN)
    assert (tmp_path / "lock/.holder").exists()
    descriptor = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with pytest.raises(Busy, match=rf"by process {os.getpid()} "):
        start(seconds=0.2).apply(file(str(tmp_path / "b"), "1\n"))
    os.close(descriptor)


def test_a_lock_whose_mark_the_disk_does_not_take_is_given_back(here: Here, start: Start, tmp_path: Path) -> None:
    """By a program that lives on, while uploads wait for that lock. A directory cannot be written either."""
    (tmp_path / "lock" / ".holder").mkdir(parents=True)
    with pytest.raises(HostError, match=r"nothing is changed: .*/lock/\.holder cannot be written: Is a dir"):
        here.apply(file(str(tmp_path / "a"), "1\n"))
    (tmp_path / "lock" / ".holder").rmdir()
    start(seconds=0.2).apply(file(str(tmp_path / "b"), "1\n"))


# ---- derived


def is_running(process: int) -> bool:
    """Return whether it is there and not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def settler(folder: Path, work: str) -> Item:
    """A derived item that is in order once `work` was done and the mark exists."""
    mark = folder / "built-mark"
    check = f'if [ "$1" = --check ]; then [ -e {mark} ] || echo "no mark"; exit; fi\n'
    return derived("mark", program(folder / "settle", f"{check}{work}\ntouch {mark}\n"))


def test_what_is_derived_is_built_when_it_says_it_is_not_in_order(here: Here, tmp_path: Path) -> None:
    plan = Plan.of(here, [settler(tmp_path, ":")])
    assert plan.text() == "build mark (no mark)\n"
    plan.apply()
    assert Plan.of(here, plan.items).changes == ()


def test_what_is_derived_is_built_again_when_something_before_it_changed(here: Here, tmp_path: Path) -> None:
    items = [file(str(tmp_path / "source"), "1\n"), settler(tmp_path, f"echo run >>{tmp_path}/log")]
    here.apply(*items)
    here.apply(*items)
    here.apply(file(str(tmp_path / "source"), "2\n"), items[1])
    assert (tmp_path / "log").read_text() == "run\nrun\n"


def test_a_program_that_is_not_there_yet_is_not_in_order(here: Here, tmp_path: Path) -> None:
    item = derived("tables", str(tmp_path / "not-yet"))
    assert Plan.of(here, [item]).text() == "build tables\n"
    with pytest.raises(HostError, match=r"derived tables: .*/not-yet cannot be started: No such file"):
        here.apply(item)


def test_a_program_that_cannot_even_check_is_not_in_order(here: Here, tmp_path: Path) -> None:
    broken = program(tmp_path / "broken", "echo no such table >&2; exit 3")
    assert Plan.of(here, [derived("tables", broken)]).text() == "build tables (no such table)\n"


def test_what_a_failing_program_said_last_is_told_with_what_was_made_before_it(here: Here, tmp_path: Path) -> None:
    failing = program(tmp_path / "failing", "seq 100000 >&2; echo disk full >&2; exit 4")
    with pytest.raises(HostError, match=r"(?s)failing ended 4: .*disk full\n\(made before it: 1 of 2") as caught:
        here.apply(file(str(tmp_path / "x"), "1\n"), derived("tables", failing))
    assert len(str(caught.value)) < 2000


def test_a_program_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    slow = program(tmp_path / "slow", f"sleep {HANGS} & echo $! > {begun}; sleep {HANGS}")
    with pytest.raises(Failed, match="slow did not end within 1 s and was killed"):
        run_command(slow, seconds=1)
    wait_until(lambda: not begun.exists() or not is_running(int(begun.read_text())))


def test_a_program_is_given_its_input_and_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere")
    assert run_command("/bin/cat", stdin=b"a\n") == (0, "a\n", "")
    assert run_command("/bin/sh", "-c", "echo $LD_PRELOAD$LC_ALL >&2; exit 7") == (7, "", "C\n")
    assert run_command("/bin/sh", "-c", "kill -TERM $$").code == -15


def test_a_program_left_behind_holds_neither_the_lock_nor_the_line(here: Here, tmp_path: Path) -> None:
    here.apply(settler(tmp_path, f"sleep {HANGS} & echo $! > {tmp_path}/left"))
    here.apply(file(str(tmp_path / "b"), "1\n"))
    left = int((tmp_path / "left").read_text())
    assert is_running(left)
    os.kill(left, signal.SIGKILL)


# ---- modules sent with it


def kinds(make: str, read: str = "return [None for _ in asked]") -> str:
    return f"""
        from __future__ import annotations
        import os, sys
        from remote.main import Failed, Kind, ProofFailed
        from remote.programs import run_command
        def read(asked):
            {read}
        def make(name, wanted):
            {make}
        KINDS = {{"own": Kind(read, make)}}
    """


OWN = Item("own", "x", {"key": "value"})


def test_a_module_sent_with_the_program_brings_kinds_and_may_import_those_before_it(
    start: Start, tmp_path: Path
) -> None:
    first = f"def write(text): open({str(tmp_path / 'made')!r}, 'w').write(text)"
    make = "from first import write; write(wanted['key'])"
    host = start({"first": first, "second": kinds(make, "return [one.wanted and dict(one.wanted) for one in asked]")})
    assert Plan.of(host, [OWN]).changes == ()
    host = start({"first": first, "second": kinds(make)})
    host.make([Change(OWN, None)])
    assert (tmp_path / "made").read_text() == "value"


def test_only_modules_that_a_question_needs_are_sent_and_others_when_they_are_needed(
    here: Here, tmp_path: Path
) -> None:
    item = file(str(tmp_path / "x"), "1\n")
    assert here.read([item]) == [None]
    assert b'"remote.files"' in here.line.sent
    assert b'"remote.postfix.' not in here.line.sent
    first = len(here.line.sent)
    assert here.read([Item("queue", str(tmp_path), {"domains": []}), item]) == [None, None]
    assert b'"remote.postfix.queue"' in here.line.sent[first:]
    assert b'"remote.files"' not in here.line.sent[first:]
    second = len(here.line.sent)
    here.apply(item)
    assert len(here.line.sent) - second < 1000


MODULES = [path.relative_to(REPO).with_suffix("").as_posix().replace("/", ".") for path in sent_modules()]
KINDS = {kind for name in MODULES for kind in getattr(import_module(name), "KINDS", {})}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_comes_with_all_that_its_modules_import(here: Here, kind: str) -> None:
    with pytest.raises(HostError, match="no module that was sent has a kind 'nobody'"):
        here.read([Item("nobody", "x", None), Item(kind, "x", None)])


def test_a_proof_that_fails_there_is_an_error_of_its_own(start: Start) -> None:
    with pytest.raises(ProofFailed, match="own x: bob@ now gets 250"):
        start({"m": kinds("raise ProofFailed('bob@ now gets 250')")}).apply(OWN)


def test_what_fails_there_is_told_as_it_was_said(start: Start) -> None:
    with pytest.raises(HostError, match="own x: no room"):
        start({"m": kinds("raise Failed('no room')")}).apply(OWN)
    with pytest.raises(HostError, match=r"own: .*/nowhere"):
        start({"m": kinds("pass", "open('/nowhere')")}).read([OWN])


def test_a_fault_of_a_program_there_reaches_the_operator_with_its_place(start: Start) -> None:
    host = start({"m": kinds("return 1 // 0")})
    with pytest.raises(HostError, match=r"(?s)Traceback.*in make.*ZeroDivisionError"):
        host.apply(OWN)
    assert host.read([OWN]) == [None]


def test_a_kind_nobody_brought_is_named(here: Here) -> None:
    with pytest.raises(HostError, match="no module that was sent has a kind 'own'"):
        here.read([OWN])


def test_attack_programs_there_can_neither_answer_for_the_program_nor_hear_the_questions(start: Start) -> None:
    host = start({"m": kinds("os.system('cat; echo; echo {} ; echo garbage >&2'); print('{}')")})
    host.make([Change(OWN, None)])
    assert host.read([OWN]) == [None]


# ---- the line


def test_wanted_files_do_not_travel_when_a_plan_is_made(here: Here, tmp_path: Path) -> None:
    items = [file(str(tmp_path / "x"), "x" * 1_000_000), tree(str(tmp_path / "t"), {"x": "x" * 1_000_000})]
    here.read([])
    before = len(here.line.sent)
    here.apply(*items)
    sent_by_applying = len(here.line.sent) - before
    Plan.of(here, items)
    assert len(here.line.sent) - before - sent_by_applying < 1000


def test_a_question_that_was_cut_off_is_not_acted_on(here: Here, tmp_path: Path) -> None:
    """The connection may break in the middle of one, and half of a list of changes must not be made."""
    here.read([])
    here.session._line = Cut(here.line)
    with pytest.raises(HostError):
        here.make([Change(file(str(tmp_path / "x"), "1\n"), None)])
    assert not (tmp_path / "x").exists()


class Cut:
    """A line that breaks before the newline arrives."""

    def __init__(self, line: Process) -> None:
        self.line = line

    def send(self, data: bytes) -> None:
        self.line.send(data[:-1])
        self.line.child.stdin.close()

    def receive(self, seconds: float) -> bytes:
        return self.line.receive(seconds)

    def end(self) -> CommandEnd:
        return CommandEnd(None, "")


def test_a_dead_line_is_told_as_what_it_is_and_not_used_again(here: Here, tmp_path: Path) -> None:
    here.read([])
    here.line.child.kill()
    here.line.child.wait()
    with pytest.raises(HostError, match=r"the connection broke off; run it again: the next run finishes"):
        here.read([file(str(tmp_path / "x"), None)])
    with pytest.raises(HostError, match="given up after the failure before"):
        here.read([file(str(tmp_path / "x"), None)])


def test_what_was_begun_is_finished_although_nobody_listens_any_more(here: Here, tmp_path: Path) -> None:
    changes = [settler(tmp_path, "sleep 0.3"), file(str(tmp_path / "x"), "1\n")]
    here.read(changes)
    here.session._line = Deaf(here.line)
    with pytest.raises(HostError):
        here.make([Change(item, None) for item in changes])
    here.line.child.wait(HANGS)
    assert (tmp_path / "x").read_text() == "1\n"


class Deaf(Cut):
    """A line that breaks once the question has arrived."""

    def send(self, data: bytes) -> None:
        self.line.send(data)
        self.line.child.stdin.close()
        self.line.child.stdout.close()

    def receive(self, seconds: float) -> bytes:
        return b""


# ---- killed at any point

KILLER = """
    from __future__ import annotations
    import os, signal
    from remote.main import Kind

    left = None

    def counted(name):
        real = getattr(os, name)
        def step(*args, **kwargs):
            global left
            if left is not None:
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
            return real(*args, **kwargs)
        setattr(os, name, step)

    for name in ("open", "mkdir", "symlink", "rename", "unlink", "rmdir", "fsync", "fchown", "fchmod", "listdir"):
        counted(name)

    def arm(_name, wanted):
        global left
        left = wanted["steps"]

    KINDS = {"killer": Kind(lambda asked: [None for _ in asked], arm)}
"""
OLD = {"x": "old\n", "s/y": "old\n"}
NEW = {"x": "new\n", "s/z": "new\n"}


def test_killed_between_any_two_steps_a_name_has_the_old_or_the_new_and_the_next_run_finishes(
    start: Start, tmp_path: Path
) -> None:
    killed = 0
    for steps in range(1000):
        folder = tmp_path / str(steps)
        before = [*states(folder, OLD, "old\n"), tree(str(folder / "gone"), OLD)]
        wanted = [*states(folder, NEW, "new\n"), tree(str(folder / "gone"), None)]
        for item in before:
            files.KINDS[item.kind].make(item.name, dict(item.wanted or {}))
        changes = [Change(item, was.wanted) for item, was in zip(wanted, before, strict=True)]
        host = start({"killer": KILLER})
        try:
            host.make([Change(Item("killer", "", {"steps": steps}), None), *changes])
        except HostError:
            killed += 1
        else:
            break
        assert files.read_tree(str(folder / "acme")) in ({"files": OLD}, {"files": NEW})
        assert files.read_tree(str(folder / "gone")) in ({"files": OLD}, None)
        assert (folder / "cron").read_text() in ("old\n", "new\n")
        start().apply(*wanted)
        assert (folder / "acme/s/z").read_text() == (folder / "cron").read_text() == "new\n"
        files.tidy([str(folder / "acme")])
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["acme", "cron", str((folder / "acme").readlink())]
        )
    assert killed > 30


def states(folder: Path, below: dict[str, str], content: str) -> list[Item]:
    return [tree(str(folder / "acme"), below), file(str(folder / "cron"), content)]
