"""150 customers on 6 relays that cannot be reached: how many lines each command prints, in a pipe and of one screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import keys
from lab.operators import AtOnce

CUSTOMERS, RELAYS = 150, 6
pytestmark = pytest.mark.slow
LINES = {
    "check": 1,
    "list": CUSTOMERS + 1,
    "provision --all --dry-run": 12,
    "provision --all": 12,
    "verify --all": RELAYS,
    "history --all": RELAYS,
    "review --all": RELAYS + 4,
    "status": RELAYS + 1,
    "kits": CUSTOMERS + 2 + RELAYS,
    "refusals customer-000": RELAYS,
    "resume customer-000,customer-001": RELAYS,
    "provision --all --dry-run --json": 20 * RELAYS + 8 * CUSTOMERS,
}
"""The most lines that each may print."""


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> AtOnce:
    made = AtOnce(tmp_path_factory.mktemp("operator"))
    names = [f"mx{number}" for number in range(1, RELAYS + 1)]
    public = keys.admin_key().with_suffix(".pub").read_text()
    pinned = ""
    for number, name in enumerate(names, 1):
        made.table(f"relays.toml#{name}", {"address": f"127.77.255.{number}", "port": 1})
        pinned += f"[127.77.255.{number}]:1 {public}"
    Path(made.inventory / "known_hosts").write_text(pinned)
    for number in range(CUSTOMERS):
        made.customer(f"customer-{number:03}", relays=names, domains=[f"c{number:03}.example"])
    return made


@pytest.mark.parametrize("words", LINES)
def test_what_is_printed_of_150_customers_on_6_relays_that_are_down_is_bounded(operator: AtOnce, words: str) -> None:
    lines = operator.run(words).text.splitlines()
    assert 0 < len(lines) <= LINES[words], "\n".join(lines[:40])
    assert not [line for line in lines if len(line) > 500]
