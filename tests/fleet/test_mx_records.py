"""MX records as `host` and `dig` print them; stand-ins on PATH print what the real ones were seen to."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.mx_records import describe_mx_records, is_same_machine, mx_hosts
from inventory.model import Customer, Relay
from tests.roles.test_relay import customer, relay

HOST = """\
acme.example mail is handled by 20 mx2.provider.example.
acme.example mail is handled by 10 mx1.provider.example.
"""
NOBODY = "Host acme.example not found: 3(NXDOMAIN)\n"
TIMEOUT = ";; connection timed out; no servers could be reached\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but what a test puts into it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(programs: Path, name: str, text: str, code: int = 0) -> None:
    (programs / name).write_text(f"#!/bin/sh\n[ \"$#\" -ge 6 ] || exit 9\n/bin/cat <<'END'\n{text}END\nexit {code}\n")
    (programs / name).chmod(0o755)


def described(customer_: Customer | None = None) -> list[str]:
    relays: list[Relay] = [relay(name="mx1", address="mx1.provider.example"), relay(name="mx2", address="192.0.2.2")]
    return list(describe_mx_records(customer_ or customer(domains=("acme.example",)), relays))


def test_a_relay_that_dns_still_names_is_said(programs: Path) -> None:
    put(programs, "host", HOST)
    (said,) = described()
    assert said == (
        "MX records of acme.example: mx1.provider.example, mx2.provider.example: mail for it still comes to mx1"
    )


def test_an_mx_host_is_a_relay_when_they_have_an_address_in_common() -> None:
    assert is_same_machine("localhost", "127.0.0.1")
    assert not is_same_machine("localhost", "192.0.2.1")


def test_dig_is_asked_where_there_is_no_host(programs: Path) -> None:
    put(programs, "dig", "20 b.example.\n5 a.example.\n")
    assert mx_hosts("acme.example") == ["a.example", "b.example"]


@pytest.mark.parametrize(
    ("text", "code"),
    [("acme.example has no MX record\n", 0), (NOBODY, 1), ("acme.example mail is handled by 0 .\n", 0)],
)
def test_a_domain_without_mx_records_has_none(programs: Path, text: str, code: int) -> None:
    put(programs, "host", text, code)
    assert described() == ["MX records of acme.example: none"]


def test_without_a_program_it_says_that_nobody_looked(programs: Path) -> None:
    assert described() == [
        "its MX records were not looked up (neither host nor dig is installed here); they should name none of mx1, mx2"
    ]


def test_an_answer_that_does_not_come_is_no_answer(programs: Path) -> None:
    put(programs, "host", TIMEOUT, 1)
    (said,) = described(customer(domains=("acme.example", "more.example")))
    assert "not looked up (host gave no answer about acme.example: ;; connection timed out" in said
