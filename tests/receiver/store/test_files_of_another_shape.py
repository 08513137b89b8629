"""Attack: whoever has the account writes files of the account's that have another shape; follow and the timer go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.paths import Places
from common.spool_files import FOLLOW
from receiver.store import resolve
from receiver.store.follow import FollowRecord, read_followed
from receiver.system import atomic_files

GOOD: dict[str, Any] = {"postern": 1, "reached": 7, "wrong": {"acme": "damaged"}, "beside": {"acme": 7}, "alive": ["a"]}


def run_of(tmp_path: Path) -> int:
    return atomic_files.open_directory(str(tmp_path))


def test_what_the_last_follow_noted_is_read(tmp_path: Path) -> None:
    (tmp_path / FOLLOW).write_text(json.dumps(GOOD))
    found = read_followed(run_of(tmp_path))
    assert (found.reached, found.wrong, found.alive) == (7, {"acme": "damaged"}, ["a"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"reached": "x"},
        {"every": None},
        {"why": 7},
        {"wrong": ["acme"]},
        {"wrong": {"acme": 7}},
        {"beside": [["acme", 7]]},
        {"beside": {"acme": "x"}},
        {"alive": 7},
        {"alive": [["a"]]},
    ],
)
def test_attack_a_follow_record_of_another_shape_counts_as_none(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / FOLLOW).write_text(json.dumps({**GOOD, **wrong}))
    assert read_followed(run_of(tmp_path)) == FollowRecord()


@pytest.mark.parametrize("hosts", [7, ["store.example"], {"store.example": 7}, {"store.example": None}])
def test_attack_addresses_of_another_shape_are_looked_up_again(
    tmp_path: Path, hosts: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(var=str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "store-hosts.json").write_text(json.dumps({"postern": 1, "hosts": hosts}))
    monkeypatch.setattr(resolve, "_look_up", lambda _: ["127.0.0.1"])
    (found,) = resolve.resolve_hosts("store.example", "5432", places)
    assert found.address == "127.0.0.1"
