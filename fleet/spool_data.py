"""What was read of customers' spools on a relay, taken apart. A relay may send anything."""

from __future__ import annotations

from collections.abc import Mapping

from common.spool_files import LATEST
from deploy.items import State
from receiver.lists.accepted import Accepted


def accepted_of(state: State | None, customer: str) -> Accepted:
    """Return which domains have an accepted list; none where that is not said, or not as the receiver writes it."""
    spool = (state or {}).get(customer)
    accepted = spool.get("accepted") if isinstance(spool, dict) else None
    return Accepted.read(accepted) if isinstance(accepted, dict) else Accepted()


def keys_seen(state: State | None) -> dict[str, frozenset[str]]:
    """Return by customer the names of the keys that have been used."""
    return {customer: frozenset(_keys(spool)) for customer, spool in (state or {}).items()}


def key_uses(state: State | None, customer: str) -> dict[str, dict[str, int]]:
    """Return by key of a customer when it was used and by which kit."""
    uses = {name: at for name, at in _keys((state or {}).get(customer)).items() if isinstance(at, dict)}
    return {
        name: {field: value for field, value in at.items() if isinstance(value, int)}
        for name, at in uses.items()
        if isinstance(at.get("last"), int)
    }


def lists_seen(state: State | None) -> dict[str, int]:
    """Return by customer when its last good upload came, epoch seconds.

    0: there is a list that nobody has accepted yet, or one that cannot be read. Left out: there is none.
    """
    return {
        customer: good for customer, spool in (state or {}).items() if (good := _last_good_upload(spool)) is not None
    }


def _last_good_upload(spool: object) -> int | None:
    if not isinstance(spool, dict):
        return None if spool is None else 0
    accepted, there = spool.get("accepted"), spool.get("list")
    domains = accepted.get("domains") if isinstance(accepted, dict) else accepted
    if isinstance(domains, dict):
        dates = [min(when, LATEST) for when in domains.values() if isinstance(when, int)]
        return max(dates, default=0 if there else None)
    return None if domains is None and not there else 0


def _keys(spool: object) -> Mapping[str, object]:
    """Return keys.json of a spool; whatever else lies there is worth no key."""
    keys = spool.get("keys") if isinstance(spool, dict) else None
    return keys if isinstance(keys, dict) else {}
