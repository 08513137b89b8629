"""The spool after a crash, with a full disk or a foreign file; history, reference, and the held list."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from common.paths import Places
from receiver.actions.resume import resume_uploads
from receiver.actions.rollback import ListChoice, roll_back
from receiver.lists import history, list_file, publishing, removed_addresses, upload_log
from receiver.lists.accepted import Accepted
from receiver.lists.spool import Spool
from receiver.outcome import Busy, Failed, Origin, Outcome, Refused
from receiver.system import locks
from receiver.timer import run_timer
from receiver.upload.pipeline import recover
from tests.support.small_relay import SmallRelay, people

pytestmark = pytest.mark.slow  # each test runs uploads, accepts and the timer, as processes do
DAY = 86_400
OPERATOR = Origin(1_790_000_000, client="192.0.2.1", by="olga")


@pytest.fixture
def relay() -> Iterator[SmallRelay]:
    """Use a file system in memory where there is one: the crashes alone need a hundred relays."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield SmallRelay(Path(folder) / "relay")


def accept(relay: SmallRelay, option: str, size: int) -> Outcome:
    return relay.accept(option, size)


def accepted(relay: SmallRelay, recipients: list[str], when: float | None = None) -> SmallRelay:
    """A relay whose first list has been accepted."""
    relay.offer(recipients, when)
    assert accept(relay, "first", len(recipients)).code == 0
    return relay


# ---- crashes


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes cost most of the time here, and a kill, unlike a power cut, loses nothing that was not flushed."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Whole(NamedTuple):
    """The parts of a spool that must be right after a crash and the run that follows it."""

    in_force: frozenset[str]
    accepted: frozenset[str]
    held: str
    pinned: bool
    history: tuple[str, ...]
    in_tables: frozenset[str]
    unfinished: bool


def whole(relay: SmallRelay) -> Whole:
    with relay.spool() as spool:
        held, in_force = spool.read_held(), spool.read_in_force()
        return Whole(
            in_force.recipients,
            frozenset(spool.read_accepted().domains),
            held.list if held else "",
            spool.read_freeze() is not None,
            tuple(entry.kept.list for entry in history.read_entries(spool.folder)),
            frozenset(relay.in_tables()),
            publishing.read_unfinished(spool) is not None,
        )


def killed_at(step: int, act: Callable[[], Any]) -> bool:
    """Run it in a child that is killed before it opens, renames, links, removes or flushes more than so many files."""
    child = os.fork()
    if child == 0:
        _kill_at(step)
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _kill_at(step: int) -> None:
    left = iter(range(step))

    def count(*_: object) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writing or event in ("os.rename", "os.link", "os.remove", "os.mkdir"):
            count()

    os.fsync = count  # type: ignore[assignment]  # the one step that Python does not announce
    sys.addaudithook(hook)


def crashes(relay: SmallRelay, act: Callable[[SmallRelay], Any]) -> Iterator[SmallRelay]:
    """Yield the relay as a run leaves it that is killed at its first step, its second, and so on to its last."""
    start = relay.etc.parent
    for step in range(500):
        copy = SmallRelay.copy(relay, start.with_name(f"killed-{step}"))
        if not killed_at(step, lambda: act(copy)):  # noqa: B023 - it is done before the loop goes on
            assert step > 10
            return
        yield copy
    raise AssertionError("it does not end")


def _add_and_remove(relay: SmallRelay) -> None:
    relay.offer([*people(40)[1:], "new@acme.example"])


def _shrink(relay: SmallRelay) -> None:
    relay.offer([*people(20), "new@acme.example"])


def _accept(relay: SmallRelay) -> None:
    try:
        accept(relay, "removing", 20)
    except Refused:  # the killed run had begun, so that the next one finished it
        assert relay.in_force() == set(people(20))


def _rollback(relay: SmallRelay) -> None:
    with relay.spool() as spool:
        first = history.read_entries(spool.folder)[-1].kept.list
    relay.roll_back(ListChoice(list=first), OPERATOR)


def _resume(relay: SmallRelay) -> None:
    try:
        with relay.spool() as spool:
            recover(spool, relay.tables)
            resume_uploads(spool, OPERATOR, relay.tables)
    except Refused:
        assert relay.in_force() == {*people(40)[1:], "new@acme.example"}


def _drop_domain(relay: SmallRelay) -> None:
    relay.offer(people(40))


