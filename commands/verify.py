"""Ask every relay of a customer over SMTP whether it takes whom it should, and whether the relays answer alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import exit_codes
from console import terminal
from console.errors import Refused, code_of
from console.grouping import name_some
from deploy.items import State
from deploy.plan import HostError, ProofFailed
from fleet.relays import connect, load_for, relays_of, run_parallel, select_customers
from inventory.model import Relay
from roles import relay as relay_role

TAKEN = "250"


def verify(customer: str, every: bool, relay: str, as_json: bool) -> int:
    """Ask every relay of the customers over SMTP.

    Return PROOF for a wrong answer, or where relays answer differently.
    """
    everything = load_for("" if every else customer)
    customers = select_customers(everything, customer, every)

    def ask(relay: Relay) -> State:
        with connect(relay) as host:
            (said,) = host.read(
                [relay_role.smtp_verify_item(relay, [one for one in customers if relay.name in one.relays])]
            )
        return check_shape(said) if said else {"asked": {}, "listed": {}}

    answers = run_parallel(relays_of(everything, customers, relay), ask, "asking")
    verdicts = {name: _judge(answer) for name, answer in answers.items()}
    differences = [*find_differences(answers)]
    if as_json:
        relays = {name: _document(answer, verdicts[name]) for name, answer in answers.items()}
        terminal.print_document({"relays": relays, "differences": differences})
        codes = [_code(verdict) for verdict in verdicts.values()]
    else:
        codes = terminal.print_results(verdicts)
        for text in differences:
            terminal.error(text)
    return exit_codes.worst([*codes, *(exit_codes.PROOF for _ in differences), everything.code])


def check_shape(answer: State) -> State:
    """Return an answer whose fields have the right shape; a relay may send anything. Raises HostError."""
    asked, listed, caller = answer.get("asked"), answer.get("listed"), answer.get("caller", {})
    rows = [row for each in _values(asked) for row in (each if isinstance(each, list) else [None])]
    right = (
        all(_are(row, str, str, str) for row in rows),
        all(_are(each, int, str) for each in _values(listed)),
        all(isinstance(why, str) for why in _values(answer.get("refused", {}))),
        isinstance(caller, dict) and (not caller or _are([caller.get("is"), caller.get("why")], str, str)),
    )
    if not all(right):
        raise HostError("its answer cannot be understood: it is not of the shape that answers of recipients have")
    return answer


def _values(table: object) -> list[object]:
    """Return the values of an object; where it is none, one that is of no shape."""
    return [*table.values()] if isinstance(table, dict) else [None]


def _are(row: object, *types: type) -> bool:
    return isinstance(row, list) and len(row) == len(types) and all(map(isinstance, row, types))


def _document(answer: State | HostError | Refused, verdict: str | HostError | Refused) -> Mapping[str, Any]:
    code = _code(verdict)
    if isinstance(answer, Exception):
        return {"code": code, "error": str(answer)}
    asked = [
        {"address": address, "wanted": wanted, "answer": said, "right": said.startswith(wanted)}
        for each in answer["asked"].values()
        for address, wanted, said in each
    ]
    caller = answer.get("caller", {})
    as_whom = {"address": caller.get("is", ""), "is_outside": bool(caller.get("outside"))}
    not_asked = dict(answer.get("refused", {}))
    return {"code": code, "asked": asked, "open": _open_domains(answer), "not_asked": not_asked, "asked_as": as_whom}


def _code(verdict: str | HostError | Refused) -> int:
    return exit_codes.DONE if isinstance(verdict, str) else code_of(verdict)


def _judge(answer: State | HostError | Refused) -> str | HostError | Refused:
    if isinstance(answer, Exception):
        return answer
    asked = [one for each in answer["asked"].values() for one in each]
    wrong = [one for one in asked if not one[2].startswith(tuple(one[1].split(" or ")))]
    faults = [f"{address}: should get {wanted}, got {said}" for address, wanted, said in wrong]
    faults += [f"{domain}: {why}" for domain, why in answer.get("refused", {}).items()]
    caller = answer.get("caller", {})
    if faults:
        return ProofFailed("\n".join([*faults, *_as_whom(caller)]))
    taking = _open_domains(answer)
    everybody = f"; nobody is refused at {name_some(taking)}: open" if taking else ""
    said = f"{len(asked)} addresses asked, all answered as they should be{everybody}"
    return "; ".join([said, *_as_whom(caller)])


def _open_domains(answer: State) -> list[str]:
    """Return the domains in which a relay takes mail for everybody."""
    return [domain for domain, each in answer["asked"].items() if all(wanted == TAKEN for _, wanted, _ in each)]


def _as_whom(caller: Mapping[str, Any]) -> Iterator[str]:
    """Yield as whom the relay was asked, and for whom that holds."""
    if caller.get("outside"):
        yield f"asked as {caller['is']}"
    elif caller:
        yield f"asked as {caller['is']}, so THIS HOLDS FOR mynetworks ONLY: {caller['why']}"


def find_differences(answers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the domains of which relays list different addresses."""
    listed = {name: answer["listed"] for name, answer in answers.items() if not isinstance(answer, Exception)}
    for domain in dict.fromkeys(domain for each in listed.values() for domain in each):
        there = {name: each[domain] for name, each in listed.items() if domain in each}
        if len({digest for _, digest in there.values()}) > 1:
            counts = ", ".join(f"{name} {total}" for name, (total, _) in there.items())
            yield f"{domain}: its relays list different addresses ({counts}); see `inv status`"
