"""Runs on the relay: kind `address`, what this Postfix does with one address.

Which member of relay_recipient_maps knows it, where it is routed, and what an outsider is answered.
"""

from __future__ import annotations

from collections.abc import Callable

from common.main_cf_params import RECIPIENTS, members
from remote.main import Failed, Kind, Request, State, refuse_making
from remote.postfix.instance import Postfix
from remote.postfix.outsider import ask_outside
from remote.postfix.trivial_rewrite import resolve

_KEPT = {
    "map": "address_verify_map",
    "refresh": "address_verify_negative_refresh_time",
    "expire": "address_verify_negative_expire_time",
}


def _read(asked: list[Request]) -> list[State | None]:
    return [_address(Postfix(one.name), (one.wanted or {})["address"]) for one in asked]


def _address(postfix: Postfix, address: str) -> State:
    """Return what is found out; what cannot be is an empty text, with the reason in `problems`."""
    found: State = {"member": "", "key": "", "route": "", "class": "", "answer": "", "caller": ""}
    found["kept_answers"] = _kept_answers(postfix)
    looks = [_attempt(look, postfix, address) for look in (_look_up, _route, _ask)]
    for look in looks:
        found |= {name: said for name, said in look.items() if name != "problem"}
    return {**found, "problems": [look["problem"] for look in looks if "problem" in look]}


def _kept_answers(postfix: Postfix) -> dict[str, str]:
    """Return where Postfix keeps what next hops answered when it verified addresses, and for how long it keeps a no."""
    values = postfix.values(*_KEPT.values())
    return {name: values.get(parameter, "") for name, parameter in _KEPT.items()}


def _attempt(look: Callable[[Postfix, str], dict[str, str]], postfix: Postfix, address: str) -> dict[str, str]:
    try:
        return look(postfix, address)
    except Failed as error:
        return {"problem": str(error)}


def _look_up(postfix: Postfix, address: str) -> dict[str, str]:
    """Return the first member that knows a key of the address: each key is asked of all members before the next one."""
    known = members(postfix.value(RECIPIENTS))
    for key in _keys(address, postfix.value("recipient_delimiter")):
        for member in known:
            if postfix.lookup(member, [key]):
                return {"member": member, "key": key}
    return {}


def _keys(address: str, delimiters: str) -> list[str]:
    """Return what Postfix looks up: the address, the address without its extension, and the domain."""
    local, _, domain = address.rpartition("@")
    cut = min((place for one in delimiters if (place := local.find(one)) > 0), default=0)
    return [address, *([f"{local[:cut]}@{domain}"] if cut else []), f"@{domain}"]


def _route(postfix: Postfix, address: str) -> dict[str, str]:
    resolved = resolve(postfix, [address])[address]
    return {"route": f"{resolved.transport}:{resolved.next_hop}", "class": resolved.kind}


def _ask(postfix: Postfix, address: str) -> dict[str, str]:
    way, answers = ask_outside(postfix, [address])
    return {"answer": answers[address], "caller": str(way.caller)}


KINDS = {"address": Kind(_read, refuse_making)}
