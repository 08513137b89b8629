"""What a person is asked on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from console import terminal
from lab.operators import REPO

ASK = "from console import terminal; print(terminal.ask_yes('retire [b]acme[/b]?'))"


@pytest.mark.parametrize(("typed", "answer"), [(b"y\n", "True"), (b"\n", "False"), (b"no\n", "False")])
def test_a_question_shows_its_answers_and_takes_no_name_for_markup(typed: bytes, answer: str) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed)
        argv = [sys.executable, "-c", ASK]
        done = subprocess.run(argv, cwd=REPO, stdin=theirs, capture_output=True, text=True)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.stdout.strip(), done.stderr.splitlines()[0]) == (answer, "retire [b]acme[/b]? [y/N] ")


def test_of_an_answer_the_names_stand_out_and_not_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=screen, force_terminal=True, color_system="standard"))
    terminal.print_answer(["mx1", "mx2"], "nothing is held\nsince Monday")
    assert screen.getvalue() == "\x1b[1mmx1, mx2: \x1b[0mnothing is held\n\x1b[1m  \x1b[0msince Monday\n"


def test_attack_half_a_surrogate_of_a_relay_ends_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    said = {"by": "\ud800", "\udfff": ["an\u0308n"]}
    terminal.print_document(said)
    terminal.say("by \ud800")
    document, _, text = capsys.readouterr().out.partition("\nby")
    assert json.loads(document) == said
    assert text == " \\ud800\n"
