"""What is said of a list that a relay takes over from its siblings, or does not."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from common import exit_codes
from deploy.plan import Done, HostError
from deploy.relay_host import RelayHost
from fleet.copy_lists import _hand_over


class Host:
    """A relay's `postern`, which ends each call alike."""

    def __init__(self, code: int, line: str) -> None:
        self.name, self._code, self._line = "mx1", code, line

    def run(self, *_: str, **__: Any) -> Done:
        return Done(self._code, json.dumps({"line": self._line}), "")


def hand_over(code: int, line: str) -> tuple[int, str]:
    sibling, to = Host(0, "its list"), Host(code, line)
    return _hand_over("acme", [cast("RelayHost", sibling)], cast("RelayHost", to))


def test_an_upload_that_came_before_stays() -> None:
    line = "acme: there is a list here already; only an empty spool takes one over"
    assert hand_over(exit_codes.REFUSED, line) == (exit_codes.DONE, line.removeprefix("acme: "))


def test_siblings_that_differ_are_held() -> None:
    assert hand_over(exit_codes.HELD, "acme: held")[0] == exit_codes.HELD


@pytest.mark.parametrize("code", [exit_codes.REFUSED, exit_codes.FAILED])
def test_a_list_that_cannot_be_used_is_not_taken_over(code: int) -> None:
    with pytest.raises(HostError, match="cannot be taken over: acme: what was handed over cannot be used"):
        hand_over(code, "acme: what was handed over cannot be used")
