"""Put the same earlier list back on every relay of a customer, or bring back whom one upload removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from common import exit_codes
from console import terminal
from console.errors import Refused
from console.options import is_number
from deploy.plan import HostError
from fleet import relay_cli
from fleet.relay_answers import (
    SHAPELESS,
    Answer,
    Answers,
    RelayAnswer,
    add_failed,
    done_answers,
    given_answers,
    print_answers,
    print_failures,
)
from fleet.relay_cli import CustomerRelays
from fleet.relays import connect, run_parallel
from fleet.relays_left_behind import print_left_behind
from fleet.rollback_preview import Preview, preview_rollbacks
from inventory.model import Relay
from receiver.views.recipients import name_recipients

_ENTRY = re.compile(r"[0-9a-f]{12}")


class RollbackOptions(NamedTuple):
    """The options of `inv rollback`."""

    back: str = ""  # how many lists back; empty: the previous one
    entry: str = ""  # of the log; empty: a whole list is put back
    removing: str = ""  # how many go by it
    list: str = ""  # SHA-256 of the list that was shown, or its beginning; empty: whichever it is now
    dry_run: bool = False
    as_json: bool = False


def roll_back_or_bring_back(customer: str, options: RollbackOptions) -> int:
    """Run `inv rollback` or `inv rollback --entry`. Raises Refused."""
    if options.entry and (options.back or options.removing or options.list):
        what = "--to N puts a whole list back, of whom --removing N go; --entry brings back whom one upload removed"
        raise Refused(f"{what}: name one of them")
    for name, number in (("to", options.back), ("removing", options.removing)):
        if number and not is_number(number):
            raise Refused(f"--{name} {number}: a number, as in `inv history {customer}`")
    return bring_back(customer, options) if options.entry else rollback(customer, options)


def rollback(customer: str, options: RollbackOptions) -> int:
    """Put the same earlier list back on every relay, and freeze it; --removing must say how many recipients it removes.

    Without --to it is the previous list, or the frozen list of a relay that is frozen already. Raises Refused when
    relays have different lists there, when another number of recipients would be removed, and for a relay of the first
    release that would remove somebody.
    """
    scope, back = CustomerRelays.of(customer).upload_relays(), options.back
    asked = {name: _checked(said) for name, said in relay_cli.ask_relays(scope, "asking", "history").items()}
    records = {name: said.record for name, said in done_answers(asked).items()}
    if not records:
        return print_answers(asked, options.as_json)
    unasked = add_failed(asked, {})
    try:
        name, waiting = _choose_list(customer, records, back)
    except Refused:
        _report(unasked, options.as_json)
        raise
    if not name.startswith(options.list):
        moved = f"the list that would be put back is {name[:12]} now, not {options.list[:12]}: an upload came meanwhile"
        raise Refused(f"{moved}; see `inv history {customer}`")
    there = scope.restrict(waiting)
    found = preview_rollbacks(there, name, {each: said["history"] for each, said in records.items()})
    previews = {each: seen for each, seen in found.items() if isinstance(seen, Preview)}
    failed: Answers = {**unasked, **{each: seen for each, seen in found.items() if not isinstance(seen, Preview)}}
    _check_old(customer, previews)
    if options.dry_run or not _is_named(previews, options):
        return _show(customer, name, previews, failed, options)
    done = _put_back(there.restrict(previews), name, previews)
    answers = {**failed, **done}
    code = print_answers(answers, options.as_json)
    again = f"`inv rollback {customer} --dry-run` shows who goes there, and the command that puts the same list back"
    print_left_behind(answers, f"once it is back, {again}")
    return code


def _checked(said: Answer) -> Answer:
    """Return a relay's answer about its history, or that it has another shape; that relay takes no part then."""
    if not isinstance(said, RelayAnswer) or said.code != exit_codes.DONE:
        return said
    kept, pinned = said.record.get("history"), said.record.get("pinned")
    is_whole = isinstance(kept, list) and all("back" in each for each in kept)
    return said if is_whole and (pinned is None or isinstance(pinned, dict)) else HostError(SHAPELESS)


def _report(failed: Answers, as_json: bool) -> int:
    """Print what relays said that take no part, outside of any document; return the worst exit code."""
    if not as_json:
        return print_answers(failed)
    return exit_codes.worst([*print_failures([failed]), *(one.code for one in given_answers(failed).values())])


