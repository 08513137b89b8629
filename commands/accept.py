"""Accept the held list on every relay of a customer, by the numbers and the list of a review."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from common import exit_codes
from common.settings import UNLISTED
from console import terminal
from console.errors import Refused
from console.options import is_number
from fleet import relay_cli, reviews
from fleet.relay_answers import add_failed, done_answers, print_answers
from fleet.relay_cli import CustomerRelays

_GETS = {"refuse": "refused", "defer": "put off (450)", "ask": "asked about at the customer's own server"}
_HASH = re.compile(r"[0-9a-f]{64}")


class AcceptOptions(NamedTuple):
    """The options of `inv accept`, as `inv review` has printed them."""

    numbers: Mapping[str, str]  # first, adding, removing, although-mail: how many; empty: none
    list: str  # SHA-256
    log_incomplete: bool = False
    dry_run: bool = False
    as_json: bool = False


def accept(customer: str, options: AcceptOptions) -> int:
    """Accept the held list on every relay that holds one; each relay checks it against the review. Raises Refused."""
    scope = CustomerRelays.of(customer).upload_relays()
    given = {name: number for name, number in options.numbers.items() if number}
    if wrong := [f"--{name} {number}" for name, number in given.items() if not is_number(number)]:
        raise Refused(f"{wrong[0]}: a number, as `inv review {customer}` says")
    if not _HASH.fullmatch(options.list):
        raise Refused(f"name the list, as the command that `inv review {customer}` prints does: --list HASH, all of it")
    asked = relay_cli.ask_relays(scope, "asking", "status")
    said = done_answers(asked)
    holding = [name for name, each in said.items() if each.record.get("held")]
    if said and not holding:
        terminal.error(f"{customer}: nothing is held on {', '.join(said)}")
        return exit_codes.worst([exit_codes.REFUSED, print_answers(add_failed(asked, {}), options.as_json)])
    if not holding:
        return print_answers(asked, options.as_json)
    words = [word for name, number in given.items() for word in (f"--{name}", number)]
    words += ["--log-incomplete"] * options.log_incomplete + ["--dry-run"] * options.dry_run
    mails = relay_cli.ask_relays(CustomerRelays.of(customer), "asking who had mail", "refusals")
    accepting = {name for name in holding if not said[name].record.get("pinned")}  # each of them judges by its own log
    unseen = reviews.unseen_of({name: each for name, each in mails.items() if accepting - {name}})
    if unseen and not options.log_incomplete:
        more = f"{customer}: there may have been more mail since the review: {'; '.join(unseen)}"
        raise Refused(f"{more}; --log-incomplete takes the list all the same")
    answers = relay_cli.ask_relays(
        scope.restrict(holding),
        "accepting on",
        "accept",
        *words,
        "--list",
        options.list,
        "--mail",
        stdin=json.dumps(reviews.mail_of(mails)).encode(),
        needs="--mail",
    )
    code = print_answers(add_failed(asked, answers), options.as_json)
    if options.dry_run and code == exit_codes.DONE:
        return exit_codes.PENDING
    if given.get("first") and code == exit_codes.DONE and not options.as_json:
        records = {name: said[name].record for name in holding}
        for line in unlisted_lines(customer, scope.customer.unlisted or UNLISTED[0], records):
            terminal.say(line)
    return code


def unlisted_lines(customer: str, wanted: str, records: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what unlisted addresses get from now on, by what `status` says of each relay's tree.

    `wanted`: the word of the inventory, which a relay knows only once it was provisioned.
    """
    words = {name: str(record.get("unlisted") or UNLISTED[0]) for name, record in records.items()}
    given = {name: "defer" if records[name].get("put_off") else word for name, word in words.items()}
    on: dict[str, list[str]] = {}
    for name, word in given.items():
        on.setdefault(_GETS.get(word, word), []).append(name)
    gets = [f"{what} on {', '.join(names)}" for what, names in on.items()] if len(on) > 1 else [*on]
    lines = [
        f"{customer}: from now on who is not listed is {', and '.join(gets)}; `inv verify {customer}` asks its relays"
    ]
    late = [name for name, word in words.items() if word != wanted]
    if late:
        says = f'customers/{customer}.toml says unlisted = "{wanted}"'
        lines.append(f"{customer}: {says}, which is not in force on {', '.join(late)} yet: `inv provision {customer}`")
    return lines
