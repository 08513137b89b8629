"""The result of a run in one line, one code and one record; and how outside text is shown."""

from __future__ import annotations

import json

import pytest

from common.exit_codes import FAILED, worst
from receiver.formatting import escape
from receiver.outcome import Origin, Outcome


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 75], 75),
        ([75, 3], 3),
        ([3, 2], 2),
        ([2, 5], 5),
        ([5, 4], 4),
        ([0, 1], 1),
        ([1, 0, 9], 4),
    ],
)
def test_the_worst_of_several_codes_is_the_one_that_counts(codes: list[int], code: int) -> None:
    assert worst(codes) == code


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("user@acme.example", "user@acme.example"),
        ("müller@bücher.example", "müller@bücher.example"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\u202emoc.live", r"\u202emoc.live"),
        ("\ud800\x00\x9b", r"\ud800\x00\x9b"),
        ("a" * 201, "a" * 200 + "..."),
    ],
)
def test_text_from_outside_is_one_line_of_printable_characters(text: str, safe: str) -> None:
    assert escape(text) == safe


def test_an_outcome_is_read_as_it_was_written_and_as_a_later_release_would_write_it() -> None:
    outcome = Outcome(
        "acme", "held", Origin(1, "k1"), left_out={"excluded": 2}, reasons=("too few",), coming=("a@b.example",)
    )
    record = json.loads(json.dumps(outcome.record()))
    assert [record[name] for name in ("when", "key", "client", "by")] == [1, "k1", "", ""]
    assert "origin" not in record
    assert Outcome.read({**record, "of_a_later_release": True}) == outcome
    with pytest.raises(ValueError, match="format"):
        Outcome.read({**record, "postern": 2})


def test_a_list_that_is_not_in_the_tables_is_a_failure_however_well_it_was_judged() -> None:
    outcome = Outcome("acme", "published", total=3, added=1, trouble="left out of the tables: damaged")
    assert outcome.code == FAILED
    assert outcome.line == "acme: 3 recipients (+1 -0); NOT IN THE TABLES YET: left out of the tables: damaged"


def test_reasons_are_counted_the_most_frequent_first() -> None:
    outcome = Outcome(
        "acme", "published", total=231, added=3, removed=1, left_out={"other domain": 87, "not internet": 310}
    )
    assert outcome.line == "acme: 231 recipients (+3 -1); left out 397: 310 not internet, 87 other domain"