def _prepared(relay: SmallRelay, act: Callable[[SmallRelay], None]) -> None:
    accepted(relay, people(40))
    if act is _accept:
        relay.offer(people(20))
    if act is _rollback:
        _add_and_remove(relay)
    if act is _resume:
        _add_and_remove(relay)
        _rollback(relay)
        _add_and_remove(relay)
    if act is _drop_domain:
        relay.provision(domains=("acme.example", "sold.example"))
        relay.offer([*people(40), *people(30, "sold.example")])
        assert accept(relay, "first", 30).code == 0
        relay.provision(domains=("acme.example",))


STORIES = [_add_and_remove, _shrink, _accept, _rollback, _resume, _drop_domain]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("act", STORIES)
def test_a_crash_at_any_step_leaves_the_old_list_or_the_new_one_and_the_next_run_finishes(
    relay: SmallRelay, act: Callable[[SmallRelay], None]
) -> None:
    """The next run is the same again, or the timer, which restores the old state or completes the new one."""
    _prepared(relay, act)
    old, smooth = whole(relay), SmallRelay.copy(relay, relay.etc.parent.with_name("smooth"))
    act(smooth)
    new, seen = whole(smooth), set()
    assert (new.in_tables, new.unfinished) == (new.in_force, False)
    for crashed in crashes(relay, act):
        now = whole(crashed)
        assert now.in_force in (old.in_force, new.in_force)
        assert now.accepted in (old.accepted, new.accepted)
        if now.accepted > new.accepted:
            assert now.in_force == old.in_force, "a domain must be open before its addresses go"
        if now.unfinished:  # else there is nothing for the timer to do
            ticked = SmallRelay.copy(crashed, crashed.etc.parent.with_name(f"{crashed.etc.parent.name}-ticked"))
            run_timer(ticked.places, ticked.tables, int(time.time()))
            assert _but_waiting(whole(ticked)) == _but_waiting(new)
        act(crashed)
        assert whole(crashed) == new
        seen.add(now.in_force)
    assert seen == {old.in_force, new.in_force}


def _but_waiting(state: Whole) -> Whole:
    """Holding and freezing are steps of their own: the repeated upload, or `resume`, does them again."""
    return state._replace(held="", pinned=False)


# ---- full disks, strangers' files


def test_a_full_disk_while_publishing_leaves_the_old_list_and_nothing_half_done(relay: SmallRelay) -> None:
    """The limit on a file's size fails writes exactly as a full disk does, at every size up to the list's own."""
    accepted(relay, people(40))
    old, size = whole(relay), (relay.folder / "recipients").stat().st_size
    for room in (0, 1, size // 2, size - 1):
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            try:
                relay.offer([*people(40), "new@acme.example"])
            except OSError:
                os._exit(28)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 28
        assert whole(relay) == old
        assert not list(relay.folder.glob("*.next"))
    relay.offer([*people(40), "new@acme.example"])
    assert "new@acme.example" in relay.in_force()


@pytest.mark.usefixtures("quick")
def test_a_file_that_cannot_be_opened_at_the_moment_is_not_taken_for_a_lost_one(relay: SmallRelay) -> None:
    """The upload fails, and the next one goes on; else one moment without descriptors opens the domain for good."""
    accepted(relay, people(40))
    _add_and_remove(relay)
    old, start, opened = whole(relay), relay.etc.parent, 0
    for step in range(500):
        copy = SmallRelay.copy(relay, start.with_name(f"failed-{step}"))
        child = os.fork()
        if child == 0:
            _fail_to_open(step, copy.var / "failed", copy.folder)
            try:
                copy.offer([*people(40)[2:], "new@acme.example"])
            except OSError:
                os._exit(24)
            finally:
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not (copy.var / "failed").exists():
            break
        opened += 1
        now = whole(copy)
        assert now.accepted == old.accepted
        assert set(old.history) <= set(now.history)
        assert not now.held
        assert now.in_force == old.in_force or code == 0 or now.unfinished
    assert opened > 10


def _fail_to_open(step: int, mark: Path, folder: Path) -> None:
    """Have one file of the spool not be opened for reading, as where all descriptors of the machine are in use."""
    left, names = iter(range(step)), {path.name for path in folder.rglob("*")}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        reads = event == "open" and isinstance(arguments[2], int) and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if reads and arguments[0] in names and next(left, None) is None and not mark.exists():
            mark.mkdir()
            raise OSError(errno.ENFILE, "Too many open files in system")

    sys.addaudithook(hook)


def test_an_attack_by_a_link_in_place_of_the_list_reads_nothing_behind_it(relay: SmallRelay, tmp_path: Path) -> None:
    accepted(relay, people(10))
    stranger = tmp_path / "secret"
    stranger.write_text("root@acme.example\n")
    (relay.folder / "recipients").unlink()
    (relay.folder / "recipients").symlink_to(stranger)
    with relay.spool() as spool:
        assert spool.read_in_force().recipients == frozenset()
        assert spool.read_in_force().accepted == Accepted(), "and its domains count as open"
    assert relay.offer(people(10)).did == "held"
    assert stranger.read_text() == "root@acme.example\n"
    assert not (relay.folder / "recipients").is_symlink()


def test_an_attack_by_a_pipe_in_place_of_a_file_makes_nobody_wait(relay: SmallRelay) -> None:
    for name in ("recipients", "accepted.json", "last-run.json", "keys.json"):
        os.mkfifo(relay.folder / name)
    with relay.spool() as spool:
        assert spool.read_in_force().recipients == frozenset()
        assert spool.read_last_run() is None
        spool.note_key("k1", 1)
        assert spool.read_keys() == {"k1": {"first": 1, "last": 1}}


def test_an_attack_by_a_link_in_place_of_a_customers_folder_is_refused(relay: SmallRelay, tmp_path: Path) -> None:
    relay.folder.rmdir()
    relay.folder.symlink_to(tmp_path)
    with pytest.raises(Failed):
        relay.spool()


def test_a_list_that_is_lost_opens_its_domains_and_the_next_one_is_a_first_list(relay: SmallRelay) -> None:
    """Otherwise the guard would have nothing to compare with, and let any list pass."""
    accepted(relay, people(40))
    (relay.folder / "recipients").write_bytes(b"\xff\xfe not a list")
    outcome = relay.offer(people(3))
    assert outcome.reasons == ("first list of acme.example (3)",)
    assert relay.accepted() == {}


@pytest.mark.parametrize("name", ["accepted.json", "last-run.json", "keys.json", "held/why.json", "begun.json"])
@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"postern": 99}', '{"postern": 1}'])
def test_a_damaged_file_is_the_safe_case_and_the_next_run_writes_it_anew(
    relay: SmallRelay, name: str, damage: str
) -> None:
    accepted(relay, people(40))
    relay.offer(people(20))
    (relay.folder / name).write_text(damage)
    outcome = relay.offer(people(20))
    assert outcome.did == "held"
    assert relay.in_force() == set(people(40))


