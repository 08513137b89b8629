"""Runs on the relay: kind `main.cf`, our members in three lists, and the proof that nobody else's mail notices them.

An edit is one step here, as the operator's connection may die: ask over SMTP, write a journal, edit, reload, ask
again, and put back what changed an answer it should not have. A journal that is there is an edit nobody has proved
yet; the next run takes it up, whatever it was killed at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from deploy.agent import Asked, Failed, Kind, Proof, State
from roles.postfix.there.domains import foreign, open_ours, ours
from roles.postfix.there.members import PARAMETERS, REJECT, TABLE_OF, Setting, members, shown, theirs
from roles.postfix.there.now import ETC, RECORD, record
from roles.postfix.there.postfix import Postfix
from roles.postfix.there.resolver import RELAY, resolve
from roles.postfix.there.smtp import UNKNOWN, ask, endpoint, is_temporary

JOURNAL = f"{ETC}/main.cf.pending"
MOST = 1000  # domains that are asked about; of more, so many, evenly chosen


class Journal(NamedTuple):
    """An edit that is not proved yet: how things were before it."""

    before: Mapping[str, Setting]
    answers: Mapping[str, Answer]  # by address; nobody has these addresses


class Answer(NamedTuple):
    """How the relay takes one address."""

    reply: str  # smtpd's, to RCPT TO
    kind: str  # the class of its domain


def _read(asked: list[Asked]) -> list[State | None]:
    return [_state(Postfix(one.name)) for one in asked]


def _state(postfix: Postfix) -> State | None:
    if not postfix.is_there():
        return None
    return {**shown(postfix.settings()), "reloaded": not os.path.exists(JOURNAL)}


def _make(name: str, wanted: State | None) -> None:
    postfix, edit = Postfix(name), wanted or {}
    journal = _begun() or _begin(postfix)
    _remember(journal, edit)
    try:
        _edit(postfix, edit)
        faults = list(_faults(postfix, journal))
    except (Failed, OSError) as error:
        faults = [str(error)]
    if faults:
        _put_back(postfix, journal, faults)
    _forget(postfix)
    os.unlink(JOURNAL)
    if faults:
        raise Proof("main.cf was edited, did not stand its test and is as it was before:\n" + "\n".join(faults))


# ---- the journal, and the record of what was there before any edit of ours


def _begun() -> Journal | None:
    try:
        with open(JOURNAL, encoding="utf-8") as file:
            fields = json.load(file)
    except FileNotFoundError:
        return None
    before = {name: Setting(*setting) for name, setting in fields["before"].items()}
    return Journal(before, {address: Answer(*answer) for address, answer in fields["answers"].items()})


def _begin(postfix: Postfix) -> Journal:
    """Ask, and write down what is there. Nothing has been changed when this fails."""
    journal = Journal(postfix.settings(), _ask(postfix, _addresses(postfix)))
    _write(JOURNAL, journal._asdict())
    return journal


def _remember(journal: Journal, edit: State) -> None:
    """Record what the edit changes for the first time."""
    known = record()
    now = shown(journal.before)
    first = {name: journal.before[name] for name in PARAMETERS if name not in known and now.get(name) != edit.get(name)}
    if first:
        _write(RECORD, {**first, **known})


def _forget(postfix: Postfix) -> None:
    """Drop from the record what no longer carries anything of ours: it is its owner's again."""
    now = postfix.settings()
    known = {name: setting for name, setting in record().items() if _is_edited(name, now[name], Setting(*setting))}
    if known:
        _write(RECORD, known)
    elif os.path.exists(RECORD):
        os.unlink(RECORD)


def _is_edited(name: str, now: Setting, before: Setting) -> bool:
    return theirs(name, now.value) != members(now.value) if name in TABLE_OF else now != before


def _write(path: str, content: object) -> None:
    draft = f"{path}.draft"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# ---- the edit


def _edit(postfix: Postfix, wanted: State) -> None:
    """Make main.cf so, and in force. Parameters not named are unset."""
    now = shown(postfix.settings())
    postfix.edit({name: wanted.get(name) for name in PARAMETERS if now.get(name) != wanted.get(name)})
    postfix.reload()


def _put_back(postfix: Postfix, journal: Journal, faults: list[str]) -> None:
    try:
        _edit(postfix, shown(journal.before))
    except (Failed, OSError) as error:
        why = "\n".join(faults)
        raise Failed(
            f"main.cf did not stand its test and could not be put back ({error}); run it again:\n{why}"
        ) from error


# ---- the proof


def _addresses(postfix: Postfix) -> list[str]:
    """Make up addresses that nobody has: in relay domains of others, in ours, and in domains below ours."""
    word = "q" + os.urandom(12).hex()
    below = [f"{word}.{domain}" for domain in ours()]
    others = [f"{word}{domain}" if domain.startswith(".") else domain for domain in foreign(postfix)]
    domains = [*others, *below, *ours()]
    return [f"{word}@{domain}" for domain in domains[:: len(domains) // MOST + 1]]


def _ask(postfix: Postfix, addresses: list[str]) -> dict[str, Answer]:
    replies, found = ask(endpoint(postfix), addresses), resolve(postfix, addresses)
    return {address: Answer(replies[address], found[address].kind) for address in addresses}


def _faults(postfix: Postfix, journal: Journal) -> Iterator[str]:
    """Tell what is not as it should be now, a line each."""
    here, anyone, code = set(ours()), open_ours(), postfix.value(REJECT)
    for address, after in _ask(postfix, list(journal.answers)).items():
        before, domain = journal.answers[address], address.partition("@")[2]
        if domain not in here:
            if not _is_same(before, after):
                yield f"{domain} is not ours, and an unlisted address in it was {_said(before)}, now {_said(after)}"
        elif not _is_right(before, after, "250" if domain in anyone else code):
            wanted = "taken, as all its addresses are listed" if domain in anyone else f"refused with {code}"
            yield f"an unlisted address in {domain} must be {wanted}; before it was {_said(before)}, now {_said(after)}"


def _is_same(before: Answer, after: Answer) -> bool:
    """Tell whether others notice nothing. A moment's trouble may be over; saying unknown in another code is meant."""
    over = is_temporary(before.reply) and after.reply.startswith("2")
    unknown = UNKNOWN in before.reply and UNKNOWN in after.reply
    return before.kind == after.kind and (over or unknown or before.reply[:9] == after.reply[:9])


def _is_right(before: Answer, after: Answer, code: str) -> bool:
    """Tell whether a domain of ours answers from our tables; trouble that was there before us is not ours."""
    trouble = is_temporary(after.reply) and before.reply[:9] == after.reply[:9]
    return after.kind == RELAY and (after.reply.startswith(code) or trouble)


def _said(answer: Answer) -> str:
    return f"answered {answer.reply!r} (domain class: {answer.kind})"


KINDS = {"main.cf": Kind(_read, _make)}
