"""What `inv accept` says of unlisted addresses: what is true on each relay, not what the inventory wants."""

from __future__ import annotations

from typing import Any

import pytest

from commands.accept import unlisted_lines

VERIFY = "; `inv verify acme` asks its relays"
NOW = "acme: from now on who is not listed is"
SAYS = "acme: customers/acme.toml says unlisted ="
SAID: dict[str, tuple[str, dict[str, dict[str, Any]], list[str]]] = {
    "all refuse, as they are to": (
        "refuse",
        {"mx1": {"unlisted": "refuse"}, "mx2": {}},
        [f"{NOW} refused{VERIFY}"],
    ),
    "the word has not been provisioned": (
        "defer",
        {"mx1": {"unlisted": "refuse"}, "mx2": {"unlisted": "refuse"}},
        [
            f"{NOW} refused{VERIFY}",
            f'{SAYS} "defer", which is not in force on mx1, mx2 yet: `inv provision acme`',
        ],
    ),
    "one relay has it and one has not": (
        "ask",
        {"mx1": {"unlisted": "ask"}, "mx2": {"unlisted": "refuse"}},
        [
            f"{NOW} asked about at the customer's own server on mx1, and refused on mx2{VERIFY}",
            f'{SAYS} "ask", which is not in force on mx2 yet: `inv provision acme`',
        ],
    ),
    "a server that refuses to be asked": (
        "ask",
        {"mx1": {"unlisted": "ask", "put_off": True}},
        [f"{NOW} put off (450){VERIFY}"],
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_accept_says_what_each_relay_does_with_unlisted_addresses(case: str) -> None:
    wanted, records, lines = SAID[case]
    assert unlisted_lines("acme", wanted, records) == lines
