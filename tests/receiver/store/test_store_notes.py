"""What is noted for a person stays, also when the one who shortens the file is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from receiver.store.notes import Note, add_note, read_notes

LONG = "x" * 500


@pytest.fixture
def run(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


def add(run: int, numbers: range, text: str = LONG) -> None:
    for number in numbers:
        add_note(run, Note(number, "acme", text))


def kept(run: int) -> list[int]:
    return [note.when for note in read_notes(run, 0)]


def test_the_newest_notes_stay_when_there_are_many(run: int) -> None:
    add(run, range(300))
    assert kept(run) == list(range(300 - len(kept(run)), 300))
    assert 100 < len(kept(run)) < 200


@pytest.mark.parametrize("length", [0, 250, 500, 600])
def test_whoever_is_killed_while_it_shortens_them_loses_none_of_the_newest(
    run: int, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """The newest are written over the oldest: of long ones over some of themselves, of short ones over others."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> NoReturn:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", kill)
        with pytest.raises(Killed):
            add(run, range(5000), "x" * length)
    newest = kept(run)[:100]
    assert newest == list(range(newest[0], newest[0] + 100))
    assert max(kept(run)) == newest[-1]
    add(run, range(5000, 5001))
    assert kept(run)[-101:] == [*newest, 5000]


@pytest.mark.parametrize("line", [b'[7, "acme", "cut', b'"abc"\n', b'["x", "a", "b"]\n', b"[" * 9_000, b"\xff\n"])
def test_a_damaged_line_takes_no_other_note_with_it(run: int, line: bytes) -> None:
    """A full disk may cut one, and whoever has the account may write any."""
    add(run, range(1))
    os.write(os.open("store-notes", os.O_WRONLY | os.O_APPEND, dir_fd=run), line)
    add(run, range(1, 200))
    assert kept(run)[-1] == 199
    assert kept(run)[-100:] == list(range(100, 200))
