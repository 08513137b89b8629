"""The lines that `explain` and `find` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from receiver.formatting import count, escape, format_actor, format_time, sort_by_count

_ADDRESS = 330  # characters
_LISTED = {
    "include": "LISTED by `include`, whatever the exports say",
    "postmaster": "LISTED, as postmaster@ of every domain is",
}
_UNLISTED = {
    "refuse": "is refused",
    "defer": "is put off (450), as `unlisted` says",
    "ask": "is asked about at the customer's own server, whose answers Postfix keeps for a while",
}
_PUT_OFF = "is put off (450) for now, as the customer's own server refuses to be asked"


def explain_lines(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that is known of the address: the list first, then domain, export and mail."""
    return [
        _listed_line(record),
        *_left_out_of_tables(record),
        *_removed_lines(record),
        *_plus(record),
        *_left_out(record),
        *_held(record),
        _domain(record),
        *_mail(record),
        *_tables(record),
    ]


def find_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the addresses that were found, and how many there are."""
    found = record["found"]
    more = record["total"] - len(found)
    counts = f"{record['customer']}: {record['total']} of {record['listed']} have {escape(record['pattern'])}"
    return [counts, *(f"  {escape(name, _ADDRESS)}" for name in found), *([f"  ... and {more} more"] if more else [])]


def _listed_line(record: Mapping[str, Any]) -> str:
    if record["listed"] != "list":
        return _LISTED.get(record["listed"], "NOT LISTED")
    since = record["since"]
    if not since:
        return "LISTED"
    before = "already on the oldest list that is kept, of" if since["at_least"] else "since"
    brought = f"brought by {_format_origin(since)}; entry {escape(since['entry'])}"
    return f"LISTED, {before} {format_time(since['when'])}, {brought}"


def _left_out_of_tables(record: Mapping[str, Any]) -> Iterator[str]:
    why = record.get("left_out_of_tables")  # a relay of an older release does not say
    if why:
        yield f"the relay's tables are not of its files as they stand: {escape(why, 400)}"


def _removed_lines(record: Mapping[str, Any]) -> Iterator[str]:
    removed = record["removed"]
    if not removed:
        return
    entry = escape(removed["entry"])
    how = f"by {_format_origin(removed)}; entry {entry}" if removed["key"] or removed["by"] else f"by entry {entry}"
    if removed["is_brought_back"]:
        yield f"removed {how}, and brought back by a rollback: it stays until a person accepts that it goes"
    else:
        yield f"removed on {format_time(removed['when'])} {how}"


def _plus(record: Mapping[str, Any]) -> Iterator[str]:
    plus = record["plus"]
    if plus and plus["is_listed"] and record["listed"] != "list":
        base = escape(plus["base"], _ADDRESS)
        if plus["is_taken"]:
            yield f"with its tag it is taken, as {base} is listed"
        else:
            yield f"{base} is listed; plus_addresses does not say that it is taken with a tag"


def _left_out(record: Mapping[str, Any]) -> Iterator[str]:
    left_out = record["left_out"]
    if left_out:
        value, reason = escape(left_out["value"]), escape(left_out["reason"])
        yield f"the last export has it as `{value}`, and it was left out: {reason}"
    elif record["excluded"]:
        yield "`exclude` leaves it out of every export"


def _held(record: Mapping[str, Any]) -> Iterator[str]:
    held, frozen = record["held"], record["pinned"]
    if held:
        has = "has it" if held["has_it"] else "lacks it"
        why = "; ".join(escape(reason) for reason in held["reasons"]) or "the list in force is frozen"
        yield f"a list waits since {format_time(held['since'])} ({why}), and {has}"
    if frozen:
        yield f"frozen since {format_time(frozen['since'])} by {escape(frozen['by'])}: uploads do not take effect"


def _domain(record: Mapping[str, Any]) -> str:
    domain, state = record["domain"], record["domain_is"]
    when = record["last_good"]
    good = f"last good list {format_time(when)}" if when else "no list of it counts as accepted"
    unlisted = _PUT_OFF if record.get("put_off") else _UNLISTED.get(record["unlisted"], "is refused")
    says = {
        "open": f"OPEN: nobody in it is refused; {good}",
        "partial": "partial: nobody in it is refused, as mailboxes are elsewhere too",
        "closed": f"closed: who is not listed {unlisted}; {good}",
    }
    return f"{domain} is {says[state]}"


def _mail(record: Mapping[str, Any]) -> Iterator[str]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sort_by_count(record["refused"]))
    days = record["refused_days"]
    refused = f"refused: {kinds}, on {count(len(days), 'day')}, the last {days[-1]}" if days else "not refused"
    mail = f"last mail delivered on {record['had_mail']}" if record["had_mail"] else "no mail delivered"
    waits = f"; mail waits since {record['waiting']}" if record["waiting"] else ""
    since = f" since {record['log_since']}, says the mail log" if record["log_since"] else ": the log is not read yet"
    yield f"{refused}; {mail}{waits}{since}"


def _tables(record: Mapping[str, Any]) -> Iterator[str]:
    says = {True: "in the built table", False: "not in the built table", None: "the built table cannot be read"}
    yield says[record["in_table"]]


def _format_origin(fields: Mapping[str, Any]) -> str:
    who = format_actor(fields["key"], fields["client"], fields["by"])
    return f"{who}, accepted by {escape(fields['accepted_by'])}" if fields["accepted_by"] else who
