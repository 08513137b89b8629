"""Runs on the relay: kind `sudo`, whether the account can have root build the tables, tried as by an upload."""

from __future__ import annotations

import pwd

from remote.main import Failed, Kind, Request, State, last_lines
from remote.programs import CommandResult, find_tool, run_command

QUESTION = "--look-up"  # starts postmap, as a build does, and changes nothing


def _read(asked: list[Request]) -> list[State | None]:
    return [_state(one.name, (one.wanted or {})["command"]) for one in asked]


def _state(account: str, command: str) -> State:
    return {"command": command, "fault": _fault(account, command)}


def _fault(account: str, command: str) -> str:
    """Return why the account cannot have the command run by root; empty if it can."""
    try:
        pwd.getpwnam(account)
    except KeyError:
        return f"there is no account {account} yet"
    try:
        return _describe_fault(_run_as(account, command, QUESTION))
    except Failed as error:
        return str(error)


def _make(account: str, wanted: State | None) -> None:
    """Run a build as an upload does. Nothing is changed: this tests the rule in sudoers.d."""
    command = (wanted or {})["command"]
    why = _describe_fault(_run_as(account, command)) or _fault(account, command)
    if why:
        raise Failed(
            f"account {account} cannot have root build the tables, so no upload would reach them: {why}\n"
            f"see `sudo -l -U {account}` there: something in sudoers overrules /etc/sudoers.d/postern"
        )


def _run_as(account: str, *command: str) -> CommandResult:
    runuser, sudo = find_tool("runuser"), find_tool("sudo")
    if runuser is None or sudo is None:
        raise Failed(f"{'sudo' if runuser else 'runuser'} is not in any system directory")
    return run_command(runuser, "-u", account, "--", sudo, "-n", *command, stdin=b"postmaster\n")


def _describe_fault(ran: CommandResult) -> str:
    return (last_lines(ran.err, 3) or f"it ended {ran.code}") if ran.code else ""


KINDS = {"sudo": Kind(_read, _make)}
