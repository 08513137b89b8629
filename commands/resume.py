"""Let a customer's uploads take effect again on every relay."""

from __future__ import annotations

from fleet import relay_cli
from fleet.relay_cli import CustomerRelays
from fleet.relays import split_names


def resume(customer: str, as_json: bool) -> int:
    """Let uploads take effect again on every relay. Raises InventoryError, Refused."""
    if len(split_names(customer)) > 1:
        return relay_cli.print_all(relay_cli.ask_for_all("resume", customer=customer), as_json)
    return relay_cli.print_answers(
        relay_cli.ask_relays(CustomerRelays.of(customer).upload_relays(), "asking", "resume"), as_json
    )
