"""The desk of each of a customer's relays: asked the same side by side; answers that are alike are printed once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import inventory
from common import exit_codes
from console import terminal
from console.errors import Refused
from deploy.plan import HostError
from fleet.relays import connect, relays_of, run_parallel, select_customers
from inventory.model import Customer, Relay

POSTERN = "/usr/local/sbin/postern"
_SHAPELESS = "it is not of the shape that a desk's answer has"
MOST = 64 << 20  # bytes of an answer: a review names everybody


class RelayAnswer(NamedTuple):
    """What the desk of one relay answered."""

    code: int
    record: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The answer as it is told to people."""
        return "\n".join(self.record.get("lines") or [str(self.record.get("line", ""))])


Answer: TypeAlias = RelayAnswer | HostError | Refused
Answers: TypeAlias = Mapping[str, Answer]


class CustomerRelays(NamedTuple):
    """A customer, and the relays to be asked about it."""

    customer: Customer
    relays: tuple[Relay, ...]

    @classmethod
    def of(cls, customer: str) -> CustomerRelays:
        """Look a customer up. Raises InventoryError, Refused."""
        everything = inventory.load(inventory.inventory_path())
        (one,) = select_customers(everything, customer, every=False)
        return cls(one, relays_of(everything, [one]))


def ask_relays(place: CustomerRelays, doing: str, verb: str, *words: str, stdin: bytes = b"") -> Answers:
    """Ask the desk of each of the relays."""

    def one(relay: Relay) -> RelayAnswer:
        with connect(relay) as host:
            done = host.run(POSTERN, verb, place.customer.id, *words, "--json", stdin=stdin, most=MOST)
            try:
                return RelayAnswer(done.code, shaped(json.loads(done.out)))
            except (ValueError, RecursionError):
                raise HostError(_no_answer(done.code, done.err, place.customer.id)) from None

    return run_parallel(place.relays, one, doing)


def shaped(record: Any) -> Mapping[str, Any]:
    """Return an answer of which what is used here has the right shape: it may be anybody's work. Raises ValueError."""
    if not isinstance(record, dict):
        raise ValueError(_SHAPELESS)
    wrong = [name for name in ("line", "list", "command") if not isinstance(record.get(name, ""), str)]
    texts, history = record.get("lines") or [], record.get("history") or []
    if wrong or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(_SHAPELESS)
    listed = [record.get(name) or {"list": ""} for name in ("held", "pinned")]
    if not isinstance(history, list) or not all(_names_a_list(each) for each in (*listed, *history)):
        raise ValueError(_SHAPELESS)
    log = record.get("log") or []
    if not isinstance(log, list) or not all(_is_log_entry(each) for each in log):
        raise ValueError(_SHAPELESS)
    return record


def _is_log_entry(fields: object) -> bool:
    return isinstance(fields, dict) and all(isinstance(fields.get(name), str) for name in ("entry", "list", "before"))


def _names_a_list(fields: object) -> bool:
    return isinstance(fields, dict) and isinstance(fields.get("list"), str) and isinstance(fields.get("back", 0), int)


def print_answers(answers: Answers, as_json: bool = False) -> int:
    """Print what each relay said; give the worst exit code."""
    said = given_answers(answers)
    if as_json:
        terminal.document({name: answer.record for name, answer in said.items()})
    else:
        for text in dict.fromkeys(answer.text for answer in said.values()):
            terminal.answer([name for name, answer in said.items() if answer.text == text], text)
    failed = [
        terminal.print_result(name, answer) for name, answer in answers.items() if not isinstance(answer, RelayAnswer)
    ]
    return exit_codes.worst([*failed, *(answer.code for answer in said.values())])


def given_answers(answers: Answers) -> dict[str, RelayAnswer]:
    """Leave out the relays that gave no answer."""
    return {name: answer for name, answer in answers.items() if isinstance(answer, RelayAnswer)}


def _no_answer(code: int, err: str, customer: str) -> str:
    if code in (126, 127):
        return f"Postern is not set up there; `inv provision {customer}` does it"
    return f"the desk there gave no answer and ended with {code}: {err.strip()[-500:]}"


def common_list(names: Mapping[str, str], otherwise: str) -> str:
    """Give the one hash that all name. Raises Refused."""
    first, *others = dict.fromkeys(names.values())
    if others:
        raise Refused(otherwise)
    return first


def restrict_relays(place: CustomerRelays, names: Iterable[str]) -> CustomerRelays:
    wanted = set(names)
    return place._replace(relays=tuple(relay for relay in place.relays if relay.name in wanted))


def add_failed(before: Answers, after: Answers) -> Answers:
    """Add the relays that could not be asked in the first place: the next run completes them."""
    said = given_answers(before)
    return {**{name: failed for name, failed in before.items() if name not in said}, **after}
