"""What follows from all that relays say of an address: the line of the inventory that matters, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from inventory.lines import find_line
from inventory.model import Customer
from receiver.formatting import escape
from receiver.upload.address_rules import EXCLUDED, listed_form, reason_left_out
from receiver.upload.recipient_types import KINDS
from receiver.views.explain import explain_lines
from roles import relay as relay_role

_LONGEST = 330  # characters of an address
_LINE = 160  # of a line of the inventory


class AddressState(NamedTuple):
    """What one relay answers about an address, and what follows from it."""

    record: Mapping[str, Any] | None  # of `postern explain`; None: it could not be asked
    mail: Mapping[str, Any]  # what its Postfix does with it
    problem: str = ""  # why there is no record
    lines: tuple[str, ...] = ()  # for a person
    advice: tuple[str, ...] = ()  # what a person should do; nothing: its mail is taken


def mail_parts(mail: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a relay's Postfix does with an address."""
    if mail.get("answer"):
        yield f"answers {escape(mail['caller'])} `{escape(mail['answer'], 300)}`"
    if mail.get("member"):
        yield f"{escape(mail['member'])} knows {escape(mail['key'], _LONGEST)}"
    elif "member" in mail:
        yield "no member of relay_recipient_maps knows it"
    if mail.get("route"):
        yield f"mail for it goes to {escape(mail['route'])}"
    yield from (escape(problem) for problem in mail.get("problems", ()))


def describe(customer: Customer, address: str, state: AddressState, where: Path) -> AddressState:
    """Return the state with its lines and advice. Raises what an answer that is nonsense does."""
    record = state.record
    if record is None:
        return state._replace(lines=(f"how it is listed is not known: {state.problem}", *mail_parts(state.mail)))
    advice = [*_damaged(customer, record), *(_refused_though_taken(customer, state.mail) if is_taken(record) else ())]
    without_tag = taken_without_tag(record, state.mail)
    if not is_taken(record) and not without_tag:
        advice += _advise_unlisted(customer, address, record, where)
    lines = [*explain_lines(record), *mail_parts(state.mail), *_kept_answers(record, state.mail)]
    if without_tag:
        lines.append(f"taken with its tag: recipient_delimiter of this relay makes it {escape(without_tag, _LONGEST)}")
    return state._replace(lines=tuple(lines), advice=tuple(advice))


def is_taken(record: Mapping[str, Any]) -> bool:
    """Return whether a relay that says this should take the address."""
    plus = record["plus"]
    with_tag = bool(plus and plus["is_listed"] and plus["is_taken"])
    stands_in = bool(record.get("left_out_of_tables") and record["in_table"])  # root's copy has it
    return bool(record["listed"]) or record["domain_is"] != "closed" or with_tag or stands_in


def taken_without_tag(record: Mapping[str, Any], mail: Mapping[str, Any]) -> str:
    """Return the address by which a relay takes one that no list has with its tag; empty: it does not, by its answer.

    Postfix looks an address up without its extension as well, at any of recipient_delimiter, whatever plus_addresses
    says; an answer of a restriction before that is another one.
    """
    key = str(mail.get("key") or "")
    is_shorter = bool(mail.get("member")) and not key.startswith("@") and key != record["address"]
    return key if is_shorter and str(mail.get("answer", "")).startswith("2") else ""


def advise(customer: Customer, states: Mapping[str, AddressState]) -> list[str]:
    """Return what a person should do, the most likely first; never nothing."""
    records = [one.record for one in states.values() if one.record]
    if not records:
        return [f"no relay could say how it is listed: ask again, or `inv provision {customer.id}` where one is old"]
    found = [line for one in states.values() for line in one.advice]
    if len({is_taken(record) for record in records}) > 1:
        behind = f"`inv status {customer.id}` says which are behind, and the next upload mends it"
        found.insert(0, f"relays do not list the same: {behind}")
    return list(dict.fromkeys(found)) or list(_advise_listed(customer, records[0]))


def _damaged(customer: Customer, record: Mapping[str, Any]) -> Iterator[str]:
    if record.get("left_out_of_tables"):
        yield (
            f"the customer's files on a relay are not in its tables as they stand: `inv status {customer.id}` says "
            "more, and the next upload replaces its list"
        )


