"""Root's look-ups, for itself and for the account: addresses, whether main.cf names our tables, whether they work.

The directory of Postfix's configuration, or main.cf alone, may be closed to everybody but root.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial

from common.main_cf_params import RESTRICTIONS, unlisted_member
from common.paths import Places
from common.settings import RelaySettings, load_relay
from common.verifying_rules import VERIFYING, find_verifying
from receiver.formatting import escape, format_time
from receiver.outcome import Failed
from receiver.tables import unlisted
from receiver.tables.manifest import Manifest
from receiver.tables.postmap import run_postfix

_EDIT = 3_600  # seconds that an edit of main.cf may be under way; it takes some
LIMIT = 1 << 20  # bytes of addresses that are looked up at once; an upload asks for a third of it
LISTS = {"relay_domains": "relay_domains", "transport_maps": "transport", "relay_recipient_maps": "exchange_recipients"}
"""The parameters that must name a table of ours, and which."""

_OTHERS = "others"  # the table that lists everybody in other domains, where the relay had no list before Postern


def find_listed(places: Places, addresses: bytes) -> list[str]:
    """Return those of the addresses (a line each) that the built table has. Raises Failed and BadSettings."""
    relay = load_relay(places)
    table = f"{relay.table_type}:{places.tables}/exchange_recipients"
    return list(_look_up(relay, table, addresses))


def _look_up(relay: RelaySettings, table: str, keys: bytes) -> dict[str, str]:
    """Return what a table has for keys, a line each. Raises Failed where it cannot be read."""
    code, out, err = run_postfix("/usr/sbin/postmap", "-c", relay.config_directory, "-q", "-", table, stdin=keys)
    if code not in (0, 1) or "fatal:" in err or "error:" in err:  # 1 is both "none is there" and "cannot read it"
        raise Failed(f"{escape(err.rpartition('fatal: ')[2])} (postmap ended {code})")
    pairs = (line.partition("\t") for line in out.decode(errors="replace").split("\n") if line)
    return {key: value for key, _, value in pairs}


def find_broken(places: Places, record: Manifest) -> dict[str, str]:
    """Return the tables of ours in which Postfix finds no key, each with the reason. Raises BadSettings."""
    relay = load_relay(places)
    found = {
        name: _find_fault(relay, os.path.join(places.tables, name), built.type) for name, built in record.tables.items()
    }
    return {name: why for name, why in found.items() if why}


def _find_fault(relay: RelaySettings, path: str, kind: str) -> str:
    """Return why a table cannot be looked up, or lacks the first key of its text; `kind` is empty for a text."""
    try:
        with open(path, "rb") as text:
            key = text.readline().rpartition(b" ")[0] if kind else b"postmaster"
        found = _look_up(relay, f"{kind or 'regexp'}:{path}", key + b"\n" * bool(key))
    except (Failed, OSError) as error:
        return str(error)
    return "" if found or not kind or not key else "lacks what it was built from"


def check_answers(relay: RelaySettings, words: Mapping[str, str]) -> None:
    """Raise Failed unless Postfix would answer unlisted recipients of these domains as wanted, and pass listed ones."""
    wanted = {f"q{os.urandom(8).hex()}@{form}": unlisted.ANSWERS[word].decode() for form, word in words.items()}
    wanted.update({f"postmaster@{form}": "DUNNO" for form in words})
    member = unlisted_member(relay.table_type).partition(" ")[2]
    found = _look_up(relay, member, "".join(f"{key}\n" for key in wanted).encode())
    for key, answer in wanted.items():
        if found.get(key) != answer:
            raise Failed(f"the tables say {escape(found.get(key, 'nothing'))} of {key}, not {answer}")


def find_unnamed(places: Places) -> list[str]:
    """Return the parameters of Postfix that no longer name our tables, as `PARAMETER: why`.

    Where a customer's server is asked about recipients, also what else has recipients verified, as `verifying: why`.
    Returns nothing before the first edit of main.cf and during an edit; an edit that was cut short is named as well.
    Raises Failed and BadSettings.
    """
    begun = _find_edit(places)
    if begun and 0 <= time.time() - begun < _EDIT:
        return []
    unproved = [f"main.cf: its edit of {format_time(int(begun))} was cut short, and is not proved"] if begun else []
    if not os.path.exists(f"{places.etc}/main.cf.before"):
        return unproved
    where = load_relay(places).config_directory
    lists = _settings(where, "-x", *LISTS)
    missing = [
        f"{name}: names no table {places.tables}/{LISTS[name]}"
        for name in LISTS
        if _lacks_our_table(places, name, lists)
    ]
    found = [*missing, *_find_opened(places, lists), *_find_unreached(places, where), *_find_overridden(places, where)]
    return [*unproved, *found, *(f"{VERIFYING}: {line}" for line in _find_verifying(places, where))]


def _find_edit(places: Places) -> float:
    """Return when the edit of main.cf began that is not proved yet, epoch seconds; 0: there is none."""
    with suppress(FileNotFoundError):
        return os.stat(f"{places.etc}/main.cf.pending").st_mtime
    return 0.0


def _find_verifying(places: Places, where: str) -> Iterator[str]:
    """Yield what else has recipients verified, where a customer's server is asked about unlisted ones."""
    path = f"{places.tables}/unlisted_domains"
    with suppress(FileNotFoundError), open(path, "rb") as text:
        if any(line.rstrip().endswith(b" ask") for line in text):
            yield from find_verifying(partial(_run, where))


