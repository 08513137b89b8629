"""Finds the customer whose addresses postmap refuses, so that the tables of all others are built."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from receiver.outcome import Failed
from receiver.tables.customer_recipients import CustomerRecipients, check_recipients
from receiver.tables.inputs import SpoolFiles

Refusal = Callable[[Sequence[CustomerRecipients]], str]
"""Returns why no tables can be built of some parts; empty where they can."""


def replace_refused(
    found: Sequence[CustomerRecipients], now: float, in_force: Container[str], refusal: Refusal
) -> list[CustomerRecipients]:
    """Return the parts of which tables can be built. Raises Failed where the fault is not one customer's.

    A part that is refused is replaced by root's last good copy, or where that is refused too, by an empty list, which
    opens the domains. If even that is refused, the customer is left out. One with a domain among those `in_force` was
    built before, so that the fault must be postmap's own.
    """
    why = refusal(())
    refused = {} if why else dict(_refused_parts(found, refusal))
    if not refused:
        raise Failed(why or refusal(found) or "postmap refused the tables once and then built them; try again")
    whole: list[CustomerRecipients] = []
    for part in found:
        replaced = _replace_part(part, refused[_name(part)], now, refusal) if _name(part) in refused else part
        if replaced:
            whole.append(replaced)
        elif any(form in in_force for form, _ in part.forms()):
            raise Failed(refused[_name(part)])
    return whole


def _refused_parts(some: Sequence[CustomerRecipients], refusal: Refusal) -> Iterator[tuple[str, str]]:
    """Yield the customers whose own part is refused, and why."""
    why = refusal(some)
    if why and len(some) == 1:
        yield _name(some[0]), why
    elif why:
        half = len(some) // 2
        yield from _refused_parts(some[:half], refusal)
        yield from _refused_parts(some[half:], refusal)


def _replace_part(part: CustomerRecipients, why: str, now: float, refusal: Refusal) -> CustomerRecipients | None:
    source = part.source.with_good_copy(f"postmap refuses its list: {why}")
    copies = (check_recipients(source._replace(files=files), now) for files in (source.files, SpoolFiles()))
    return next((copy for copy in copies if not refusal([copy])), None)


def _name(part: CustomerRecipients) -> str:
    return part.source.tree.customer
