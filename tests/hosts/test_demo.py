"""`inv demo`: what a newcomer sees first must end well."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.operators import Operator

pytestmark = pytest.mark.host


def test_the_demo_ends_well(tmp_path: Path) -> None:
    said = Operator(tmp_path).done("demo").out
    assert "demo: all of it as it should be, in " in said
    assert "RCPT TO:<nobody@demo.example>  ->  550 5.1.1" in said
    assert "... receive kit=1\n" in said
    assert " is to be carried" not in said.rpartition("$ ./inv status demo")[2]
