"""The lines that `review` prints of a held list, on one relay or on all of the customer's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from receiver.formatting import NAMED, count, escape, format_actor, format_time, name_left_out
from receiver.views.recipients import name_recipients

_FATES = {
    "defer": "put off with 450",
    "ask": "refused where the customer's own server refuses it",
}
"""What happens to who is not listed; else it is refused."""


def review_lines(review: Mapping[str, Any]) -> list[str]:
    """Return what is held, name by name, those with mail first, and last the command that accepts it."""
    customer, mail = review["customer"], review["mail"]
    if not review["list"]:
        return [f"{customer}: nothing is held"]
    source = f"of {format_time(review['when'])} by {format_actor(review['key'], review['client'], review['by'])}"
    going = f"would go, of {review['in_force']} in force"
    return [
        f"{customer}: {'; '.join(review['reasons']) or 'passes'}; held since {format_time(review['since'])}",
        f"list {review['list'][:12]} {source}: {count(review['total'], 'recipient')}",
        *_mail(review, {name: seen for name, seen in mail.items() if name not in set(review["going"])}),
        *name_left_out(review.get("named", ())),
        *name_recipients("+", "in domains without an accepted list", review["first"]),
        *name_recipients("+", "would come", review["coming"]),
        *name_recipients("-", going, review["going"], mail),
        *map(escape, review.get("others", ())),
        *_summary(review),
        f"inv {review['command']}",
    ]


def _mail(review: Mapping[str, Any], unlisted: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield who is on no list, in domains that close, and had mail."""
    if unlisted:
        yield f"NOT ON THE LIST, and had mail in the last {review['mail_days']} days ({len(unlisted)}):"
    for name in list(unlisted)[:NAMED]:
        yield f"  ! {escape(name, 330)}  on {count(unlisted[name]['days'], 'day')}, the last {unlisted[name]['last']}"
    if len(unlisted) > NAMED:
        yield f"  ... and {len(unlisted) - NAMED} more; --json names them all"


def _summary(review: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the list closes, how many had mail, what was not seen; nothing where it cannot be accepted."""
    if review["pinned"]:
        return
    if review["closing"]:
        fate = _FATES.get(str(review.get("unlisted")), "refused")  # a relay of an earlier release does not say it
        yield f"closes {', '.join(review['closing'])}: who is not listed is {fate} from then on"
    yield f"at least {len(review['mail'])} that it refuses have had mail in the last {review['mail_days']} days"
    if review["next_hop"]:
        yield escape(review["next_hop"], 500)
    for why in review["unseen"]:
        yield f"there may have been more mail: {escape(why, 500)}"
