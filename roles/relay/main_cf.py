"""What main.cf must say, from what it says now: our members and the values we set, and all else as its owner has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common.main_cf_params import (
    ASKING,
    LISTS,
    RECIPIENTS,
    REJECT,
    RESTRICTIONS,
    TABLE_OF,
    Setting,
    format_setting,
    is_first,
    is_others,
    members,
    with_ours,
    with_unlisted,
    without_ours,
    without_ours_members,
)
from deploy.items import State
from inventory.model import Customer, Relay
from roles.relay.facts import Facts
from roles.relay.reject import reject_code, words

ASK, REFUSE = "ask", "refuse"  # of unlisted, where nothing of ours is needed besides the list


def main_cf(relay: Relay, customers: Iterable[Customer], facts: Facts) -> State:
    """Return the state with our tables in it."""
    table_type = relay.table_type or facts.table_type
    lists = {
        name: Setting(
            True,
            with_ours(name, facts.settings[name].value, table_type, name == RECIPIENTS and is_others_needed(facts)),
        )
        for name in TABLE_OF
    }
    said = words(customers, facts)
    lists[RESTRICTIONS] = _restrictions(table_type, said, facts)
    asking = {
        name: Setting(True, value) if ASK in said.values() else _setting_before_us(name, facts)
        for name, value in ASKING.items()
    }
    return {**format_setting({**lists, REJECT: reject_code(relay, said, facts), **asking}), "reloaded": True}


def moved_notes(before: State | None) -> list[str]:
    """Return a note that our table moves to the front of the list of recipients, where it stands behind another."""
    value = (before or {}).get(RECIPIENTS, "")
    if is_first(RECIPIENTS, value) or without_ours_members(RECIPIENTS, value) == members(value):
        return []
    others = ", ".join(without_ours_members(RECIPIENTS, value))
    why = "behind a table that cannot be read, people on our lists would be put off (451)"
    return [f"{RECIPIENTS}: our table moves to the first place, before {others}: {why}"]


def main_cf_without_us(facts: Facts) -> State:
    """Return the state once the last customer has gone."""
    lists = {name: without_ours(name, facts.settings[name], facts.record.get(name)) for name in LISTS}
    return {
        **format_setting({**lists, **{name: _setting_before_us(name, facts) for name in (REJECT, *ASKING)}}),
        "reloaded": True,
    }


def _setting_before_us(name: str, facts: Facts) -> Setting:
    return facts.record.get(name, facts.settings[name])


def _restrictions(table_type: str, some: Mapping[str, str], facts: Facts) -> Setting:
    before = facts.settings[RESTRICTIONS]
    if {*some.values()} - {"", REFUSE}:
        return Setting(True, with_unlisted(before.value, table_type))
    return without_ours(RESTRICTIONS, before, facts.record.get(RESTRICTIONS))


def is_others_needed(facts: Facts) -> bool:
    """Return whether recipients of other relay domains must be let pass: nobody had a list of them before us."""
    if RECIPIENTS in facts.record:
        return not without_ours_members(RECIPIENTS, facts.record[RECIPIENTS].value)
    value = facts.settings[RECIPIENTS].value
    return not without_ours_members(RECIPIENTS, value) or any(map(is_others, members(value)))
