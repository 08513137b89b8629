"""Runs on the relay: kind `preflight`, the costly facts before anything is written; roles/relay/preflight.py judges."""

from __future__ import annotations

import grp
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from common.main_cf_params import RECIPIENTS, REJECT, ROUTES, TABLE_OF, members, without_ours_members
from remote.account_to_come import pretend_account
from remote.files import read_text
from remote.main import Failed, Kind, Request, State, last_lines, refuse_making
from remote.postfix.catch_all import find_catch_alls
from remote.postfix.instance import Postfix, Service
from remote.postfix.listeners import find_answering_services
from remote.postfix.outsider import find_way
from remote.postfix.references import find_references
from remote.postfix.relay_domains import find_taken_out
from remote.postfix.restrictions import RECIPIENT, find_refusals, is_asked
from remote.postfix.trivial_rewrite import Resolved, resolve
from remote.postfix.unlisted import find_obstacles
from remote.programs import CommandResult, find_tool, run_command
from remote.sshd import find_local_port, reads_pieces
from remote.writable import find_faults

ACCOUNT = "postern"
SUDOERS = "/etc/sudoers"
SOMEWHERE = "192.0.2.1"  # where a key may be used from anywhere
MOST = 50  # addresses sshd is asked about; its answer rarely depends on them
OPTIONS = (
    *("allowusers", "denyusers", "allowgroups", "denygroups", "pubkeyauthentication", "authenticationmethods"),
    *("authorizedkeysfile", "forcecommand", "chrootdirectory", "usedns"),
    *("pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes", "requiredrsasize", "maxsessions"),
)
REJECT_UNLISTED, EXPLICIT = "smtpd_reject_unlisted_recipient", "reject_unlisted_recipient"
UNLISTED = {REJECT_UNLISTED: "no", "receive_override_options": "no_unknown_recipient_checks"}
RESTRICTED = [f"smtpd_{stage}_restrictions" for stage in ("client", "helo", "sender", "relay", "recipient", "data")]
SENDERS = {"smtpd_reject_unlisted_sender": "yes", **dict.fromkeys(RESTRICTED, "reject_unlisted_sender")}
DEAD_ENDS = ("error", "retry", "discard")  # transports by which nobody gets anything
PARENTS = {"parent_domain_matches_subdomains": ROUTES}


def _read(asked: list[Request]) -> list[State | None]:
    return [_preflight(Postfix(one.name), one.wanted or {}) for one in asked]


def _preflight(postfix: Postfix, wanted: State) -> State:
    """Return what can be known without Postfix, and where there is one also the rest."""
    found: dict[str, Any] = {
        "sshd": _sshd(wanted["addresses"], wanted["port"]),
        "groups": _groups(),
        "sudoers.d": _reads_sudoers_d(),
        "ground": find_faults(postfix.directory, wanted["homes"]),
    }
    if wanted["accounts"]:
        port = find_local_port(wanted["port"])
        options = {one: _lists(one, port) for one in wanted["accounts"]}
        found["uploads"] = {"include": reads_pieces(), "options": options}
    if not postfix.is_there():
        return found
    found.update(
        instances=members(postfix.value("multi_instance_directories")),
        running=postfix.is_running(),
        scratch=_scratch(postfix, wanted["table_type"]),
        overrides=_overrides(postfix),
        senders=[*_describe_services(postfix, SENDERS, [one for one in postfix.services() if one.command == "smtpd"])],
        parents=[*_describe_services(postfix, PARENTS, ())],
        nothing=_is_nothing(postfix),
        references=find_references(postfix),
    )
    if found["running"]:
        found.update(smtp=_why_not_asked(postfix), **_domains(postfix, wanted["domains"]))
        if not found["smtp"]:
            found.update(_refused_domains(postfix, wanted["domains"], found["unreadable"]))
            found["unlisted"] = (
                find_obstacles(postfix, wanted["unlisted"], wanted["domains"]) if wanted["unlisted"] else []
            )
    return found