def _kept_answers(record: Mapping[str, Any], mail: Mapping[str, Any]) -> Iterator[str]:
    """Yield where Postfix keeps the server's answers, and how old a no may be, where the server is asked."""
    kept = mail.get("kept_answers")
    if record["unlisted"] == "ask" and kept:
        again, longest = escape(kept["refresh"]), escape(kept["expire"])
        yield (
            f"the server's answers are kept in {escape(kept['map'])}: a no that is older than {again} is asked again, "
            f"once the next sender has been told it; none is older than {longest}"
        )


def _refused_though_taken(customer: Customer, mail: Mapping[str, Any]) -> Iterator[str]:
    answer = str(mail.get("answer", ""))
    if answer.startswith("5"):
        yield f"a relay refuses it though it should take it, and says why; `inv verify {customer.id}` asks about more"
    elif answer.startswith("4"):
        yield "a relay puts it off, and says why; senders try again"


def _advise_unlisted(customer: Customer, address: str, record: Mapping[str, Any], where: Path) -> Iterator[str]:
    held, removed, left_out = record["held"], record["removed"], record["left_out"]
    if held and held["has_it"]:
        waits = f"`inv review {customer.id}`" if held["reasons"] else f"`inv resume {customer.id}`"
        yield f"the list that waits has it: {waits}"
    if record["excluded"] or (left_out and left_out["reason"] == EXCLUDED):
        yield from _excluded_by(customer, address, where)
    elif left_out and left_out["reason"] in KINDS:
        yield from _kind_left_out(customer, left_out["reason"], where)
    elif left_out:
        yield f"mend the address at the customer's server, as it is exported: {escape(left_out['reason'])}"
    if removed and not removed["is_brought_back"]:
        yield _removed_by(customer, removed)
    if record["plus"] and record["plus"]["is_listed"] and not record["plus"]["is_taken"]:
        yield f"`plus_addresses = true` in customers/{customer.id}.toml takes it with its tag"
    yield _include(customer, address)


def _excluded_by(customer: Customer, address: str, where: Path) -> Iterator[str]:
    settings = relay_role.settings(customer)
    name = listed_form(address, settings)
    patterns = (
        pattern
        for pattern in settings.exclude
        if reason_left_out(f"smtp:{name}", settings._replace(exclude=(pattern,))) == EXCLUDED
    )
    pattern = next(patterns, "")
    line = find_line(where, customer.id, "exclude", pattern)
    says = f" ({escape(line, _LINE)})" if line else ""
    way = f"without that, `inv provision {customer.id}` and the next upload list it"
    yield f"`exclude` of the customer leaves it out{says}: {way}"


def _kind_left_out(customer: Customer, kind: str, where: Path) -> Iterator[str]:
    key = kind.replace(" ", "_")
    line = find_line(where, customer.id, key)
    says = f"{escape(line, _LINE)}" if line else f"customers/{customer.id}.toml does not say otherwise"
    way = f"`{key} = true` in its [exchange.take], `inv provision {customer.id}` and the next upload list it"
    yield f"{escape(kind)} are left out ({says}): {way}"


def _removed_by(customer: Customer, removed: Mapping[str, Any]) -> str:
    undo = f"`inv rollback {customer.id} --entry {escape(removed['entry'])}` lists all again whom that entry removed"
    if removed["is_by_person"]:
        return f"{escape(removed['accepted_by'] or 'a person')} accepted that it goes: if that was wrong, {undo}"
    return f"nobody has accepted that it goes: if that was wrong, {undo}"


def _include(customer: Customer, address: str) -> str:
    name = escape(address, _LONGEST)
    return (
        f'ask whether {name} exists; if so the export lacks it: until that is mended, `include = ["{name}"]` in '
        f"customers/{customer.id}.toml and `inv provision {customer.id}`; if not, nothing"
    )


def _advise_listed(customer: Customer, record: Mapping[str, Any]) -> Iterator[str]:
    held = record["held"]
    if record["domain_is"] == "open":
        yield f"nothing for this address; the domain is open until a list is accepted: `inv status {customer.id}`"
    elif record["domain_is"] == "partial":
        yield "nothing: the domain is partial, and nobody in it is refused here"
    elif held and held["reasons"] and not held["has_it"] and record["listed"] == "list":
        yield f"it stays listed until somebody accepts the list that waits: `inv review {customer.id}`"
    elif record["removed"] and record["removed"]["is_brought_back"]:
        yield f"nothing: it was brought back; when an upload that lacks it is held, `inv review {customer.id}`"
    else:
        yield "nothing here: its mail is taken. If it does not arrive, look where mail for it goes"
