"""The relay-wide `reject` of earlier inventories: `soft` lasts until each customer says what unlisted addresses get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from common.main_cf_params import REJECT, SOFT, Setting
from deploy.items import Item, State
from inventory.model import Customer, Relay
from roles.relay.customer import tree_files, tree_settings
from roles.relay.facts import Facts

Changes = Sequence[tuple[Item, State | None]]
"""Items of a plan, and what is there now."""


def words(customers: Iterable[Customer], facts: Facts) -> dict[str, str]:
    """Return by customer what unlisted addresses are to get, empty where nobody says; of others as trees have it."""
    return {**facts.unlisted, **{customer.id: customer.unlisted or "" for customer in customers}}


def reject_code(relay: Relay, said: Mapping[str, str], facts: Facts) -> Setting:
    """Return the code for unknown recipients, which holds for the whole relay; but for soft what it was before us.

    Soft ends for all at once, when each customer there has said what unlisted addresses get: until then whoever was
    counted on to be deferred would be refused.
    """
    before = facts.record.get(REJECT, facts.settings[REJECT])
    is_ours = REJECT in facts.record and facts.settings[REJECT].value == SOFT
    is_soft = (relay.reject == "soft" or is_ours) and not all(said.values())
    return Setting(True, SOFT) if is_soft else before


def reject_notes(relay: Relay, facts: Facts, changes: Changes) -> Iterator[str]:
    """Yield what becomes of `reject`, whom it waits for, and whose domains a change of the code touches besides."""
    trees = {item.about: _word(item.wanted) for item, _ in changes if item.kind == "tree" and item.about}
    said = {**facts.unlisted, **trees}
    silent = sorted(name for name, word in said.items() if not word)
    is_ours = REJECT in facts.record and facts.settings[REJECT].value == SOFT
    if (relay.reject == "soft" or is_ours) and silent:
        yield (
            f'all unknown recipients get 450 there (reject = "soft"), until each customer says unlisted = "defer", or '
            f"another word; these do not: {', '.join(silent)}"
        )
    if relay.reject == "hard" or (relay.reject and not silent):
        yield f'reject = "{relay.reject}" in relays.toml is no longer used: take it out'
    for item, before in changes:
        code = (item.wanted or {}).get(REJECT)
        if item.kind == "main.cf" and code != (before or {}).get(REJECT) and SOFT in (code, (before or {}).get(REJECT)):
            touched = ", ".join(facts.foreign) or "none"
            yield f"{REJECT} becomes {code or 'what it was, 550'}; domains of others that it touches there: {touched}"


def _word(state: State | None) -> str:
    """Return what a tree says; one that is to go has nobody to be deferred."""
    return "refuse" if state is None else str(tree_settings(tree_files(state)).get("unlisted") or "")
