"""The command line of `postern`: its verbs, their options, and what they may say."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from receiver.formatting import escape
from receiver.lists.review_record import Numbers

_OF_ALL = ("report", "tick")  # the verbs that are about no single customer
_LOOK = "show who would be added and removed; write nothing"
_HELP = {
    "offer": "Judge an export from stdin; its end mark is optional.",
    "adopt": "List the addresses from stdin, a JSON array, and hold them as a first list; no domain closes.",
    "review": "Show what is held, name by name, and the command that accepts it.",
    "record-review": "Record, from stdin, what `inv review` showed of all the customer's relays.",
    "accept": "Accept the whole held list, with the numbers that review prints.",
    "rollback": "Put an earlier list back and freeze it, with the number of recipients that it removes.",
    "resume": "Resume uploads, first the one that waits.",
    "open": "Forget which lists were accepted: each domain is open until its next list is accepted.",
    "rehearse": "Show which logged uploads the guard would hold under other limits, each judged alone.",
    "history": "Show the lists that were in force.",
    "status": "Show the state of the customer's list.",
    "refusals": "Show whom the mail log says was refused, who had mail, and for whom mail waits.",
    "explain": "Show all that is known of one address.",
    "find": "Show the listed addresses in which a pattern is found.",
    "hand-over": "Print the list and its history for a sibling relay.",
    "take-over": "Fill an empty spool from stdin with what siblings printed, a line each, the newest list first.",
    "merge-list": "Merge another relay's list, from stdin as hand-over prints it, into our own.",
    "report": "Print every customer's figures of the last days, with --json.",
    "tick": "What the timer does: finish, warn, count.",
}
_CHANGES = ("offer", "adopt", "accept", "rollback", "resume", "open", "take-over", "merge-list")
"""Verbs that are recorded with the person who asks."""


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a wrong one ends here with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="postern", description="The lists of this relay's customers.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    made = {
        verb: verbs.add_parser(verb, help=help_, description=help_, allow_abbrev=False) for verb, help_ in _HELP.items()
    }
    for verb, each in made.items():
        each.add_argument("--json", action="store_true", help="one object, for programs")
        if verb in _OF_ALL:
            each.set_defaults(customer="postern")
        else:
            each.add_argument("customer", metavar="CUSTOMER")
    made["offer"].add_argument("--look", action="store_true", help=_LOOK)
    for verb in _CHANGES:
        made[verb].add_argument("--operator", type=_person, default="", metavar="NAME", help="who asks, for the record")
    made["merge-list"].add_argument("--look", action="store_true", help=_LOOK)
    made["merge-list"].add_argument("--exact", action="store_true", help="remove whom the other relay does not list")
    made["merge-list"].add_argument("--removing", type=_count, default=0, metavar="N", help="how many --exact removes")
    for name in Numbers._fields:
        made["accept"].add_argument(f"--{name.replace('_', '-')}", type=_count, default=0, metavar="N")
    made["accept"].add_argument("--log-incomplete", action="store_true", help="although there may have been more mail")
    made["accept"].add_argument("--list", type=_hash, default="", metavar="HASH", help="the review of this list")
    mail = "stdin says who had mail on any relay of the customer, as JSON: {ADDRESS: [DAY, DAYS]}"
    made["accept"].add_argument("--mail", action="store_true", help=mail)
    for verb in ("accept", "rollback"):
        made[verb].add_argument("--dry-run", action="store_true", help="check all, and change nothing")
    made["rollback"].add_argument(
        "--removing", type=_count, default=0, metavar="N", help="how many recipients it removes"
    )
    which = made["rollback"].add_mutually_exclusive_group()
    which.add_argument("--to", type=_count, metavar="N", help="so many back in history; default 1")
    which.add_argument("--list", type=_hash, metavar="HASH")
    which.add_argument("--entry", type=_hash, metavar="ENTRY", help="bring back whom this entry of history removed")
    limit = "another limit of the guard, as shrink_percent=5"
    made["rehearse"].add_argument("--guard", action="append", default=[], type=_limit, metavar="KEY=VALUE", help=limit)
    made["explain"].add_argument("--address", required=True, metavar="ADDRESS")
    wanted = "a part of an address, or a whole one with * and ?"
    made["find"].add_argument("--pattern", required=True, metavar="PATTERN", help=wanted)
    made["history"].add_argument("--diff", type=_count, metavar="N", help="whom number N added and removed")
    return parser.parse_args(arguments)


def _person(text: str) -> str:
    return escape(text, 100)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def _limit(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name, value


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no hash: 8 to 64 of 0-9 and a-f")
    return text
