"""Put the same earlier list back on every relay of a customer, or bring back whom one upload removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from console.errors import Refused
from fleet import relay_cli
from fleet.relay_cli import (
    CustomerRelays,
    add_failed,
    common_list,
    given_answers,
    restrict_relays,
)

_ENTRY = re.compile(r"[0-9a-f]{12}")


def roll_back_or_bring_back(customer: str, back: str, entry: str) -> int:
    """Do what the options of `inv rollback` ask for. Raises Refused."""
    if back and entry:
        raise Refused("--to N puts a whole list back, --entry brings back whom one upload removed: name one of them")
    return bring_back(customer, entry) if entry else rollback(customer, back)


def rollback(customer: str, back: str) -> int:
    """Put the same earlier list back on every relay, and pin it. Raises Refused when it is not the same.

    Without a number it is the previous list, or where another relay is pinned already, the one that is pinned there.
    """
    if back and not back.isdigit():
        raise Refused(f"--to {back}: how many lists back, a number as in `inv history {customer}`")
    place = CustomerRelays.of(customer)
    asked = relay_cli.ask_relays(place, "asking", "history")
    told = {name: said.record for name, said in given_answers(asked).items()}
    pinned = {name: str(said["pinned"]["list"]) for name, said in told.items() if said.get("pinned") and not back}
    if not told:
        return relay_cli.print_answers(asked)
    if len(pinned) == len(told):
        names = ", ".join(dict.fromkeys(name[:12] for name in pinned.values()))
        way = f"`inv resume {customer}` ends that, --to N takes another of `inv history {customer}`"
        raise Refused(f"rolled back and pinned already, to list {names}; {way}")
    earlier = pinned or {name: _list_back(said["history"], int(back or 1)) for name, said in told.items()}
    if short := [name for name, found in earlier.items() if not found]:
        raise Refused(f"no list is kept {back or 1} back on {', '.join(short)}; see `inv history {customer}`")
    name = common_list(earlier, f"number {back or 1} is not the same list on every relay; see `inv history {customer}`")
    answers = relay_cli.ask_relays(
        restrict_relays(place, told.keys() - pinned.keys()), "rolling back on", "rollback", "--list", name
    )
    return relay_cli.print_answers(add_failed(asked, answers))


def bring_back(customer: str, entry: str) -> int:
    """List again, on every relay, whom an entry of `inv history` removed. Raises Refused."""
    if not _ENTRY.fullmatch(entry):
        raise Refused(f"--entry {entry}: 12 of 0-9 and a-f, as `inv history {customer}` shows")
    place = CustomerRelays.of(customer)
    asked = relay_cli.ask_relays(place, "asking", "history")
    told = {name: said.record for name, said in given_answers(asked).items()}
    if old := [name for name, said in told.items() if "log" not in said]:
        raise Refused(f"{', '.join(old)}: of a release that knows no entries; `inv provision {customer}` comes first")
    answers = relay_cli.ask_relays(restrict_relays(place, told), "bringing back on", "rollback", "--entry", entry)
    return relay_cli.print_answers(add_failed(asked, answers))


def _list_back(history: Iterable[Mapping[str, Any]], back: int) -> str:
    return next((str(each["list"]) for each in history if each["back"] == back), "")
