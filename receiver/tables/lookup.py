"""What the account may have looked up by root: addresses in the built table, and whether main.cf names our tables.

The directory of Postfix's configuration, or main.cf alone, may be closed to everybody but root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from common.paths import Places
from common.settings import load_relay
from receiver.formatting import escape
from receiver.outcome import Failed
from receiver.tables.postmap import run_postfix

LIMIT = 1 << 20  # bytes of addresses that are looked up at once; an upload asks for a third of it
LISTS = {"relay_domains": "relay_domains", "transport_maps": "transport", "relay_recipient_maps": "exchange_recipients"}
"""The parameters that must name a table of ours, and which."""

_OTHERS = "others"  # the table that takes the recipients of everybody else, where no list of them was there before us


def find(places: Places, addresses: bytes) -> list[str]:
    """Return those of the addresses (a line each) that the built table has. Raises Failed and BadSettings."""
    relay = load_relay(places)
    table = f"{relay.table_type}:{places.tables}/exchange_recipients"
    code, out, err = run_postfix("/usr/sbin/postmap", "-c", relay.config_directory, "-q", "-", table, stdin=addresses)
    if code not in (0, 1) or "fatal:" in err:  # it ends 1 both for "none is there" and for "cannot read it"
        raise Failed(f"{escape(err.rpartition('fatal: ')[2])} (postmap ended {code})")
    return [line.partition("\t")[0] for line in out.decode(errors="replace").split("\n") if line]


def unnamed(places: Places) -> list[str]:
    """Return the parameters of Postfix that no longer name our tables, as `PARAMETER: why`.

    There are none before the first edit of main.cf and while one is under way. Raises Failed and BadSettings.
    """
    if not os.path.exists(f"{places.etc}/main.cf.before") or os.path.exists(f"{places.etc}/main.cf.pending"):
        return []
    where = load_relay(places).config_directory
    lists = _settings(where, "-x", *LISTS)
    missing = [f"{name}: names no table {places.tables}/{LISTS[name]}" for name in LISTS if _lacks(places, name, lists)]
    return [*missing, *_opened(places, lists), *_overridden(places, where)]


def _lacks(places: Places, name: str, settings: dict[str, str], table: str = "") -> bool:
    path = re.escape(f"{places.tables}/{table or LISTS[name]}")
    return not re.search(rf"\w:{path}(?![\w./-])", settings.get(name, ""))


def _opened(places: Places, lists: dict[str, str]) -> Iterator[str]:
    """Find that our table stands alone, where everybody else's recipients were all taken before us."""
    name = "relay_recipient_maps"
    alone = re.split(r"[,\s]+", re.sub(r",?\s*pipemap:\{[^{}]*\}", "", lists.get(name, "")).strip())
    if len(alone) == 1 and not _lacks(places, name, lists):
        yield f"{name}: lacks regexp:{places.tables}/{_OTHERS}, so that mail for all other relay domains is refused"


def _overridden(places: Places, where: str) -> Iterator[str]:
    """Find services of master.cf that have a list of their own without us."""
    for place, value in _settings(where, "-P").items():
        service, _, name = place.rpartition("/")
        if name in LISTS and _lacks(places, name, {name: value}) and f"${name}" not in value:
            yield f"{name}: master.cf, {service} has one of its own: {escape(value)}"


def _settings(where: str, *words: str) -> dict[str, str]:
    code, out, err = run_postfix("/usr/sbin/postconf", "-c", where, *words)
    if code:
        raise Failed(f"postconf ended {code}: {escape(err)}")
    pairs = (line.partition(" =") for line in out.decode(errors="replace").splitlines())
    return {name: value.strip() for name, equals, value in pairs if equals}
