"""One review of a held list, made from what all relays of a customer answer; the relays keep its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from common import exit_codes
from deploy.plan import HostError
from fleet import relay_cli
from fleet.relay_answers import Answer, Answers, RelayAnswer, given_answers
from fleet.relay_cli import CustomerRelays
from receiver.actions.review import describe_record
from receiver.formatting import escape, format_time
from receiver.lists.review_record import ListEffect, MailSeen, ReviewRecord, encode_record, shown_as_listed, unite_mail
from receiver.views.review import review_lines

_OLD = "its release of Postern keeps no record of a review; `inv provision {}` comes before `inv accept`"


class RelayReview(NamedTuple):
    """The held list of one relay."""

    list: str  # SHA-256
    when: int  # when its upload came
    total: int
    in_force: int  # recipients there
    coming: frozenset[str]
    effect: ListEffect
    is_frozen: bool  # uploads do not take effect
    next_hop: str  # what keeps mail that was taken from being a proof; empty: nothing
    record: Mapping[str, Any]  # all that the relay said

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> RelayReview:
        """Return a review from a relay's answer. Raises KeyError, TypeError, ValueError for another shape."""
        going, closing, first, always, coming = (
            frozenset(map(str, record[name])) for name in ("going", "closing", "first", "always", "coming")
        )
        effect = ListEffect(going, closing, first, always, bool(record["takes_plus"]))
        when, total, in_force = (int(record[name]) for name in ("when", "total", "in_force"))
        frozen, next_hop = bool(record["pinned"]), str(record["next_hop"])
        return cls(str(record["list"]), when, total, in_force, coming, effect, frozen, next_hop, record)


class RelayMail(NamedTuple):
    """Who had mail on one relay."""

    mail: Mapping[str, MailSeen]
    unseen: str  # why there may have been more; empty: all was seen

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> RelayMail:
        """Return the mail in an answer to `refusals`. Raises KeyError, TypeError, ValueError, AttributeError."""
        last, waiting = record["had_mail"], record["waiting"]
        mail = {
            str(name): MailSeen(max(str(last.get(name, "")), str(waiting.get(name, ""))), int(days))
            for name, days in record["mail_days"].items()
        }
        return cls(mail, str(record["incomplete"]))


def ask_for_reviews(scopes: Sequence[CustomerRelays]) -> dict[str, Answers]:
    """Return what the relays answer about each customer, with one review where a list is held and recorded.

    Every relay is asked who had mail, those on which nothing is held too.
    """
    said = {id_: check(answers) for id_, answers in relay_cli.ask_customers(scopes, "review").items()}
    holding = [scope for scope in scopes if _holding_answers(said[scope.customer.id])]
    mails = relay_cli.ask_customers(holding, "refusals") if holding else {}
    united = {
        scope.customer.id: unite(scope.customer.id, said[scope.customer.id], mails[scope.customer.id])
        for scope in holding
    }
    records = {id_: encode_record(record) for id_, record in united.items() if record}
    noting = [_relays_that_know(scope, said[scope.customer.id]) for scope in holding if scope.customer.id in records]
    noted = relay_cli.ask_customers(noting, "record-review", stdin=records) if noting else {}
    return {
        id_: with_review(id_, answers, united.get(id_), noted.get(id_, {})) if id_ in mails else answers
        for id_, answers in said.items()
    }


def _holding_answers(answers: Answers) -> dict[str, RelayAnswer]:
    return {name: said for name, said in given_answers(answers).items() if said.record.get("list")}


def _is_known(said: Answer) -> bool:
    """Return whether the answer is of a release that keeps records of reviews."""
    return isinstance(said, RelayAnswer) and said.code == exit_codes.DONE and "numbers" in said.record


def _relays_that_know(scope: CustomerRelays, answers: Answers) -> CustomerRelays:
    return scope.restrict([name for name, said in answers.items() if _is_known(said)])


def unite(customer: str, answers: Answers, mails: Answers) -> ReviewRecord | None:
    """Return one review of all relays. None: no relay that holds a list keeps records, or uploads are frozen."""
    held = [RelayReview.read(said.record) for said in _holding_answers(answers).values() if _is_known(said)]
    if not held or any(each.is_frozen for each in held):
        return None
    newest = max(held, key=lambda each: each.when)
    mail = mail_of(mails)
    effects = [each.effect for each in held]
    return ReviewRecord(
        newest.list,
        newest.total,
        len(_union(effect.listed for effect in effects)),
        len(_union(each.coming for each in held)),
        _union(effect.going for effect in effects),
        _union(effect.closing for effect in effects),
        shown_as_listed(effects),
        {name: each for name, each in mail.items() if any(effect.refuses(name) for effect in effects)},
        (*unseen_of(mails), *_unrecorded(customer, answers)),
        len(answers),
    )


