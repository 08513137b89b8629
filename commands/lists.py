"""What an operator does with a customer's list: sync, parse, review, accept, rollback, resume, history."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commands import batch, desk, screen
from commands.desk import Answer, Answers, Place, Said, answered
from commands.fleet import Refused
from receiver import formats, intake, report
from receiver.choice import choose
from receiver.formats import BadExport
from receiver.report import shown
from roles import postfix

_HASH = re.compile(r"[0-9a-f]{64}")


def sync(customer: str, export_file: str, look: bool, as_json: bool) -> int:
    """Have the server export now, or take an export file through every desk. Raises InventoryError, Refused."""
    place = Place.of(customer)
    if not export_file and place.customer.exchange.reach == "ssh":
        return batch.run(place.customer, look, as_json)
    if not export_file:
        raise Refused(
            f"{customer}'s server is reached by a kit, so it runs the export itself; "
            "--export-file FILE takes an export you have here"
        )
    export = _read(export_file)
    return desk.tell(desk.ask(place, "offering to", "offer", *(["--look"] if look else []), stdin=export), as_json)


def parse(file: str, customer: str) -> int:
    """Do the parsing step here: what the relay would list, and why it would leave out the rest."""
    if not customer:
        raise Refused("which customer's? --customer CUSTOMER; `inv list` shows them")
    settings = postfix.settings(Place.of(customer).customer)
    try:
        choice = choose(formats.read(intake.ended(_read(file), required=False), settings), settings)
    except BadExport as error:
        raise Refused(f"{file}: {error}") from None
    screen.stream(f"{address} OK" for address in sorted(choice.recipients))
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.most_first(choice.left_out))
    for note in choice.notes:
        screen.note(note)
    screen.note(f"{len(choice.recipients)} recipients; left out {sum(choice.left_out.values())}: {reasons or 'none'}")
    return report.DONE


def review(customer: str, as_json: bool) -> int:
    """Show what is held on every relay; once where all hold the same."""
    asked = desk.ask(Place.of(customer), "asking", "review")
    return desk.tell({name: _naming_its_list(said) for name, said in asked.items()}, as_json)


def _naming_its_list(said: Answer) -> Answer:
    """Return a review whose command names the list: that of a relay with the first release does not."""
    if not isinstance(said, Said) or not said.record.get("number") or "--list" in (command := said.record["command"]):
        return said
    whole = f"{command} --list {said.record['list']}" if command.startswith("accept ") else command
    lines = [*said.record["lines"][:-1], f"inv {whole}"]
    return said._replace(record={**said.record, "command": whole, "lines": lines})


def accept(customer: str, numbers: Mapping[str, str], expected: str) -> int:
    """Take the held list on every relay, by its number and its hash, if all that hold one hold it. Raises Refused."""
    given = [(option, number) for option, number in numbers.items() if number]
    if len(given) != 1 or not given[0][1].isdigit():
        raise Refused(f"name one number, as `inv review {customer}` says: --removing N, --adding N or --first N")
    if not _HASH.fullmatch(expected):
        raise Refused(f"name the list, as the command that `inv review {customer}` prints does: --list HASH, all of it")
    place = Place.of(customer)
    asked = desk.ask(place, "asking", "status")  # not "review", after which the list counts as looked at
    holding = {name: said.record["held"]["list"] for name, said in answered(asked).items() if said.record.get("held")}
    if answered(asked) and not holding:
        screen.fault(f"{customer}: nothing is held on {', '.join(answered(asked))}")
        return report.worst([report.REFUSED, desk.tell(_with_failed(asked, {}))])
    if not holding:
        return desk.tell(asked)
    name = _one_list(holding, f"the relays hold different lists; look at each: `inv review {customer}`")
    if name != expected:
        changed = f"the list held now is {shown(name[:12])}, not {expected[:12]}"
        raise Refused(f"{changed}: it changed since it was reviewed; see `inv review {customer}`")
    option, number = given[0]
    answers = desk.ask(_only(place, holding), "accepting on", "accept", f"--{option}", number, "--list", name)
    code = desk.tell(_with_failed(asked, answers))
    if option == "first" and code == report.DONE:
        screen.say(f"{customer}: from now on who is not listed is refused; `inv verify {customer}` asks its relays")
    return code


def rollback(customer: str, back: str) -> int:
    """Put the same earlier list back on every relay, and pin it. Raises Refused when it is not the same.

    Without a number it is the previous list, or where another relay is pinned already, the one that is pinned there.
    """
    if back and not back.isdigit():
        raise Refused(f"--to {back}: how many lists back, a number as in `inv history {customer}`")
    place = Place.of(customer)
    asked = desk.ask(place, "asking", "history")
    told = {name: said.record for name, said in answered(asked).items()}
    pinned = {name: str(said["pinned"]["list"]) for name, said in told.items() if said.get("pinned") and not back}
    if not told:
        return desk.tell(asked)
    if len(pinned) == len(told):
        names = ", ".join(dict.fromkeys(name[:12] for name in pinned.values()))
        way = f"`inv resume {customer}` ends that, --to N takes another of `inv history {customer}`"
        raise Refused(f"rolled back and pinned already, to list {names}; {way}")
    earlier = pinned or {name: _kept(said["history"], int(back or 1)) for name, said in told.items()}
    if short := [name for name, found in earlier.items() if not found]:
        raise Refused(f"no list is kept {back or 1} back on {', '.join(short)}; see `inv history {customer}`")
    name = _one_list(earlier, f"number {back or 1} is not the same list on every relay; see `inv history {customer}`")
    answers = desk.ask(_only(place, told.keys() - pinned.keys()), "rolling back on", "rollback", "--list", name)
    return desk.tell(_with_failed(asked, answers))


def resume(customer: str, as_json: bool) -> int:
    """Let uploads take effect again on every relay."""
    return desk.tell(desk.ask(Place.of(customer), "asking", "resume"), as_json)


def history(customer: str, diff: str, as_json: bool) -> int:
    """Show the kept lists of every relay, or who came and went with one. Raises Refused."""
    if diff and not diff.isdigit():
        raise Refused(f"--diff {diff}: a number as `inv history {customer}` shows")
    return desk.tell(desk.ask(Place.of(customer), "asking", "history", *(["--diff", diff] if diff else [])), as_json)


def _kept(history: Iterable[Mapping[str, Any]], back: int) -> str:
    return next((str(each["list"]) for each in history if each["back"] == back), "")


def _one_list(names: Mapping[str, str], otherwise: str) -> str:
    """Give the one hash that all name. Raises Refused."""
    first, *others = dict.fromkeys(names.values())
    if others:
        raise Refused(otherwise)
    return first


def _only(place: Place, names: Iterable[str]) -> Place:
    wanted = set(names)
    return place._replace(relays=tuple(relay for relay in place.relays if relay.name in wanted))


def _with_failed(before: Answers, after: Answers) -> Answers:
    """Add the relays that could not be asked in the first place: the next run completes them."""
    said = answered(before)
    return {**{name: failed for name, failed in before.items() if name not in said}, **after}


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}") from None
