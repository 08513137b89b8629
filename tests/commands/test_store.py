"""`inv store --merge` and `--forget` of several customers, one of whom fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

import inventory
from commands import store
from commands.store import StoreOptions
from console.errors import Refused
from deploy.plan import HostError
from fleet import store_access
from inventory.model import Relay
from tests.roles.test_relay import customer, relay

Calls = list[tuple[str, str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is asked of which relay: it fails for bolt, who is on mx2 and mx4; acme and cord are on mx1 and mx2."""
    found: Calls = []
    on = {"acme": ("mx1", "mx2"), "bolt": ("mx4", "mx2"), "cord": ("mx1", "mx2"), "dart": ("mx2",), "eels": ("mx1",)}
    everything = SimpleNamespace(
        customers={name: customer(name, relays=names, upload_relays=names) for name, names in on.items()},
        relays={name: relay(name=name).model_copy(update={"host_keys": ("k",)}) for name in ("mx1", "mx2", "mx4")},
        store=object(),
    )

    @contextmanager
    def connect(to: Relay) -> Iterator[Relay]:
        yield to

    def ask(host: Relay, verb: str, name: str, *_: str, stdin: bytes = b"") -> Mapping[str, Any]:
        found.append((host.name, verb, name))
        if name == "bolt":
            raise HostError(f"{host.name}: damaged")
        return {"code": 0, "total": 3, "point": "0" * 64, "going": ()}

    monkeypatch.setattr(store, "load_for", lambda _: everything)
    monkeypatch.setattr(inventory, "require_provider", lambda _: None)
    monkeypatch.setattr(store, "connect", connect)
    monkeypatch.setattr(store_access, "call_store", ask)
    monkeypatch.setattr(store_access, "ask_store", ask)
    return found


def test_each_list_is_merged_on_an_upload_relay_of_its_customer_and_one_that_fails_stops_no_other(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.store("", StoreOptions(merge="mx2")) == 4
    merged = [(host, name) for host, verb, name in calls if verb == "merge"]
    assert merged == [("mx1", "acme"), ("mx1", "cord")]
    said = capsys.readouterr()
    assert said.out.count("3 recipients in force") == 2
    assert "bolt: mx2: damaged" in said.err
    assert "dart: no upload relay is set up besides mx2" in said.err


def test_one_customer_that_cannot_be_forgotten_keeps_no_other_from_it(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.store("", StoreOptions(forget="mx2")) == 4
    assert [name for _, _, name in calls] == ["acme", "bolt", "cord", "dart"]
    assert "bolt: mx2: damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("options", [StoreOptions(merge="mx4"), StoreOptions(forget="mx4")])
def test_a_relay_without_the_customer_is_named(options: StoreOptions) -> None:
    with pytest.raises(Refused, match="mx4 is no relay of acme"):
        store.store("acme", options)