def _choose_list(customer: str, records: Mapping[str, Mapping[str, Any]], back: str) -> tuple[str, list[str]]:
    """Return the hash of the list to be put back, and the relays on which it is not yet. Raises Refused."""
    frozen = {name: str(said["pinned"]["list"]) for name, said in records.items() if said.get("pinned") and not back}
    if len(frozen) == len(records):
        names = ", ".join(dict.fromkeys(name[:12] for name in frozen.values()))
        way = f"`inv resume {customer}` ends that, --to N takes another of `inv history {customer}`"
        raise Refused(f"rolled back and frozen already, to list {names}, on {', '.join(records)}; {way}")
    earlier = frozen or {name: _list_back(said["history"], int(back or 1)) for name, said in records.items()}
    if short := [name for name, found in earlier.items() if not found]:
        raise Refused(f"no list is kept {back or 1} back on {', '.join(short)}; see `inv history {customer}`")
    name, *others = dict.fromkeys(earlier.values())
    if others:
        raise Refused(f"number {back or 1} is not the same list on every relay; see `inv history {customer}`")
    return name, [each for each in records if each not in frozen]


def _check_old(customer: str, previews: Mapping[str, Preview]) -> None:
    """Raise Refused for relays that would remove somebody without a word: the first release asks for no number."""
    old = {name: seen for name, seen in previews.items() if seen.going and not seen.is_asked}
    if old:
        counts = ", ".join(f"{name} (+{len(seen.coming)} -{len(seen.going)})" for name, seen in old.items())
        what = f"{counts}: of a release that would remove them without a word"
        raise Refused(f"{what}; `inv provision {customer}` comes first")


def _is_named(previews: Mapping[str, Preview], options: RollbackOptions) -> bool:
    return int(options.removing or 0) == len(_leaving_addresses(previews))


def _leaving_addresses(previews: Mapping[str, Preview]) -> list[str]:
    return sorted(frozenset[str]().union(*(seen.going for seen in previews.values())))


def _show(customer: str, name: str, previews: Mapping[str, Preview], failed: Answers, options: RollbackOptions) -> int:
    """Print who would come and go, and the command that does it. Raises Refused where it was not only a look."""
    going = _leaving_addresses(previews)
    coming = sorted(frozenset[str]().union(*(seen.coming for seen in previews.values())))
    words = [f"inv rollback {customer}", *([f"--to {options.back}"] if options.back else [])]
    command = " ".join([*words, *([f"--removing {len(going)}"] if going else []), f"--list {name}"])
    if options.as_json and options.dry_run:
        terminal.print_document({"customer": customer, "coming": coming, "going": going, "command": command})
    elif not options.as_json:
        for line in (*name_recipients("+", "would come", coming), *name_recipients("-", "would go", going)):
            terminal.say(line)
    codes = [_report(failed, options.as_json)] if failed else []
    if not options.dry_run:
        said = f"--removing {options.removing}" if options.removing else "no number was named"
        raise Refused(f"{len(going)} would be removed by it, and {said}; if that is meant: `{command}`")
    if not options.as_json:
        terminal.say(command)
    return exit_codes.worst([*codes, exit_codes.PENDING])


def _put_back(scope: CustomerRelays, name: str, previews: Mapping[str, Preview]) -> Answers:
    """Put the list back on each relay, with the number of recipients that it removes there."""

    def put_back_on(relay: Relay) -> RelayAnswer:
        seen = previews[relay.name]
        number = ["--removing", str(len(seen.going))] if seen.is_asked else []
        with connect(relay) as host:
            return relay_cli.ask(host, scope.customer, "rollback", "--list", name, *number)

    return run_parallel(scope.relays, put_back_on, "rolling back on")


def bring_back(customer: str, options: RollbackOptions) -> int:
    """List again, on every relay, whom an entry of `inv history` removed. Raises Refused."""
    entry = options.entry
    if not _ENTRY.fullmatch(entry):
        raise Refused(f"--entry {entry}: 12 of 0-9 and a-f, as `inv history {customer}` shows")
    scope = CustomerRelays.of(customer).upload_relays()
    asked = relay_cli.ask_relays(scope, "asking", "history")
    records = {name: said.record for name, said in done_answers(asked).items()}
    if old := [name for name, said in records.items() if "log" not in said]:
        raise Refused(f"{', '.join(old)}: of a release that knows no entries; `inv provision {customer}` comes first")
    look = ["--dry-run"] * options.dry_run
    answers = relay_cli.ask_relays(scope.restrict(records), "bringing back on", "rollback", "--entry", entry, *look)
    code = print_answers(add_failed(asked, answers), options.as_json)
    return exit_codes.PENDING if options.dry_run and code == exit_codes.DONE else code


def _list_back(history: Iterable[Mapping[str, Any]], back: int) -> str:
    return next((str(each["list"]) for each in history if each["back"] == back), "")
