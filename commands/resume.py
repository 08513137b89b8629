"""Let a customer's uploads take effect again on every relay."""

from __future__ import annotations

from fleet import relay_cli
from fleet.relay_cli import CustomerRelays


def resume(customer: str, as_json: bool) -> int:
    """Let uploads take effect again on every relay."""
    return relay_cli.print_answers(relay_cli.ask_relays(CustomerRelays.of(customer), "asking", "resume"), as_json)