def test_a_damaged_pin_still_pins(relay: SmallRelay) -> None:
    accepted(relay, people(10))
    (relay.folder / "pinned.json").write_text("{")
    assert relay.offer([*people(10), "new@acme.example"]).did == "pinned"
    assert relay.in_force() == set(people(10))


# ---- history


def test_history_keeps_the_last_ten_lists_with_where_each_came_from(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    for count in range(101, 115):
        relay.offer(people(count))
    with relay.spool() as spool:
        entries = history.read_entries(spool.folder)
        assert [entry.kept.total for entry in entries] == list(range(114, 104, -1))
        newest = entries[0].kept
        assert (newest.added, newest.removed) == (1, 0)
        assert (newest.origin.key, newest.origin.client) == ("k1", "198.51.100.7")
        assert list_file.decode_recipients(history.read_list(spool.folder, entries[9].number)) == set(people(105))
    assert len(list((relay.folder / "history").iterdir())) == history.KEEPS


def test_history_says_who_accepted_a_list_though_it_was_in_force_already(relay: SmallRelay) -> None:
    accepted(relay, people(10))
    with relay.spool() as spool:
        entry = history.read_entries(spool.folder)[0].kept
    assert (entry.accepted_by, entry.total, entry.domains) == ("olga", 10, ("acme.example",))
    assert len(list((relay.folder / "history").iterdir())) == 1


def test_a_kept_list_is_gzip_that_anybody_can_read(relay: SmallRelay) -> None:
    import gzip

    accepted(relay, people(3))
    first, *rest = gzip.decompress((relay.folder / "history" / "00000001.gz").read_bytes()).decode().splitlines()
    assert json.loads(first)["total"] == 3
    assert rest == people(3)


def test_a_kept_list_that_is_damaged_is_passed_over_and_not_rolled_back_to(relay: SmallRelay) -> None:
    accepted(relay, people(10))
    relay.offer(people(11))
    path = relay.folder / "history" / "00000001.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with relay.spool() as spool:
        with pytest.raises(Failed, match="damaged"):
            roll_back(spool, ListChoice(back=1), 0, OPERATOR, relay.tables)
        path.write_bytes(b"nothing")
        assert len(history.read_entries(spool.folder)) == 1


# ---- the reference


def test_small_cuts_one_after_the_other_are_held_as_one_big_one(relay: SmallRelay) -> None:
    accepted(relay, people(200))
    outcomes = [relay.offer(people(200 - 2 * cut)) for cut in range(1, 21)]
    assert [outcome.did for outcome in outcomes] == ["published"] * 10 + ["held"] * 10
    assert outcomes[-1].reasons == ("20.0 % would go (40 of 200), limit 10 %",)
    assert relay.in_force() == set(people(180))


def gone(relay: SmallRelay, now: float) -> set[str]:
    with relay.spool() as spool:
        return set(removed_addresses.find_gone(spool.folder, int(now)))


def age_past(relay: SmallRelay, days: int) -> None:
    """Make all that is known of removals and uploads so much older."""
    file = relay.folder / "gone"
    rows = [line.split(" ", 1) for line in file.read_text().splitlines()]
    file.write_text("".join(f"{int(when) - days * DAY} {rest}\n" for when, rest in rows))
    log = [json.loads(line) for line in (relay.folder / "log").read_text().splitlines()]
    aged = [{**entry, "when": entry["when"] - days * DAY} for entry in log]
    (relay.folder / "log").write_text("".join(json.dumps(entry) + "\n" for entry in aged))


def test_swapping_a_tenth_at_each_upload_is_held_when_it_adds_up(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    newcomers = [f"new{number}@acme.example" for number in range(16)]
    assert relay.offer([*people(100)[6:], *newcomers[:6]]).did == "published"
    again = relay.offer([*people(100)[12:], *newcomers[:12]])
    assert again.reasons == ("11.3 % would go (12 of 106), limit 10 %",)


@pytest.mark.parametrize(("days", "did"), [(6, "held"), (8, "published")])
def test_a_removal_counts_for_seven_days(relay: SmallRelay, days: int, did: str) -> None:
    accepted(relay, people(100))
    relay.offer(people(92))
    age_past(relay, days)
    assert relay.offer(people(88)).did == did


def test_an_upload_by_which_nobody_goes_is_told_and_not_held(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    relay.offer(people(92))
    relay.provision(shrink_percent=5.0)
    outcome = relay.offer([*people(92), "new@acme.example"])
    assert (outcome.did, outcome.notes) == ("published", ("earlier uploads removed 8 of 100; this one removes nobody",))


# ---- the past


def test_who_leaves_is_gone_by_an_entry_of_the_log_and_who_returns_is_not(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    relay.offer(people(98))
    now = time.time()
    with relay.spool() as spool:
        newest = next(upload_log.read_entries(spool.folder))
        removals = removed_addresses.find_gone(spool.folder, int(now))
        assert history.read_records(spool.folder)[0]["entry"] == newest.entry
    assert set(removals) == set(people(100)[98:])
    assert {(each.entry, each.is_by_person) for each in removals.values()} == {(newest.entry, False)}
    relay.offer(people(99))
    assert gone(relay, now) == {people(100)[99]}
    assert not gone(relay, now + 91 * DAY)


def test_a_removal_that_a_person_accepted_is_marked_so(relay: SmallRelay) -> None:
    accepted(relay, people(40))
    relay.offer(people(20))
    accept(relay, "removing", 20)
    with relay.spool() as spool:
        removals = removed_addresses.find_gone(spool.folder, int(time.time()))
    assert len(removals) == 20
    assert all(each.is_by_person for each in removals.values())


def test_the_log_has_each_upload_and_counts_unchanged_ones_in_one_line(relay: SmallRelay) -> None:
    accepted(relay, people(40))
    for _ in range(3):
        relay.offer(people(40))
    relay.offer(people(10))
    with relay.spool() as spool:
        entries = list(upload_log.read_entries(spool.folder))
    told = [(entry.did, entry.times, entry.accepted_by) for entry in entries]
    assert told == [("held", 1, ""), ("unchanged", 3, ""), ("accepted", 1, "olga"), ("held", 1, "")]
    inputs = entries[0].inputs
    assert inputs
    assert (inputs.leaving, inputs.domains["acme.example"].gone) == (30, 30)


def test_the_log_keeps_its_newest_ten_thousand_lines(relay: SmallRelay) -> None:
    accepted(relay, people(40))
    line = (relay.folder / "log").read_bytes().splitlines(keepends=True)[-1]
    (relay.folder / "log").write_bytes(line * 10_050)
    relay.offer(people(39))
    assert (relay.folder / "log").read_bytes().count(b"\n") == upload_log.LINES
    with relay.spool() as spool:
        assert next(upload_log.read_entries(spool.folder)).removed == 1


@pytest.mark.parametrize("name", ["log", "gone"])
@pytest.mark.parametrize("size", [0, 3 << 30])
def test_a_damaged_or_enormous_past_stops_no_upload(relay: SmallRelay, name: str, size: int) -> None:
    accepted(relay, people(40))
    relay.offer(people(39))
    with (relay.folder / name).open("r+b") as file:
        file.write(b'\xff\x00{"when": [[[')
        file.truncate(max(size, 20))
    assert relay.offer(people(38)).did == "published"
    assert relay.in_force() == set(people(38))
    assert people(39)[38] in gone(relay, time.time())


def test_damaged_lines_are_passed_over_and_the_others_are_read(relay: SmallRelay) -> None:
    accepted(relay, people(40))
    relay.offer(people(38))
    for name in ("log", "gone"):
        with (relay.folder / name).open("ab") as file:
            file.write(b'{"entry": 1}\n[]\n{"inputs": {"domains": 3}}\nx\n9 zz u a@acme.example\n\xff\xfe\n')
    assert gone(relay, time.time()) == set(people(40)[38:])
    with relay.spool() as spool:
        assert len(list(upload_log.read_entries(spool.folder))) == 3


def first_release(relay: SmallRelay) -> None:
    """Write what the first release would have left: history without ids, reference/ and no log."""
    for name in ("log", "gone"):
        (relay.folder / name).unlink()
    (relay.folder / "reference").mkdir(exist_ok=True)
    for path in (relay.folder / "history").iterdir():
        packed = path.read_bytes()
        label = list_file.read_record(packed)._replace(entry="")
        path.write_bytes(list_file.pack_list(label, list_file.read_content(packed)))


def test_what_history_and_reference_of_the_first_release_have_is_kept(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    oldest = min((relay.folder / "history").iterdir()).read_bytes()
    relay.offer(people(96))
    first_release(relay)
    now = int(time.time())
    (relay.folder / "reference" / time.strftime("%Y-%m-%d.gz", time.gmtime(now))).write_bytes(oldest)
    assert gone(relay, now) == set(people(100)[96:])
    with relay.spool() as spool:
        assert [entry.accepted_by for entry in upload_log.read_entries(spool.folder)] == ["", "olga"]
        named = [record["entry"] for record in history.read_records(spool.folder)]
    relay.offer([*people(96), "new@acme.example"])
    assert gone(relay, now) == set(people(100)[96:])
    assert not list((relay.folder / "reference").iterdir())
    with relay.spool() as spool:
        assert [record["entry"] for record in history.read_records(spool.folder)][1:] == named
        assert [entry.entry for entry in upload_log.read_entries(spool.folder)][1:] == named


def test_after_an_accept_no_list_before_it_is_a_reference(relay: SmallRelay) -> None:
    accepted(relay, people(100))
    relay.offer(people(95))
    relay.offer(people(80))
    assert accept(relay, "removing", 15).did == "published"
    assert relay.offer(people(75)).did == "published"


# ---- locks


def test_a_second_run_for_the_same_customer_is_told_to_come_again(
    relay: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_STEP", 0.01)
    with relay.spool() as first, relay.spool() as other, first.hold_lock(), pytest.raises(Busy, match="try again"):
        other.hold_lock(0.05).__enter__()


def test_two_exports_are_parsed_at_once_and_the_third_waits(relay: SmallRelay) -> None:
    places = relay.places
    for name in ("bolt", "corp"):
        Path(places.spool(name)).mkdir()
    with (
        locks.hold_parsing_slot(places, "bolt", 0),
        locks.hold_parsing_slot(places, "corp", 0),
        pytest.raises(Busy),
        locks.hold_parsing_slot(places, "acme", 0),
    ):
        pass
    with locks.hold_parsing_slot(places, "acme", 0):
        pass


def test_attack_a_customer_never_has_both_places_to_parse_in(relay: SmallRelay) -> None:
    Path(relay.places.spool("bolt")).mkdir()
    with locks.hold_parsing_slot(relay.places, "acme", 0):
        with pytest.raises(Busy), locks.hold_parsing_slot(relay.places, "acme", 0):
            pass
        with locks.hold_parsing_slot(relay.places, "bolt", 0):
            pass


def test_a_spool_that_was_never_made_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="rebuild-relay-recips makes it"):
        Spool(Places(str(tmp_path), str(tmp_path)), "acme")


def test_only_so_many_keys_are_remembered(relay: SmallRelay) -> None:
    with relay.spool() as spool:
        for number in range(1, 30):
            spool.note_key(f"k{number}", number)
        spool.note_key("k15", 100)
        assert len(spool.read_keys()) == 20
        assert spool.read_keys()["k15"] == {"first": 15, "last": 100}
