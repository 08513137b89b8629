"""Take the held list on every relay of a customer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from common import exit_codes
from console import terminal
from console.errors import Refused
from fleet import relay_cli
from fleet.relay_cli import (
    CustomerRelays,
    add_failed,
    common_list,
    given_answers,
    restrict_relays,
)
from receiver.formatting import escape

_HASH = re.compile(r"[0-9a-f]{64}")


def accept(customer: str, numbers: Mapping[str, str], expected: str) -> int:
    """Take the held list on every relay, by its number and its hash, if all that hold one hold it. Raises Refused."""
    given = [(option, number) for option, number in numbers.items() if number]
    if len(given) != 1 or not given[0][1].isdigit():
        raise Refused(f"name one number, as `inv review {customer}` says: --removing N, --adding N or --first N")
    if not _HASH.fullmatch(expected):
        raise Refused(f"name the list, as the command that `inv review {customer}` prints does: --list HASH, all of it")
    place = CustomerRelays.of(customer)
    asked = relay_cli.ask_relays(place, "asking", "status")  # not "review", after which the list counts as looked at
    holding = {
        name: said.record["held"]["list"] for name, said in given_answers(asked).items() if said.record.get("held")
    }
    if given_answers(asked) and not holding:
        terminal.error(f"{customer}: nothing is held on {', '.join(given_answers(asked))}")
        return exit_codes.worst([exit_codes.REFUSED, relay_cli.print_answers(add_failed(asked, {}))])
    if not holding:
        return relay_cli.print_answers(asked)
    name = common_list(holding, f"the relays hold different lists; look at each: `inv review {customer}`")
    if name != expected:
        changed = f"the list held now is {escape(name[:12])}, not {expected[:12]}"
        raise Refused(f"{changed}: it changed since it was reviewed; see `inv review {customer}`")
    option, number = given[0]
    answers = relay_cli.ask_relays(
        restrict_relays(place, holding), "accepting on", "accept", f"--{option}", number, "--list", name
    )
    code = relay_cli.print_answers(add_failed(asked, answers))
    if option == "first" and code == exit_codes.DONE:
        terminal.say(f"{customer}: from now on who is not listed is refused; `inv verify {customer}` asks its relays")
    return code
