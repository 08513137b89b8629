"""Lists that are merged where a relay fails in between: what was done is told, and the command does not end well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.plan import HostError
from fleet import merge_lists, store_access, store_start
from fleet.merge_lists import MergeRequest
from fleet.relay_answers import RelayAnswer
from fleet.relay_cli import CustomerRelays
from fleet.relay_plan import RelayPlan
from inventory.model import Relay
from tests.roles.test_relay import customer, relay

DAMAGED = HostError("mx1: its heads are damaged")


def fail(*_: object, **__: object) -> None:
    raise DAMAGED


@pytest.fixture(autouse=True)
def store_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connect(to: Relay) -> Iterator[Relay]:
        yield to

    monkeypatch.setattr(merge_lists, "connect", connect)
    monkeypatch.setattr(store_access, "call_store", fail)


def test_what_upload_relays_did_is_told_though_nothing_reaches_the_followers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = customer(relays=("mx1", "mx2", "mx3"), upload_relays=("mx1", "mx2"), followers=("mx3",))
    scope = CustomerRelays(one, tuple(relay(name=name) for name in one.relays))
    done: dict[str, Any] = {"line": "acme: 3 recipients (+1 -0)"}
    monkeypatch.setattr(merge_lists, "_bring_to_upload_relays", lambda *_: {"mx2": RelayAnswer(0, done)})
    assert merge_lists.merge_lists(scope, MergeRequest("mx1"), as_json=False) == 4
    said = capsys.readouterr()
    assert "mx2: acme: 3 recipients (+1 -0)" in said.out
    assert "mx3: what mx1 has of acme cannot be brought there: mx1: its heads are damaged" in " ".join(said.err.split())


def test_a_first_list_that_could_not_be_merged_into_the_store_ends_the_command_with_its_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = customer(relays=("mx1", "mx2"))
    looks = [
        SimpleNamespace(
            relay=SimpleNamespace(name=name, role=role, store=True),
            host=name,
            lists={"acme": 1},
            facts=SimpleNamespace(has_store=False),
        )
        for name, role in (("mx1", "upload"), ("mx2", "follower"))
    ]
    assert store_start.merge_first_lists(cast("list[RelayPlan]", looks), [one]) == [4]
    assert "`inv store acme --merge mx2` is left to do" in " ".join(capsys.readouterr().err.split())
