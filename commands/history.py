"""Show the lists of a customer that were in force."""

from __future__ import annotations

from console.errors import Refused
from fleet import relay_cli
from fleet.relay_cli import CustomerRelays
from fleet.relays import select_name


def history(customer: str, every: bool, diff: str, as_json: bool) -> int:
    """Show the kept lists of every relay, or who came and went with one. Raises Refused."""
    if diff and not diff.isdigit():
        raise Refused(f"--diff {diff}: a number as `inv history {customer}` shows")
    if every and diff:
        raise Refused("--diff is of one customer's lists, not for --all")
    if every and not customer:
        return relay_cli.print_all(relay_cli.ask_for_all("history"), as_json)
    select_name(customer, every)
    return relay_cli.print_answers(
        relay_cli.ask_relays(CustomerRelays.of(customer), "asking", "history", *(["--diff", diff] if diff else [])),
        as_json,
    )
