"""What `postern` on several relays answered: checked, and printed so that equal answers stand there once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from console.grouping import group_names, name_some
from deploy.plan import HostError

SHAPELESS = "it is not of the shape that an answer of `postern` has"


class RelayAnswer(NamedTuple):
    """What `postern` on one relay answered."""

    code: int
    record: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The answer as people read it."""
        return "\n".join(self.record.get("lines") or [str(self.record.get("line", ""))])


Answer: TypeAlias = RelayAnswer | HostError | Refused
Answers: TypeAlias = Mapping[str, Answer]


def given_answers(answers: Answers) -> dict[str, RelayAnswer]:
    """Return the answers without the relays that gave none."""
    return {name: answer for name, answer in answers.items() if isinstance(answer, RelayAnswer)}


def done_answers(answers: Answers) -> dict[str, RelayAnswer]:
    """Return the answers that say what was asked, without the relays that gave none or said why they cannot."""
    return {name: answer for name, answer in given_answers(answers).items() if answer.code == exit_codes.DONE}


def add_failed(before: Answers, after: Answers) -> Answers:
    """Return the later answers, and what relays said that failed before and were not asked again."""
    said = done_answers(before)
    return {**{name: failed for name, failed in before.items() if name not in said}, **after}


def check_shape(record: Any) -> Mapping[str, Any]:
    """Return an answer whose fields have the right types; a relay may send anything. Raises ValueError."""
    if not isinstance(record, dict):
        raise ValueError(SHAPELESS)
    wrong = [name for name in ("line", "list", "command") if not isinstance(record.get(name, ""), str)]
    texts, history = record.get("lines") or [], record.get("history") or []
    if wrong or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(SHAPELESS)
    listed = [each for name in ("held", "pinned") if (each := record.get(name)) not in (None, True, False)]
    if not isinstance(history, list) or not all(_names_a_list(each) for each in (*listed, *history)):
        raise ValueError(SHAPELESS)
    log = record.get("log") or []
    if not isinstance(log, list) or not all(_is_log_entry(each) for each in log):
        raise ValueError(SHAPELESS)
    return record


def _is_log_entry(fields: object) -> bool:
    return isinstance(fields, dict) and all(isinstance(fields.get(name), str) for name in ("entry", "list", "before"))


def _names_a_list(fields: object) -> bool:
    return isinstance(fields, dict) and isinstance(fields.get("list"), str) and isinstance(fields.get("back", 0), int)


def print_answers(answers: Answers, as_json: bool = False) -> int:
    """Print what each relay answered; return the worst exit code."""
    given = given_answers(answers)
    if as_json:
        terminal.print_document(_document(answers))
    else:
        _print_texts(given)
    return exit_codes.worst([*print_failures([answers]), *(one.code for one in given.values())])


def print_all(answers: Mapping[str, Answers], as_json: bool, quiet: str = "") -> int:
    """Print the answers about each customer; return the worst exit code. `quiet`: a text that is only counted."""
    given = {customer: given_answers(each) for customer, each in answers.items()}
    if as_json:
        terminal.print_document({customer: _document(each) for customer, each in answers.items()})
    else:
        _print_customers(given, quiet)
    codes = (one.code for each in given.values() for one in each.values())
    return exit_codes.worst([*print_failures(answers.values()), *codes])


def print_failures(several: Iterable[Answers]) -> list[int]:
    """Print why relays gave no answer, one reason of a relay once; return the exit codes."""
    failed = {(name, str(one)): one for each in several for name, one in each.items() if isinstance(one, Exception)}
    return [terminal.print_result(name, one) for (name, _), one in failed.items()]


def _print_customers(given: Mapping[str, Mapping[str, RelayAnswer]], quiet: str) -> None:
    quiet_ones = []
    for customer, each in given.items():
        if quiet and each and all(quiet in one.text for one in each.values()):
            quiet_ones.append(customer)
        elif each:
            terminal.say(f"{customer}:", "bold")
            _print_texts(each)
    if quiet_ones:
        terminal.say(f"{name_some(quiet_ones)}: {quiet}")


def _print_texts(given: Mapping[str, RelayAnswer]) -> None:
    for text, names in group_names((name, one.text) for name, one in given.items()).items():
        terminal.print_answer(names, text)


def _document(answers: Answers) -> dict[str, Mapping[str, Any]]:
    """Return each relay's record by its name, or why there is none."""
    return {
        name: one.record if isinstance(one, RelayAnswer) else {"code": code_of(one), "error": str(one)}
        for name, one in answers.items()
    }
