"""Which kit is in use, what it lacks, and who must carry one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

import inventory
from customer_host.kit_numbers import number_kit
from fleet import kit_state
from fleet.kit_state import KeysSeen
from inventory import InventoryError, Key, Relay, kit_records
from inventory.model import Customer

DAY = date(2026, 11, 29)
HOST_KEY, OTHER_KEY, SPARE_KEY = (f"ssh-ed25519 {'A' * 16}{letter * 52}" for letter in "ABC")


def relay(name: str, *host_keys: str, address: str = "") -> Relay:
    made = Relay.model_validate({"name": name, "address": address or f"{name}.provider.example"})
    return made.model_copy(update={"host_keys": host_keys or (HOST_KEY,)})


def customer(*relays: str, keys: tuple[str, ...] = ("k1",)) -> Customer:
    demo = inventory.find(inventory.load(inventory.inventory_path()), "demo")
    recorded = tuple(Key(name, f"ssh-ed25519 {name}") for name in keys)
    return demo.model_copy(update={"id": "acme", "relays": relays or ("mx1",), "keys": recorded})


def write(where: Path, one: Customer, *relays: Relay, are_ready: bool = True) -> int:
    number = number_kit(where, one, relays, are_ready, DAY)
    number.record(where, one.id)
    return number.kit.number


def used(kit: int | None) -> KeysSeen:
    return {} if kit is None else {"k1": {"first": 1, "last": 2, **({"kit": kit} if kit else {})}}


def reasons(where: Path, one: Customer, *relays: Relay, kit: int | None) -> tuple[list[str], bool]:
    seen = {each.name: used(kit) for each in relays}
    state = kit_state.read_kit_state(where, one, {each.name: each for each in relays}, seen)
    return state.reasons(), state.is_failing()


def test_a_kit_has_a_new_number_when_its_scripts_change_and_the_same_one_otherwise(tmp_path: Path) -> None:
    mx1, mx2 = relay("mx1"), relay("mx2")
    assert [write(tmp_path, customer(), mx1) for _ in range(2)] == [1, 1]
    assert write(tmp_path, customer("mx1", "mx2"), mx1, mx2) == 2
    assert write(tmp_path, customer(), mx1) == 3
    assert [one.number for one in kit_records.read(tmp_path, "acme")] == [3, 2, 1]
    document = (tmp_path / "kits" / "acme.json").read_text()
    assert HOST_KEY in document


def test_a_kit_has_no_number_while_a_relay_may_not_know_the_word(tmp_path: Path) -> None:
    assert write(tmp_path, customer(), relay("mx1"), are_ready=False) == 0
    assert kit_records.read(tmp_path, "acme") == ()
    assert write(tmp_path, customer(), relay("mx1")) == 1
    assert write(tmp_path, customer(), relay("mx1"), are_ready=False) == 1


def test_the_kits_that_are_remembered_are_bounded(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, customer(), relay("mx1", address=f"mx{number}.provider.example"))
    assert [one.number for one in kit_records.read(tmp_path, "acme")] == list(range(20, 20 - 1 - kit_records.KEPT, -1))


def test_a_damaged_record_is_named_with_the_way_back(tmp_path: Path) -> None:
    write(tmp_path, customer(), relay("mx1"))
    (tmp_path / "kits" / "acme.json").write_text('{"number": 1}')
    with pytest.raises(InventoryError, match=r"acme\.json: is damaged .*take it from git again"):
        kit_records.read(tmp_path, "acme")


def test_a_kit_that_is_in_use_as_it_was_written_needs_nobody(tmp_path: Path) -> None:
    write(tmp_path, customer(), relay("mx1"))
    assert reasons(tmp_path, customer(), relay("mx1"), kit=1) == ([], False)


CHANGES = {
    "a relay comes": (("mx1", "mx2"), (relay("mx1"), relay("mx2")), "relay mx2 is not in it", False),
    "a spare host key": (("mx1",), (relay("mx1", HOST_KEY, SPARE_KEY),), "1 more host key of mx1", False),
    "another host key": (
        ("mx1",),
        (relay("mx1", OTHER_KEY),),
        "mx1 has other host keys, so that uploads to it fail",
        True,
    ),
    "another address": (
        ("mx1",),
        (relay("mx1", address="new.provider.example"),),
        "mx1 takes uploads at new.provider.example:22 now",
        True,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_kit_in_use_lacks_is_the_reason_to_carry_the_next(tmp_path: Path, change: str) -> None:
    names, relays, reason, fails = CHANGES[change]
    write(tmp_path, customer(), relay("mx1"))
    assert reasons(tmp_path, customer(*names), *relays, kit=1) == ([reason], fails)  # before provision
    assert write(tmp_path, customer(*names), *relays) == 2
    assert reasons(tmp_path, customer(*names), *relays, kit=1) == ([reason], fails)
    assert reasons(tmp_path, customer(*names), *relays, kit=2) == ([], False)


def test_status_says_first_that_a_kit_is_to_be_written(tmp_path: Path) -> None:
    write(tmp_path, customer(), relay("mx1"))
    spare = relay("mx1", HOST_KEY, SPARE_KEY)

    def problem() -> str:
        state = kit_state.read_kit_state(tmp_path, customer(), {"mx1": spare}, {"mx1": used(1)})
        (one,) = kit_state.kit_problems(state)
        assert not one.urgent
        return one.text

    assert problem().startswith("a new kit is to be written (`inv provision acme`) and carried: ")
    write(tmp_path, customer(), spare)
    assert problem() == r"kit 2 is to be carried to D:\userexport on its server: 1 more host key of mx1"


def test_a_kit_without_a_number_and_one_that_nobody_has_used_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, customer(), relay("mx1"))
    assert reasons(tmp_path, customer(), relay("mx1"), kit=0) == (["the kit in use has no number"], False)
    assert reasons(tmp_path, customer(), relay("mx1"), kit=None) == (["nobody has uploaded with it yet"], False)


def test_the_oldest_kit_that_a_relay_has_seen_last_counts(tmp_path: Path) -> None:
    write(tmp_path, customer("mx1", "mx2"), relay("mx1"), relay("mx2"))
    seen = {"mx1": used(1), "mx2": {"k1": {"first": 1, "last": 2}}}
    relays = {name: relay(name) for name in seen}
    assert kit_state.read_kit_state(tmp_path, customer("mx1", "mx2"), relays, seen).number_used == 0


def test_no_kit_has_to_know_a_relay_that_takes_no_uploads(tmp_path: Path) -> None:
    write(tmp_path, customer(), relay("mx1"))
    one = customer("mx1", "mx2").model_copy(update={"followers": frozenset({"mx2"})})
    relays = {name: relay(name) for name in ("mx1", "mx2")}
    state = kit_state.read_kit_state(tmp_path, one, relays, {"mx1": used(1)})
    assert (state.reasons(), [*state.wanted.uploads]) == ([], ["mx1"])