def _run(where: str, program: str, *words: str) -> str:
    _, out, _ = run_postfix(f"/usr/sbin/{program}", "-c", where, *words)
    return out.decode(errors="replace")


def _lacks_our_table(places: Places, name: str, settings: dict[str, str], table: str = "") -> bool:
    path = re.escape(f"{places.tables}/{table or LISTS.get(name, 'asked')}")
    return not re.search(rf"\w:{path}(?![\w./-])", settings.get(name, ""))


def _find_unreached(places: Places, where: str) -> Iterator[str]:
    """Yield that Postfix does not ask our member, though in some domain unlisted addresses must not be refused."""
    path = f"{places.tables}/asked"
    if (
        os.path.exists(path)
        and os.path.getsize(path)
        and _lacks_our_table(places, RESTRICTIONS, _settings(where, RESTRICTIONS))
    ):
        yield f"{RESTRICTIONS}: names no table {path}, so that unlisted is `refuse` for everybody"


def _find_opened(places: Places, lists: dict[str, str]) -> Iterator[str]:
    """Yield that our table stands alone, so that Postfix refuses the recipients of other domains, which it accepted."""
    name = "relay_recipient_maps"
    alone = re.split(r"[,\s]+", re.sub(r",?\s*pipemap:\{[^{}]*\}", "", lists.get(name, "")).strip())
    if len(alone) == 1 and not _lacks_our_table(places, name, lists):
        yield f"{name}: lacks regexp:{places.tables}/{_OTHERS}, so that mail for all other relay domains is refused"


def _find_overridden(places: Places, where: str) -> Iterator[str]:
    """Yield services of master.cf that have a list of their own without our table."""
    for place, value in _settings(where, "-P").items():
        service, _, name = place.rpartition("/")
        if name in LISTS and _lacks_our_table(places, name, {name: value}) and f"${name}" not in value:
            yield f"{name}: master.cf, {service} has one of its own: {escape(value)}"


def _settings(where: str, *words: str) -> dict[str, str]:
    code, out, err = run_postfix("/usr/sbin/postconf", "-c", where, *words)
    if code:
        raise Failed(f"postconf ended {code}: {escape(err)}")
    pairs = (line.partition(" =") for line in out.decode(errors="replace").splitlines())
    return {name: value.strip() for name, equals, value in pairs if equals}
