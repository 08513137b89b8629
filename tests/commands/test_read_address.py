"""Which address `inv explain` takes out of what is pasted."""

from __future__ import annotations

import pytest

from commands.explain import _read_address
from console.errors import Refused


@pytest.mark.parametrize(
    "pasted",
    [
        "anna@acme.example",
        " <anna@acme.example> ",
        "Anna <anna@acme.example>",
        '"Doe, Anna" <anna@acme.example>',
        "anna@acme.example <anna@acme.example>",
    ],
)
def test_an_address_is_taken_out_of_its_brackets(pasted: str) -> None:
    assert _read_address(pasted).address == "anna@acme.example"


def test_brackets_within_quotes_are_the_address_s_own() -> None:
    assert _read_address('"a<b>"@acme.example').local == '"a<b>"'


@pytest.mark.parametrize(
    "pasted",
    ["Anna <anna@acme.example", "anna@acme.example>", "a <a@acme.example>, b <b@acme.example>", "Anna <>", "anna"],
)
def test_what_is_not_one_whole_address_is_refused(pasted: str) -> None:
    with pytest.raises(Refused, match="a whole address is wanted"):
        _read_address(pasted)