def _refused_domains(postfix: Postfix, domains: Iterable[str], unreadable: list[str]) -> State:
    try:
        return {"refused": find_refusals(postfix, domains), "taken out": find_taken_out(postfix, domains)}
    except Failed as error:
        return {"unreadable": [*unreadable, f"relay domains or access restrictions: {error}"]}


def _why_not_asked(postfix: Postfix) -> str:
    """Return why the relay cannot be asked over SMTP; empty if it can."""
    try:
        find_way(postfix)
    except Failed as error:
        return str(error)
    return ""


def _sshd(sources: Iterable[str], port: int) -> dict[str, Any]:
    """Return sshd's options for the account, by address; or under "fault" why it cannot be asked.

    `port`: where uploads connect to.
    """
    sshd = find_tool("sshd")
    if sshd is None:
        return {"fault": "sshd is not in any system directory"}
    found, listening = {}, find_local_port(port)
    for address in sorted({_one_of(source) for source in sources})[:MOST]:
        ran = _ask_sshd(sshd, ACCOUNT, address, listening)
        if ran.code:
            return {"fault": f"sshd -T ended {ran.code}: {last_lines(ran.err)}"}
        found[address] = _options(ran.out)
    return found


def _ask_sshd(sshd: str, account: str, address: str, port: int) -> CommandResult:
    asked = (sshd, "-T", "-C", f"user={account},host={address},addr={address},lport={port}")
    with pretend_account(account) as before:
        ran = run_command(*before, *asked)
    return run_command(*asked) if ran.code and before else ran


def _lists(account: str, port: int) -> dict[str, list[str]]:
    """Return sshd's allow and deny lists, as far as an account is concerned."""
    options = _options(_ask_sshd(find_tool("sshd") or "sshd", account, SOMEWHERE, port).out)
    return {name: words for name, words in options.items() if name.startswith(("allow", "deny"))}


def _one_of(source: str) -> str:
    import ipaddress  # 3 ms, and only here

    try:
        return str(ipaddress.ip_network(source)[0])
    except ValueError:
        return SOMEWHERE


def _options(out: str) -> dict[str, list[str]]:
    """Read options by lower-case name; one that stands on several lines has all their words."""
    found: dict[str, list[str]] = {}
    for name, _, value in (line.partition(" ") for line in out.splitlines()):
        if name.lower() in OPTIONS:
            found.setdefault(name.lower(), []).extend(value.split())
    return found


def _groups() -> list[str]:
    """Return the account's groups, with the one that it will have."""
    return sorted({ACCOUNT, *(group.gr_name for group in grp.getgrall() if ACCOUNT in group.gr_mem)})


def _reads_sudoers_d() -> bool:
    """Return whether sudo reads our rule: /etc/sudoers says so, or a file that it includes."""
    if not read_text(SUDOERS):
        return True
    todo, seen = [SUDOERS], set[str]()
    while todo and len(seen) < MOST:
        path = todo.pop()
        text = "" if path in seen else read_text(path)
        seen.add(path)
        if re.search(r"^(?:#|[ \t]*@)includedir\s+\"?/etc/sudoers\.d/?(?:[\"\s]|$)", text, re.MULTILINE):
            return True
        named = re.findall(r"^(?:#|[ \t]*@)include\s+\"?([^\"\n]*[^\"\s])", text, re.MULTILINE)
        todo += [os.path.join(os.path.dirname(path), name) for name in named]
    return False


