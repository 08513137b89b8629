"""What adopting says it has done, and what comes next."""

from __future__ import annotations

import pytest

from commands import adopt
from console.errors import Refused
from deploy.plan import HostError
from fleet.relay_answers import RelayAnswer

NOTHING = RelayAnswer(2, {"line": "refused: its domains have accepted lists already: there is nothing to adopt"})
HELD = RelayAnswer(3, {"line": "held"})


def test_a_second_time_nothing_is_said_of_a_list_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    adopt._print_next_step("acme", {"mx1": NOTHING, "mx2": Refused("no"), "mx3": HostError("not reached")})
    assert capsys.readouterr().out == ""


def test_where_a_list_is_held_each_sentence_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    adopt._print_next_step("acme", {"mx1": HELD, "mx2": NOTHING})
    installed, then = capsys.readouterr().out.splitlines()
    assert installed.startswith("acme: adopting puts Postern's account, programs and timer on each relay")
    assert then.startswith("acme: `inv review acme` shows the list")
    assert then.endswith("no answer of a relay changes before `inv provision acme`")
