"""Show the lists of a customer that were in force."""

from __future__ import annotations

from common import exit_codes
from console.errors import Refused
from console.options import is_number
from fleet import relay_cli
from fleet.relay_answers import print_all, print_answers
from fleet.relay_cli import CustomerRelays
from fleet.relays import load_for, select_name, split_names


def history(customer: str, every: bool, relay: str, diff: str, as_json: bool) -> int:
    """Show the kept lists of every relay, or who came and went with one. Raises Refused."""
    if diff and not is_number(diff):
        raise Refused(f"--diff {diff}: a number as `inv history {customer}` shows")
    select_name(customer, every)
    if every or len(split_names(customer)) > 1:
        if diff:
            raise Refused("--diff is of one customer's lists, not of several")
        everything = load_for(customer)
        answers = relay_cli.ask_for_all(everything, "history", customer=customer, relay=relay)
        code = print_all(answers, as_json, quiet="no list has been in force yet")
        return exit_codes.worst([code, everything.code])
    words = ["--diff", diff] if diff else []
    return print_answers(relay_cli.ask_relays(CustomerRelays.of(customer, relay), "asking", "history", *words), as_json)
