"""Let a customer's uploads take effect again on every relay."""

from __future__ import annotations

from common import exit_codes
from console import terminal
from fleet import relay_cli
from fleet.relay_answers import Answer, RelayAnswer, done_answers, print_all, print_answers
from fleet.relay_cli import CustomerRelays
from fleet.relays import load_for, select_named, split_names


def resume(customer: str, dry_run: bool, as_json: bool) -> int:
    """Resume uploads on every relay. Raises InventoryError, Refused."""
    if dry_run:
        return _show_what_waits(customer, as_json)
    if len(split_names(customer)) > 1:
        return print_all(relay_cli.ask_customers(_upload_relays(customer), "resume"), as_json)
    return print_answers(relay_cli.ask_relays(CustomerRelays.of(customer).upload_relays(), "asking", "resume"), as_json)


def _show_what_waits(customer: str, as_json: bool) -> int:
    """Show how the list stands where it is frozen, and whether one waits; PENDING where it is frozen anywhere."""
    found = relay_cli.ask_customers(_upload_relays(customer), "status")
    frozen = {id_: {name: said for name, said in each.items() if _may_be_frozen(said)} for id_, each in found.items()}
    code = print_all(frozen, as_json)
    answers = [said for each in frozen.values() for said in done_answers(each).values()]
    if not any(frozen.values()) and not as_json:
        terminal.say("nothing to change: not frozen, uploads take effect")
    return exit_codes.worst([code, *(exit_codes.PENDING for _ in answers)])


def _upload_relays(customer: str) -> list[CustomerRelays]:
    """Return the customers, each with the relays that take its uploads. Raises InventoryError, Refused."""
    everything = load_for(customer)
    customers = select_named(everything, customer)
    return [scope.upload_relays() for scope in relay_cli.customers_of(everything, customers)]


def _may_be_frozen(said: Answer) -> bool:
    return not isinstance(said, RelayAnswer) or said.code != exit_codes.DONE or bool(said.record.get("pinned"))
