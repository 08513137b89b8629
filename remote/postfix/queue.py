"""Runs on the relay: kind `queue`, how much mail waits for some domains, and whether Postfix runs to deliver it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from remote.main import Failed, Kind, Request, State, last_lines, refuse_making
from remote.postfix.instance import Postfix


def _read(asked: list[Request]) -> list[State | None]:
    return [_queue(Postfix(one.name), (one.wanted or {})["domains"]) for one in asked]


def _queue(postfix: Postfix, domains: Iterable[str]) -> State | None:
    """Return how many messages wait by domain; one for two domains counts for each. Held and deferred ones wait too."""
    if not postfix.is_there():
        return None
    ran = postfix.run("postqueue", "-j")
    if ran.code:
        raise Failed(f"postqueue -j ended {ran.code}: {last_lines(ran.err)}")
    ours, waiting = {*domains}, Counter[str]()
    for line in ran.out.splitlines():
        waiting.update(_domains(line) & ours)
    return {"running": postfix.is_running(), "waiting": dict(sorted(waiting.items()))}


def _domains(line: str) -> set[str]:
    addresses = (recipient["address"] for recipient in json.loads(line)["recipients"])
    return {str(address).rpartition("@")[2].lower() for address in addresses}


KINDS = {"queue": Kind(_read, refuse_making)}
