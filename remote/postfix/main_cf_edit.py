"""Runs on the relay: kind `main.cf`, our members and values, edited so that no other domain's mail is affected.

An edit is one step here, because the operator's connection may break: ask over SMTP, write a journal, edit, reload, ask
again, and take the edit back if it changed an answer that it should not. A journal that is still there means an edit
that is not proved yet; the next run goes on with it, wherever it was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from common.main_cf_params import (
    LISTS,
    PARAMETERS,
    RECIPIENTS,
    Setting,
    format_setting,
    members,
    without_ours_members,
)
from common.paths import PLACES
from remote.files import replace, tidy
from remote.main import Failed, Kind, ProofFailed, Request, State
from remote.postfix.gather_facts import RECORD, read_record
from remote.postfix.instance import Postfix
from remote.postfix.main_cf_backup import keep_original, restore_original
from remote.postfix.main_cf_check import Answer, Answers, ask_domains, check_tables, find_faults
from remote.postfix.main_cf_file import tidy_main_cf
from remote.postfix.outsider import Way, find_way

JOURNAL = f"{PLACES.etc}/main.cf.pending"


class Journal(NamedTuple):
    """An edit that is not proved yet: how things were before it."""

    before: Mapping[str, Setting]
    answers: Answers
    way: Way | None = None  # how they were asked for, where this run asked


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(Postfix(one.name)) for one in asked]


def _state(postfix: Postfix) -> State | None:
    if not postfix.is_there():
        return None
    return {**format_setting(postfix.settings()), "reloaded": not os.path.exists(JOURNAL)}


def _make(name: str, wanted: State | None) -> None:
    postfix, edit = Postfix(name), wanted or {}
    journal = _resume(postfix) or _start(postfix, edit)
    _remember(postfix, journal, edit)
    try:
        _edit(postfix, edit)
        found = list(find_faults(postfix, journal.way or find_way(postfix), journal.answers))
    except (Failed, OSError) as error:
        found = [str(error)]
    if found:
        _put_back(postfix, journal, found)
    _forget(postfix)
    os.unlink(JOURNAL)
    if found:
        raise ProofFailed("main.cf was edited, did not stand its test and is as it was before:\n" + "\n".join(found))


# ---- the journal, and the record of what was there before any edit of ours


def _resume(postfix: Postfix) -> Journal | None:
    """Return the journal of a killed edit. What somebody changed by hand since then is not put back."""
    try:
        with open(JOURNAL, encoding="utf-8") as file:
            fields = json.load(file)
    except FileNotFoundError:
        return None
    before, now = {name: Setting(*setting) for name, setting in fields["before"].items()}, postfix.settings()
    for name in LISTS:
        if without_ours_members(name, before[name].value) != without_ours_members(name, now[name].value):
            before[name] = now[name]
    return Journal(before, {address: Answer(*answer) for address, answer in fields["answers"].items()})


def _start(postfix: Postfix, edit: State) -> Journal:
    """Ask the relay and write the journal. Nothing has been changed when this fails."""
    way = find_way(postfix)
    journal = Journal(postfix.settings(), ask_domains(postfix, way), way)
    check_tables(postfix, journal.answers, not members(journal.before[RECIPIENTS].value), edit)
    _keep(JOURNAL, {"before": journal.before, "answers": journal.answers})
    return journal


def _remember(postfix: Postfix, journal: Journal, edit: State) -> None:
    """Record what the edit changes for the first time."""
    known = read_record()
    now = format_setting(journal.before)
    first = {name: journal.before[name] for name in PARAMETERS if name not in known and now.get(name) != edit.get(name)}
    if first and not known:
        keep_original(postfix.directory)
    if first:
        _keep(RECORD, {**first, **known})


def _forget(postfix: Postfix) -> None:
    """Remove parameters from the record that have nothing of ours any more."""
    now = postfix.settings()
    known = {name: setting for name, setting in read_record().items() if _is_edited(name, now[name], Setting(*setting))}
    if known:
        _keep(RECORD, known)
    elif os.path.exists(RECORD):
        restore_original(postfix.directory)
        os.unlink(RECORD)


def _is_edited(name: str, now: Setting, before: Setting) -> bool:
    return without_ours_members(name, now.value) != members(now.value) if name in LISTS else now != before


def _keep(path: str, content: object) -> None:
    replace(path, json.dumps(content, indent=2).encode(), 0o644)


def _tidy(names: list[str]) -> None:
    tidy([RECORD])
    for directory in names:
        tidy_main_cf(directory)


# ---- the edit


def _edit(postfix: Postfix, wanted: State) -> None:
    """Edit main.cf and reload Postfix. Parameters that are not named are unset."""
    now = format_setting(postfix.settings())
    postfix.edit({name: wanted.get(name) for name in PARAMETERS if now.get(name) != wanted.get(name)})
    postfix.reload()


def _put_back(postfix: Postfix, journal: Journal, found: list[str]) -> None:
    try:
        _edit(postfix, format_setting(journal.before))
    except (Failed, OSError) as error:
        why = "\n".join(found)
        raise Failed(
            f"main.cf did not stand its test and could not be put back ({error}); run it again:\n{why}"
        ) from error


KINDS = {"main.cf": Kind(_read, _make, _tidy)}
