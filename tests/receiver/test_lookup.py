"""What root tells of main.cf while an edit of it is under way, and when one was cut short."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from common.paths import Places
from receiver.tables import lookup

HOUR = 3_600


@pytest.mark.parametrize("age", [2 * HOUR, -2 * HOUR])
def test_an_edit_of_main_cf_that_was_cut_short_is_told(tmp_path: Path, age: int) -> None:
    """Until somebody provisions: nobody has seen what it does. `age` below 0: a clock was put back meanwhile."""
    places, when = Places(str(tmp_path), str(tmp_path)), time.time() - age
    assert lookup.find_unnamed(places) == []
    (tmp_path / "main.cf.pending").write_text("{}")
    assert lookup.find_unnamed(places) == [], "it is under way"
    os.utime(tmp_path / "main.cf.pending", (when, when))
    (line,) = lookup.find_unnamed(places)
    assert line.startswith("main.cf: its edit of ")
    assert line.endswith(" was cut short, and is not proved")
