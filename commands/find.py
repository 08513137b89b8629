"""Find listed addresses on all relays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from common import exit_codes
from console import terminal
from console.errors import Refused
from fleet import relay_cli
from fleet.relay_answers import Answers, done_answers, given_answers, print_all, print_failures
from fleet.relays import load_for
from receiver.formatting import escape

_SHOWN = 200  # addresses of a customer
_LONGEST = 330  # characters of an address


def find(pattern: str, as_json: bool) -> int:
    """Print the listed addresses in which a pattern is found, with the relays that list them. Raises Refused."""
    if not pattern:
        raise Refused("find what? A part of an address, or a whole one with * and ?, as '*@acme.example'")
    everything = load_for("")
    answers = relay_cli.ask_for_all(everything, "find", f"--pattern={pattern}")
    if as_json:
        return exit_codes.worst([print_all(answers, as_json), everything.code])
    _print_found(answers)
    return exit_codes.worst([*print_failures(answers.values()), *_refusals(answers), everything.code])


def _print_found(answers: Mapping[str, Answers]) -> None:
    total, asked = 0, False
    for customer, each in answers.items():
        said = done_answers(each)
        asked = asked or bool(said)
        lists = {name: [str(address) for address in one.record.get("found") or ()] for name, one in said.items()}
        most = max((int(one.record.get("total") or 0) for one in said.values()), default=0)
        found = sorted({address for some in lists.values() for address in some})
        total += most
        for address in found[:_SHOWN]:
            having = [name for name, some in lists.items() if address in some]
            terminal.say(
                f"{customer}: {escape(address, _LONGEST)}{_relays_that_list(having, lists, most == len(found))}"
            )
        if most > len(found[:_SHOWN]):
            terminal.say(f"{customer}: ... and {most - len(found[:_SHOWN])} more; a longer pattern finds fewer")
    if asked and not total:
        terminal.say("nobody who is listed has that; `inv explain ADDRESS` says why")


def _relays_that_list(having: Iterable[str], asked: Iterable[str], is_whole: bool) -> str:
    """Return which relays list an address, where not all of those that were asked do."""
    names = list(having)
    return "" if not is_whole or names == list(asked) else f"  only on {', '.join(names)}"


def _refusals(answers: Mapping[str, Answers]) -> list[int]:
    """Print what relays say that find nothing because they refuse the question."""
    every = [(name, one) for each in answers.values() for name, one in given_answers(each).items()]
    refused = {(name, one.text): one.code for name, one in every if one.code != exit_codes.DONE}
    for name, text in refused:
        terminal.print_answer([name], text)
    return list(refused.values())
