"""The desk's verbs, on every relay of the customer: sync, parse, review, accept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import inventory
from commands import fleet, screen
from commands.fleet import Refused
from deploy.plan import HostError
from inventory.model import Customer, Relay
from receiver import formats, intake, report
from receiver.choice import choose
from receiver.formats import BadExport
from roles import postfix

DESK = "/usr/local/sbin/postern"


class Said(NamedTuple):
    """What the desk of one relay answered."""

    code: int
    record: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The answer as it is told to people."""
        return "\n".join(self.record.get("lines") or [str(self.record.get("line", ""))])


Answers = Mapping[str, Said | HostError | Refused]


class _Place(NamedTuple):
    """A customer, and the relays to be asked about it."""

    customer: Customer
    relays: tuple[Relay, ...]


def sync(customer: str, export_file: str, look: bool, as_json: bool) -> int:
    """Take an export file through the desk of every relay. Raises InventoryError, Refused."""
    place = _place(customer)
    if not export_file:
        raise Refused(
            f"{customer}'s server is reached by a kit, so it runs the export itself; "
            "--export-file FILE takes an export you have here"
        )
    export = _read(export_file)
    answers = _ask(place, "offering to", "offer", *(["--look"] if look else []), stdin=export)
    return _tell(answers, as_json)


def parse(file: str, customer: str) -> int:
    """Do the parsing step here: what the relay would list, and why it would leave out the rest."""
    if not customer:
        raise Refused("which customer's? --customer CUSTOMER; `inv list` shows them")
    settings = postfix.settings(_place(customer).customer)
    try:
        choice = choose(formats.named(settings.format).values(intake.ended(_read(file), required=False)), settings)
    except BadExport as error:
        raise Refused(f"{file}: {error}") from None
    screen.stream(f"{address} OK" for address in sorted(choice.recipients))
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.most_first(choice.left_out))
    screen.note(f"{len(choice.recipients)} recipients; left out {sum(choice.left_out.values())}: {reasons or 'none'}")
    return report.DONE


def review(customer: str, as_json: bool) -> int:
    """Show what is held on every relay; once where all hold the same."""
    return _tell(_ask(_place(customer), "asking", "review"), as_json)


def accept(customer: str, numbers: Mapping[str, str]) -> int:
    """Take the held list on every relay, by its number, if all that hold one hold the same. Raises Refused."""
    given = [(option, number) for option, number in numbers.items() if number]
    if len(given) != 1 or not given[0][1].isdigit():
        raise Refused(f"name one number, as `inv review {customer}` says: --removing N, --adding N or --first N")
    place = _place(customer)
    held = _ask(place, "asking", "review")
    lists = {said.record["list"] for said in held.values() if isinstance(said, Said) and said.record.get("list")}
    if len(lists) > 1:
        raise Refused(f"the relays hold different lists; look at each: `inv review {customer}`")
    if not lists:
        return report.worst([report.REFUSED, _tell(held)])
    option, number = given[0]
    holding = tuple(relay for relay in place.relays if _holds(held[relay.name]))
    answers = _ask(place._replace(relays=holding), "accepting on", "accept", f"--{option}", number, "--list", *lists)
    return _tell({**{name: said for name, said in held.items() if not isinstance(said, Said)}, **answers})


def _holds(said: Said | HostError | Refused) -> bool:
    return isinstance(said, Said) and bool(said.record.get("list"))


def _place(customer: str) -> _Place:
    everything = inventory.load(inventory.where())
    (one,) = fleet.chosen(everything, customer, every=False)
    return _Place(one, fleet.relays_of(everything, [one]))


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None


def _ask(place: _Place, doing: str, verb: str, *words: str, stdin: bytes = b"") -> Answers:
    """Ask the desk of each of the relays the same, side by side."""

    def ask(relay: Relay) -> Said:
        with fleet.reached(relay) as host:
            done = host.run(DESK, verb, place.customer.id, *words, "--json", stdin=stdin)
            try:
                return Said(done.code, json.loads(done.out))
            except ValueError:
                raise HostError(_no_answer(done.code, done.err, place.customer.id)) from None

    return fleet.side_by_side(place.relays, ask, doing)


def _no_answer(code: int, err: str, customer: str) -> str:
    if code in (126, 127):
        return f"Postern is not set up there; `inv provision {customer}` does it"
    return f"the desk there gave no answer and ended with {code}: {err.strip()[-500:]}"


def _tell(answers: Answers, as_json: bool = False) -> int:
    """Print what each relay said, the same words once; give the worst exit code."""
    said = {name: answer for name, answer in answers.items() if isinstance(answer, Said)}
    if as_json:
        screen.document({name: answer.record for name, answer in said.items()})
    else:
        for text in dict.fromkeys(answer.text for answer in said.values()):
            screen.answer([name for name, answer in said.items() if answer.text == text], text)
    failed = [fleet.told(name, answer) for name, answer in answers.items() if not isinstance(answer, Said)]
    return report.worst([*failed, *(answer.code for answer in said.values())])
