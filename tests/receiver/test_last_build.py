"""Builds that wait for one another: one that began after they were asked for has done their work."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.paths import Places
from common.release import RELEASE
from lab.waiting import wait_until
from receiver.outcome import Failed
from receiver.system import boot
from receiver.system.account import Owner
from receiver.tables import build, last_build

ME = Owner(os.getuid(), os.getgid())
WAITING = 5


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(str(tmp_path / "etc"), str(tmp_path / "var"))
    Path(found.tables).mkdir(parents=True)
    return found


def test_those_that_waited_for_one_that_began_later_have_nothing_to_do(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, built, now = list[float](), list[str](), boot.seconds_since

    def see_now() -> float:
        asked.append(now())
        return asked[-1]

    def make(*_: object) -> list[str]:
        built.append("once more")
        return ["acme: its list is damaged"]

    monkeypatch.setattr(boot, "seconds_since", see_now)
    monkeypatch.setattr(build, "_build", make)
    with Path(places.tables, ".lock").open("w") as lock, ThreadPoolExecutor(WAITING) as side:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = [side.submit(build.build, places, ME) for _ in range(WAITING)]
        wait_until(lambda: len(asked) == WAITING)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert [one.result() for one in waiting] == [["acme: its list is damaged"]] * WAITING
    assert built == ["once more"]
    build.build(places, ME)
    assert len(built) == 2, "what is asked for after a build began may be of something that it has not read"


def test_a_build_that_failed_does_nobody_s_work(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise Failed("no room")

    monkeypatch.setattr(build, "_build", fail)
    with pytest.raises(Failed):
        build.build(places, ME)
    assert Path(places.tables, ".lock").read_bytes() == b""


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    yield descriptor
    os.close(descriptor)


def test_the_last_build_counts_where_it_began_later(lock: int) -> None:
    assert last_build.lines_since(lock, 0.0) is None
    last_build.note(lock, 7.0, ["acme: a long line of some customer"])
    last_build.note(lock, 8.0, ["acme: why"])
    assert last_build.lines_since(lock, 7.5) == ["acme: why"]
    assert last_build.lines_since(lock, 8.0) is None


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"by": ["another", RELEASE], "began": 9e9, "lines": []}).encode(),
        json.dumps({"by": [boot.read_id(), "1.0.0"], "began": 9e9, "lines": []}).encode(),
        b'{"by": "',
        b"[]",
        b"\xff\x00",
    ],
    ids=["of another boot", "of another release", "cut", "another shape", "no text"],
)
def test_what_stands_there_from_another_boot_or_release_or_is_damaged_says_nothing(lock: int, content: bytes) -> None:
    os.pwrite(lock, content, 0)
    assert last_build.lines_since(lock, 0.0) is None


def test_where_the_boot_cannot_be_read_each_builds_for_itself(lock: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_ID", "/not/there")
    last_build.note(lock, 7.0, [])
    assert last_build.lines_since(lock, 0.0) is None
