"""What `review` prints of the record of a held list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.formatting import format_actor, format_time, name_left_out
from receiver.views.recipients import name_recipients


def review_lines(review: Mapping[str, Any]) -> list[str]:
    """Return what is held, name by name, and last the command that accepts it."""
    customer, mail = review["customer"], review["mail"]
    if not review["list"]:
        return [f"{customer}: nothing is held"]
    source = f"of {format_time(review['when'])} by {format_actor(review['key'], review['client'], review['by'])}"
    return [
        f"{customer}: {'; '.join(review['reasons']) or 'passes'}; held since {format_time(review['since'])}",
        f"list {review['list'][:12]} {source}: {review['total']} recipients",
        *name_left_out(review.get("named", ())),
        *name_recipients("+", "in domains without an accepted list", review["first"]),
        *name_recipients("+", "would come", review["coming"]),
        *name_recipients("-", "would go", review["going"], mail),
        *([_mail(review)] if review["going"] else []),
        f"inv {review['command']}",
    ]


def _mail(review: Mapping[str, Any]) -> str:
    if review["mail"] is None:
        return "mail log not readable: who of them has had mail lately is not known"
    part = "" if review["mail_whole"] else ", as far as the mail log could be read"
    return (
        f"{len(review['mail'])} of them have had mail through this relay in the last {review['mail_days']} days{part}"
    )
