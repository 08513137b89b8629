"""Bring a customer's list up to date: by an export of its server, from an export file, or from one of its relays."""

from __future__ import annotations

from typing import NamedTuple

from common import exit_codes
from console.errors import Refused
from console.options import is_number, read_file
from customer_host import remote_export
from fleet import merge_lists, relay_cli
from fleet.merge_lists import MergeRequest
from fleet.relay_answers import Answer, RelayAnswer, print_answers
from fleet.relay_cli import CustomerRelays


class SyncOptions(NamedTuple):
    """The options of `inv sync`."""

    export_file: str = ""
    relay: str = ""  # whose list is brought to the others
    exact: bool = False  # whom that relay does not list goes from the others
    removing: str = ""  # how many go
    dry_run: bool = False
    as_json: bool = False


def sync(customer: str, options: SyncOptions) -> int:
    """Bring a customer's list up to date from its server, an export file or a relay. Raises InventoryError, Refused."""
    _check(options)
    scope = CustomerRelays.of(customer)
    if options.relay:
        request = MergeRequest(options.relay, options.exact, int(options.removing or 0), options.dry_run)
        return merge_lists.merge_lists(scope, request, options.as_json)
    if not options.export_file and scope.customer.exchange.reach == "ssh":
        return remote_export.run_export(scope.customer, options.dry_run, options.as_json)
    if not options.export_file:
        raise Refused(
            f"{customer}'s server is reached by a kit, so it runs the export itself; "
            "--export-file FILE takes an export you have here"
        )
    export, look = read_file(options.export_file), ["--look"] if options.dry_run else []
    answers = relay_cli.ask_relays(scope.upload_relays(), "offering to", "offer", *look, stdin=export)
    if options.dry_run:
        answers = {name: _code_of_look(said) for name, said in answers.items()}
    return print_answers(answers, options.as_json)


def _code_of_look(said: Answer) -> Answer:
    """Return the answer of a relay that only looked, PENDING where the export would be published with changes."""
    if not isinstance(said, RelayAnswer) or said.code != exit_codes.DONE:
        return said
    is_frozen = bool(said.record.get("why"))
    would_change = bool(said.record.get("added") or said.record.get("removed"))
    return said._replace(code=exit_codes.PENDING) if would_change and not is_frozen else said


def _check(options: SyncOptions) -> None:
    if options.relay and options.export_file:
        raise Refused("--from takes a relay's list, --export-file an export: name one of them")
    if (options.exact or options.removing) and not options.relay:
        raise Refused("--exact and --removing go with --from RELAY: an export is judged by the guard")
    if options.removing and not options.exact:
        raise Refused("--removing goes with --exact: without it nobody is removed")
    if options.removing and not is_number(options.removing):
        raise Refused(f"--removing {options.removing}: a number is wanted, how many are removed")
