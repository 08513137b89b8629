"""Show what is held on every relay of a customer beside who had mail, and have the relays keep what was shown."""

from __future__ import annotations

from common import exit_codes
from fleet import reviews
from fleet.relay_answers import print_all, print_answers
from fleet.relay_cli import customers_of
from fleet.relays import load_for, select_customers


def review(customer: str, every: bool, as_json: bool) -> int:
    """Print the review of what is held of a customer, of several (with commas between), or of all.

    Raises InventoryError, Refused.
    """
    everything = load_for("" if every else customer)
    chosen = select_customers(everything, customer, every)
    answers = reviews.ask_for_reviews(customers_of(everything, chosen))
    if len(chosen) == 1 and not every:
        return print_answers(answers[chosen[0].id], as_json)
    return exit_codes.worst([print_all(answers, as_json, quiet="nothing is held"), everything.code])
