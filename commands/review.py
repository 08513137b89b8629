"""Show what is held on every relay of a customer."""

from __future__ import annotations

from fleet import relay_cli
from fleet.relay_cli import Answer, CustomerRelays, RelayAnswer
from fleet.relays import select_name


def review(customer: str, every: bool, as_json: bool) -> int:
    """Show what is held on every relay, once where all hold the same; of all customers, who have something held."""
    if every and not customer:
        found = relay_cli.ask_for_all("review")
        named = {id_: {name: _naming_its_list(said) for name, said in each.items()} for id_, each in found.items()}
        return relay_cli.print_all(named, as_json, quiet="nothing is held")
    select_name(customer, every)
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
