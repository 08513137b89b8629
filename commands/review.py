"""Show what is held on every relay of a customer."""

from __future__ import annotations

from fleet import relay_cli
from fleet.relay_cli import Answer, CustomerRelays, RelayAnswer


def review(customer: str, as_json: bool) -> int:
    """Show what is held on every relay; once where all hold the same."""
    asked = relay_cli.ask_relays(CustomerRelays.of(customer), "asking", "review")
    return relay_cli.print_answers({name: _naming_its_list(said) for name, said in asked.items()}, as_json)


def _naming_its_list(said: Answer) -> Answer:
    """Return a review whose command names the list: that of a relay with the first release does not."""
    if (
        not isinstance(said, RelayAnswer)
        or not said.record.get("number")
        or "--list" in (command := said.record["command"])
    ):
        return said
    whole = f"{command} --list {said.record['list']}" if command.startswith("accept ") else command
    lines = [*said.record["lines"][:-1], f"inv {whole}"]
    return said._replace(record={**said.record, "command": whole, "lines": lines})
