"""postern store ..., postern follow: a relay and the store, for `inv` and for the relay's own timer.

It runs as account `postern`. Each command answers one object, for people as the sentence in it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from common.paths import Places
from common.settings import BadSettings, list_customers, load_relay
from receiver.formatting import escape
from receiver.lists.spool import Spool
from receiver.monitoring import alarms
from receiver.outcome import Answer, Failed, Refused, Stopped
from receiver.store import operator, schema
from receiver.store.access import StoreAccess, load_access
from receiver.store.alarms import find_alarms
from receiver.store.connection import FORMAT, connect_as_owner
from receiver.store.follow import follow, read_followed
from receiver.store.numbering import NewSettings, RefusedWith, number_settings
from receiver.store.schema import Role
from receiver.system import atomic_files
from receiver.tables_client import Tables
from receiver.upload.pipeline import recover

WORDS = ("store", "follow")  # the first word of a command that is answered here
_LIMIT = 1 << 30  # bytes on stdin
_HELP = {
    "migrate": "Make the store's tables and roles, as the owner that stdin names.",
    "init": "Write this relay's id of the store into a store that has none.",
    "status": "Show what the store has of every customer, and what this relay has.",
    "heads": "Print what this relay has of a customer, for `merge` on an upload relay.",
    "merge": "Take what another relay printed among this relay's own, and write one list on top.",
    "forget": "Give up what the store does not know; without --removing, show who would go.",
    "settings": "Give the customer's settings the next number in the store.",
    "open": "Take the accepted dates of domains out of the store's list.",
}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a wrong one ends here with exit code 2."""
    parser = argparse.ArgumentParser(prog="postern", description="This relay and the store.", allow_abbrev=False)
    words = parser.add_subparsers(dest="word", required=True)
    follows = words.add_parser("follow", help="Take what changed in the store.", allow_abbrev=False)
    follows.add_argument("--seconds", type=float, default=3_600.0, help="give up after so many")
    follows.add_argument("--json", action="store_true")
    verbs = words.add_parser("store", allow_abbrev=False).add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, help_ in _HELP.items():
        made = verbs.add_parser(verb, help=help_, description=help_, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="one object, for programs")
        made.add_argument("--operator", default="", metavar="NAME", help="who asks, for the record")
        if verb in _ABOUT_CUSTOMERS:
            made.add_argument("customer", metavar="CUSTOMER")
        if verb == "open":
            made.add_argument("domains", nargs="+", metavar="DOMAIN")
        if verb == "forget":
            made.add_argument("--removing", type=int, metavar="N")
    return parser.parse_args(arguments)


def answer_call(places: Places, tables: Tables, asked: argparse.Namespace, by: str, stdin: IO[bytes]) -> Answer:
    """Run one call as the account."""
    asked.stdin = stdin
    asked.by = f"{escape(asked.operator, 100)} as {by}" if getattr(asked, "operator", "") else by
    try:
        if asked.word == "follow":
            return run_follow(places, tables, asked.seconds, int(time.time()))
        if asked.verb == "migrate":
            return _migrate(places, asked)
        access = load_access(places)
        if access is None:
            raise Refused("this relay uses no store; `[store]` in provider.toml and `inv provision` bring one")
        return Answer.done([], **_VERBS[asked.verb](access, tables, asked))
    except (Stopped, BadSettings, OSError) as error:
        code = error.code if isinstance(error, Stopped) else Failed.code
        details = error.details if isinstance(error, RefusedWith) else {}
        return Answer(code, [str(error)], {"postern": 1, "code": code, "why": str(error), **details})


def run_follow(places: Places, tables: Tables, seconds: float, now: int) -> Answer:
    """Follow once, build the tables where a list changed, and raise what a person must hear of."""
    access, relay = load_access(places), load_relay(places)
    if access is None:
        return Answer.done([], followed=0, alarms=[])
    customers = list_customers(places)
    looked = follow(access, customers, now, seconds)
    for name in looked.changed:
        with suppress(Stopped, OSError), Spool(places, name) as spool:
            recover(spool, tables)
    with atomic_files.hold_directory(places.run) as run:
        found = [alarms.Alarm(*each) for each in find_alarms(access, run, read_followed(run), now)]
    told = alarms.raise_alarms(found, places, relay, now)
    said = looked.followed
    lines = [each.line for each in told]
    return Answer.done([], followed=said.reached, why=said.why, wrong=dict(said.wrong), alarms=lines)


def _migrate(places: Places, asked: argparse.Namespace) -> Answer:
    try:
        given = json.loads(asked.stdin.read(_LIMIT))
        url, store, roles = given["url"], given["id"], [Role.read(given[name]) for name in ("writer", "reader")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused("stdin must name url, id, writer and reader, as docs/store.md says") from error
    with connect_as_owner(url, places) as session:
        made = schema.migrate(session, store, *roles)
    return Answer.done([*made] or ["nothing was missing"], format=FORMAT, id=store, made=made)


def _read_stdin(asked: argparse.Namespace) -> Mapping[str, Any]:
    try:
        given = json.loads(asked.stdin.read(_LIMIT))
    except ValueError as error:
        raise Refused("stdin is no JSON") from error
    if not isinstance(given, dict):
        raise Refused("stdin must be one JSON object")
    return given


def _init(access: StoreAccess, _: Tables, __: argparse.Namespace) -> dict[str, Any]:
    return operator.write_id(access)


def _status(access: StoreAccess, _: Tables, __: argparse.Namespace) -> dict[str, Any]:
    return operator.read_status(access)


def _heads(access: StoreAccess, _: Tables, asked: argparse.Namespace) -> dict[str, Any]:
    with Spool(access.places, asked.customer) as spool:
        return operator.export_heads(spool)


def _merge(access: StoreAccess, tables: Tables, asked: argparse.Namespace) -> dict[str, Any]:
    with Spool(access.places, asked.customer) as spool:
        done = operator.merge_heads(access, spool, _read_stdin(asked))
        recover(spool, tables)
        return done


def _forget(access: StoreAccess, tables: Tables, asked: argparse.Namespace) -> dict[str, Any]:
    with Spool(access.places, asked.customer) as spool:
        done = operator.forget_heads(access, spool, asked.removing)
        recover(spool, tables)
        return done


def _settings(access: StoreAccess, _: Tables, asked: argparse.Namespace) -> dict[str, Any]:
    try:
        wanted = NewSettings.read(_read_stdin(asked))
    except (ValueError, TypeError) as error:
        raise Refused("stdin must name settings, as docs/store.md says") from error
    return number_settings(access, asked.customer, wanted, asked.by)


def _open(access: StoreAccess, tables: Tables, asked: argparse.Namespace) -> dict[str, Any]:
    with Spool(access.places, asked.customer) as spool:
        done = operator.open_domains(access, spool, asked.domains, asked.by)
        recover(spool, tables)
        return done


_ABOUT_CUSTOMERS = ("heads", "merge", "forget", "settings", "open")
_VERBS: Mapping[str, Callable[[StoreAccess, Tables, argparse.Namespace], dict[str, Any]]] = {
    "init": _init,
    "status": _status,
    "heads": _heads,
    "merge": _merge,
    "forget": _forget,
    "settings": _settings,
    "open": _open,
}