def _scratch(postfix: Postfix, table_type: str) -> str:
    """Return why a table of this type cannot be built and read here; empty if it can."""
    folder = f"/var/tmp/postern-{os.urandom(8).hex()}"  # noqa: S108  # mkdir takes nothing that is there already
    os.mkdir(folder, 0o700)
    try:
        return _scratch_in(folder, postfix, table_type)
    finally:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def _scratch_in(folder: str, postfix: Postfix, table_type: str) -> str:
    table = f"{table_type}:{os.path.join(folder, 'scratch')}"
    with open(os.path.join(folder, "scratch"), "w", encoding="utf-8") as file:
        file.write("scratch@postern.invalid OK\n")
    ran = postfix.run("postmap", table)
    if ran.code or postfix.remarks_about(ran.err):
        return last_lines(postfix.remarks_about(ran.err) or ran.err)
    try:
        found = postfix.lookup(table, ["scratch@postern.invalid"])
    except Failed as error:
        return str(error)
    return "" if found else f"a {table_type} table built just now does not have its only key"


def _overrides(postfix: Postfix) -> list[str]:
    """Return where strangers' mail for unknown recipients is accepted, or is looked up in other lists than we edit."""
    strangers = find_answering_services(postfix)
    rewriting = [one for one in postfix.services() if (one.type, one.command) == ("unix", "trivial-rewrite")]
    elsewhere = [
        _override(service, name)
        for service in (*strangers, *rewriting)
        for name in service.overrides
        if name in (*TABLE_OF, REJECT)
    ]
    return [*dict.fromkeys(place for one in strangers for place in _find_unchecked(postfix, one)), *elsewhere]


def _find_unchecked(postfix: Postfix, service: Service) -> Iterator[str]:
    """Yield what keeps a service from refusing unknown recipients, unless one of its restrictions refuses them."""
    values = postfix.values(*UNLISTED, *RECIPIENT)
    lists = [members(service.overrides.get(name, values.get(name, "")).lower()) for name in RECIPIENT]
    for name, word in UNLISTED.items():
        if word not in members(service.overrides.get(name, values.get(name, ""))):
            continue
        if name != REJECT_UNLISTED or not any(is_asked(restrictions, EXPLICIT) for restrictions in lists):
            yield _override(service, name) if name in service.overrides else f"main.cf: {name} = {values[name]}"


def _describe_services(postfix: Postfix, words: Mapping[str, str], services: Iterable[Service]) -> Iterator[str]:
    """Yield parameters that have their word in main.cf, or in master.cf for one of these services."""
    for name, value in postfix.values(*words).items():
        if words[name] in members(value):
            yield f"main.cf: {name} = {value}"
    for service in services:
        for name, value in service.overrides.items():
            if name in words and words[name] in members(value):
                yield _override(service, name)


def _override(service: Service, name: str) -> str:
    return f"master.cf, {service.name}/{service.type}: {name} = {service.overrides[name]}"


def _is_nothing(postfix: Postfix) -> str:
    """Return a list of recipients that is set and expands to nothing, such as `$mine` where `mine` is not set."""
    written, meant = postfix.raw(RECIPIENTS)[RECIPIENTS], postfix.value(RECIPIENTS)
    return written if without_ours_members(RECIPIENTS, written) and not without_ours_members(RECIPIENTS, meant) else ""


def _domains(postfix: Postfix, wanted: State) -> dict[str, Any]:
    """Return the class of each domain, its catch-alls, and which have no next hop; `wanted`: next hops, or None."""
    found = {
        address.partition("@")[2]: one
        for address, one in resolve(postfix, [f"postmaster@{one}" for one in wanted]).items()
    }
    ends = {name: found[name] for name, hop in wanted.items() if hop is None and found[name].transport in DEAD_ENDS}
    everybody, unreadable = find_catch_alls(postfix, wanted)
    return {
        "classes": {name: one.kind for name, one in found.items()},
        "everybody": everybody,
        "unreadable": unreadable,
        "by mx": [name for name, hop in wanted.items() if hop is None and _is_by_mx(name, found[name])],
        "dead ends": {name: f"{one.transport}:{one.next_hop}" for name, one in ends.items()},
    }


def _is_by_mx(name: str, found: Resolved) -> bool:
    """Return whether only DNS says where its mail goes; a U-label is not asked about, as its A-label is."""
    return name.isascii() and found.next_hop.lower() == name


KINDS = {"preflight": Kind(_read, refuse_making)}
