"""`inv kits` where something of one customer cannot be read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import inventory
from commands import kits
from tests.roles.test_relay import customer


def test_a_damaged_record_is_named_and_the_other_kits_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    customers = {name: customer(name, relays=(), upload_relays=()) for name in ("acme", "bolt")}
    (tmp_path / "kits").mkdir()
    (tmp_path / "kits" / "acme.json").write_text("{")
    monkeypatch.setattr(inventory, "inventory_path", lambda: tmp_path)
    monkeypatch.setattr(kits, "load_for", lambda _: SimpleNamespace(customers=customers, relays={}, code=0))
    monkeypatch.setattr(kits, "select_customers", lambda *_, **__: tuple(customers.values()))
    assert kits.kits("", as_json=False) == 1
    said = capsys.readouterr()
    assert "acme.json: is damaged" in " ".join(said.err.split())
    assert "bolt" in said.out
