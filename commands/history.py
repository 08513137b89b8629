"""Show the lists of a customer that were in force."""

from __future__ import annotations

from console.errors import Refused
from fleet import relay_cli
from fleet.relay_cli import CustomerRelays


def history(customer: str, diff: str, as_json: bool) -> int:
    """Show the kept lists of every relay, or who came and went with one. Raises Refused."""
    if diff and not diff.isdigit():
        raise Refused(f"--diff {diff}: a number as `inv history {customer}` shows")
    return relay_cli.print_answers(
        relay_cli.ask_relays(CustomerRelays.of(customer), "asking", "history", *(["--diff", diff] if diff else [])),
        as_json,
    )
