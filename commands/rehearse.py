"""Judge the uploads that the relays logged by other limits of the guard."""

from __future__ import annotations

from collections.abc import Sequence

from console.errors import Refused
from fleet import relay_cli
from fleet.relay_answers import print_answers
from fleet.relay_cli import CustomerRelays


def rehearse(customer: str, limits: Sequence[str], as_json: bool) -> int:
    """Print how many of the logged uploads would have been held on each relay. Raises Refused."""
    if wrong := [limit for limit in limits if not all(limit.partition("="))]:
        raise Refused(f"--guard {wrong[0]}: KEY=VALUE is wanted, as shrink_percent=5")
    words = [word for limit in limits for word in ("--guard", limit)]
    answers = relay_cli.ask_relays(CustomerRelays.of(customer), "asking", "rehearse", *words)
    return print_answers(answers, as_json)