def _union(sets: Iterator[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def unseen_of(answers: Answers) -> list[str]:
    """Return of which relays it is not known who had mail, and why, by their answers to `refusals`."""
    mails = {name: _read_mail(said) for name, said in answers.items()}
    return [f"{name}: {mail.unseen}" for name, mail in mails.items() if mail.unseen]


def mail_of(answers: Answers) -> dict[str, MailSeen]:
    """Return who had mail on any of the relays, by their answers to `refusals`; one that gave none saw none."""
    return unite_mail([_read_mail(said).mail for said in answers.values()])


def _read_mail(said: Answer) -> RelayMail:
    if not isinstance(said, RelayAnswer):
        return RelayMail({}, str(said))
    if said.code != exit_codes.DONE:
        return RelayMail({}, said.text or "it does not say who had mail")
    try:
        return RelayMail.read(said.record)
    except (LookupError, TypeError, ValueError, AttributeError):
        return RelayMail({}, "what it says of its mail log cannot be understood")


def _unrecorded(customer: str, answers: Answers) -> Iterator[str]:
    for name, said in _holding_answers(answers).items():
        if not _is_known(said):
            yield f"{name}: {_OLD.format(customer)}"


def with_review(customer: str, answers: Answers, record: ReviewRecord | None, noted: Answers) -> Answers:
    """Return each relay's answer with the review, where it holds a list, or why it could not record the review."""
    lines = _review_lines(answers, record, noted) if record else []
    return {name: _with_review(customer, said, record, lines, noted.get(name)) for name, said in answers.items()}


def _with_review(
    customer: str, said: Answer, record: ReviewRecord | None, lines: Sequence[str], noted: Answer | None
) -> Answer:
    if noted is not None and (not isinstance(noted, RelayAnswer) or noted.code != exit_codes.DONE):
        return noted
    if not isinstance(said, RelayAnswer) or not said.record.get("list"):
        return said
    if not _is_known(said):
        text = [*(said.record.get("lines") or [])[:-1], _OLD.format(customer)]
        return said._replace(record={**said.record, "command": "", "lines": text})
    if record is None:
        return said
    command = record.command(customer)
    return said._replace(record={**said.record, **describe_record(record), "command": command, "lines": [*lines]})


def _review_lines(answers: Answers, record: ReviewRecord, noted: Answers) -> list[str]:
    """Return the lines of the review of all relays."""
    held = {name: RelayReview.read(said.record) for name, said in _holding_answers(answers).items() if _is_known(said)}
    newest = max(held.values(), key=lambda each: each.when)
    customer = str(newest.record["customer"])
    view = {
        **newest.record,
        **describe_record(record),
        "first": sorted(_union(each.effect.listed for each in held.values())),
        "coming": sorted(_union(each.coming for each in held.values())),
        "going": sorted(record.going),
        "closing": sorted(record.closing),
        "in_force": max(each.in_force for each in held.values()),
        "next_hop": next((each.next_hop for each in held.values() if each.next_hop), ""),
        "others": [
            *(
                f"{name} holds another list, of {format_time(each.when)}: there accept takes that list"
                for name, each in held.items()
                if each.list != newest.list
            ),
            *(
                f"{name} could not record this review in the store, "
                f"and a relay that was not asked cannot accept by it: {escape(str(said.record['unshared']), 300)}"
                for name, said in given_answers(noted).items()
                if said.record.get("unshared")
            ),
        ],
        "command": record.command(customer),
    }
    return review_lines(view)


def check(answers: Answers) -> Answers:
    """Return the answers, with an error instead of each review of another shape."""
    return {name: _check_answer(said) for name, said in answers.items()}


def _check_answer(said: Answer) -> Answer:
    if not _is_known(said) or not isinstance(said, RelayAnswer) or not said.record.get("list"):
        return said
    try:
        review_lines({**said.record, "others": []})
        RelayReview.read(said.record)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return HostError(f"what it answers cannot be understood ({type(error).__name__}: {error})")
    return said
