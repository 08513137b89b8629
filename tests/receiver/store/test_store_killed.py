"""An upload relay that is killed between any two steps: nobody leaves unjudged, and the next upload ends as meant.

Named steps in the usual run; in the long one, before each thing that Python does to a file or a connection.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from receiver.upload.pipeline import recover
from tests.support import postgres
from tests.support.chaos import STEPS
from tests.support.postgres import Postgres, join
from tests.support.small_relay import SmallRelay, people
from tests.support.store_relays import run_follow, upload

pytestmark = [
    pytest.mark.skipif(postgres.missing() is not None, reason=str(postgres.missing())),
    pytest.mark.slow,
]
BEFORE, NEW = set(people(100)), "new@acme.example"
AFTER = {*people(99), NEW}
NOW = 2_000_000_000
CHUNK = 40  # kills in one test
EVENTS = ("open", "os.", "fcntl.", "socket.", "subprocess.")


@pytest.mark.parametrize("at", STEPS[:-1])
def test_killed_at_a_step_nobody_leaves_unjudged_and_the_next_upload_ends_as_meant(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, at: str
) -> None:
    def die(step: str) -> None:
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: upload(one, sorted(AFTER), die).code) is None, "it was not killed"
    look_and_go_on(one, follower, empty)


@pytest.mark.parametrize("is_dead", [False, True])
def test_killed_while_it_falls_back_on_itself(
    one: SmallRelay, follower: SmallRelay, empty: Postgres, is_dead: bool
) -> None:
    join(one, empty, is_dead=True)

    def die(step: str) -> None:
        if step == ("own-add" if is_dead else "published"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: upload(one, sorted(AFTER), die).code) is None, "it was not killed"
    assert one.in_force() in (BEFORE, BEFORE | AFTER)
    join(one, empty)
    look_and_go_on(one, follower, empty)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(10))
def test_killed_before_each_thing_it_does(
    tmp_path: Path, one: SmallRelay, follower: SmallRelay, empty: Postgres, chunk: int
) -> None:
    backup = empty.back_up()
    for each in (one, follower):
        shutil.copytree(each.var, tmp_path / f"{each.etc.parent.name}.kept")
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        empty.restore(backup)
        for each in (one, follower):
            shutil.rmtree(each.var)
            shutil.copytree(tmp_path / f"{each.etc.parent.name}.kept", each.var)
        code = in_child(partial(die_at_event, number, lambda: upload(one, sorted(AFTER)).code))
        look_and_go_on(one, follower, empty)
        if code is not None:
            assert number > CHUNK, f"an upload does more than {number} things"
            return
    assert chunk < 9, "an upload does more than it is killed at here"


def die_at_event(number: int, run: Callable[[], int]) -> int:
    """Run it, killed before the event of that number."""
    left = number

    def count(event: str, _: object) -> None:
        nonlocal left
        if event.startswith(EVENTS) and event != "os.kill":  # which is our own
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    return run()


def in_child(run: Callable[[], int]) -> int | None:
    """Return what it returned in a process of its own; None where that was killed."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = run()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code != 99, "it failed in a way of its own"
    return None if code == -signal.SIGKILL else code


def look_and_go_on(one: SmallRelay, follower: SmallRelay, empty: Postgres) -> None:
    """Check that both have a judged list or more, and that the next upload ends as meant."""
    empty.settle("writer")
    with one.spool() as spool:
        recover(spool, one.tables)
    run_follow(follower, NOW + 1_000)
    for each in (one, follower):
        assert each.in_force() in (BEFORE, AFTER, BEFORE | AFTER)
    assert upload(one, sorted(AFTER)).code == 0
    assert not run_follow(follower, NOW + 2_000).wrong
    assert one.in_force() == follower.in_force() == AFTER
