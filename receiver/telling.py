"""What `review` and `history` tell, to people and to programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from receiver import history, kept
from receiver.history import Entry
from receiver.maillog import DAYS, Lately
from receiver.report import NAMED, Answer, Refused, hand, moment, shown
from receiver.review import Review
from receiver.spool import Pin, Spool


def reviewed(customer: str, review: Review, pin: Pin | None, lately: Lately | None) -> Answer:
    """Tell what is held, name by name, and end with the command that takes it."""
    held, origin = review.held, review.held.origin
    command = f"resume {customer}" if pin else review.command(customer)
    source = f"of {moment(origin.when)} by {hand(origin.key, origin.client, origin.by)}"
    lines = [
        f"{customer}: {'; '.join(held.reasons) or 'passes'}; held since {moment(held.since)}",
        f"list {held.list[:12]} {source}: {len(review.recipients)} recipients",
        *_named("+", "in domains without an accepted list", review.first, None),
        *_named("+", "would come", review.coming, None),
        *_named("-", "would go", review.going, lately),
        *([_mail(lately)] if review.going else []),
        f"inv {command}",
    ]
    return Answer.done(
        lines,
        customer=customer,
        list=held.list,
        total=len(review.recipients),
        reasons=held.reasons,
        since=held.since,
        pinned=bool(pin),
        **origin._asdict(),
        first=review.first,
        coming=review.coming,
        going=review.going,
        mail={name: seen._asdict() for name, seen in lately.delivered.items()} if lately else None,
        mail_whole=bool(lately and lately.whole),
        number=None if pin else review.number._asdict(),
        command=command,
    )


def nothing(customer: str) -> Answer:
    """Tell that there is nothing to review."""
    return Answer.done([f"{customer}: nothing is held"], customer=customer, list="", number=None, command="")


def listed(spool: Spool) -> Answer:
    """Tell the lists in history, the one in force first."""
    entries = history.entries(spool.folder)
    lines = [f"{back:2}  {_entry(entry)}" for back, entry in enumerate(entries)]
    records = [_record(back, entry) for back, entry in enumerate(entries)]
    pin = spool.pinned()
    if pin:
        lines.append(f"pinned since {moment(pin.since)} by {shown(pin.by)}, to list {pin.list[:12]}")
    told = lines or ["no list has been in force yet"]
    return Answer.done(told, customer=spool.customer, history=records, pinned=pin and pin._asdict())


def difference(spool: Spool, back: int) -> Answer:
    """Tell who came and who went with one list of history. Raises Refused."""
    entries = history.entries(spool.folder)
    if back + 1 >= len(entries):
        raise Refused(f"the list before number {back} is not kept; history goes {max(0, len(entries) - 1)} back")
    after, before = (kept.recipients(history.text(spool.folder, entries[at].number)) for at in (back, back + 1))
    came, went = sorted(after - before), sorted(before - after)
    lines = [_entry(entries[back]), *_named("+", "came", came, None), *_named("-", "went", went, None)]
    return Answer.done(lines, customer=spool.customer, **_record(back, entries[back]), came=came, went=went)


def _named(sign: str, what: str, names: Sequence[str], lately: Lately | None) -> Iterator[str]:
    """Name them, those with mail first, at most NAMED."""
    delivered = lately.delivered if lately else {}
    if names:
        yield f"{what} ({len(names)}):"
    for name in sorted(names, key=lambda name: (name not in delivered, name))[:NAMED]:
        seen = delivered.get(name)
        mail = f"  has had mail lately: {seen.messages}, the last on {seen.last}" if seen else ""
        yield f"  {sign} {shown(name, 330)}{mail}"
    if len(names) > NAMED:
        yield f"  ... and {len(names) - NAMED} more; --json names them all"


def _mail(lately: Lately | None) -> str:
    if lately is None:
        return "mail log not readable: who of them has had mail lately is not known"
    part = "" if lately.whole else ", as far as the mail log could be read"
    return f"{len(lately.delivered)} of them have had mail through this relay in the last {DAYS} days{part}"


def _entry(entry: Entry) -> str:
    label, origin = entry.kept, entry.kept.origin
    by = hand(origin.key, origin.client, origin.by)
    accepted = f"; accepted by {shown(label.accepted_by)} {moment(label.accepted_when)}" if label.accepted_by else ""
    return f"{label.list[:12]}  {moment(origin.when)}  {label.total} (+{label.added} -{label.removed})  {by}{accepted}"


def _record(back: int, entry: Entry) -> dict[str, Any]:
    label = entry.kept
    fields = {name: value for name, value in label._asdict().items() if name not in ("origin", "domains")}
    return {"back": back, **fields, **label.origin._asdict()}
