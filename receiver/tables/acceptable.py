"""Which customers' parts postmap can build tables of; where it refuses, the customer it is about, who alone waits."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence

from receiver.outcome import Failed
from receiver.tables.customer_recipients import CustomerRecipients, check_recipients
from receiver.tables.inputs import SpoolFiles

Refusal = Callable[[Sequence[CustomerRecipients]], str]  # why no tables can be built of these parts; nothing: they can


def replace_refused(
    found: Sequence[CustomerRecipients], now: float, in_force: Container[str], refusal: Refusal
) -> list[CustomerRecipients]:
    """Return the parts of which tables can be built. Raises Failed where the fault is not one customer's.

    Of who is refused root's last good copy counts; where that is refused too, nobody of the list, so that its domains
    are open. Where even that is refused a customer is left out who has no domain among those `in_force`; the fault is
    postmap's own where it refuses what it has built before.
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
