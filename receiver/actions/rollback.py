"""Puts an earlier list back in force, and freezes it until a person resumes uploads."""

from __future__ import annotations

from typing import Any, NamedTuple

from common.settings import Settings, load_settings
from receiver.addresses import domain_of, keep_domains
from receiver.formatting import escape, format_time, name_some
from receiver.lists import history, list_file, publishing
from receiver.lists.accepted import Accepted
from receiver.lists.held import ListFreeze
from receiver.lists.history import Entry
from receiver.lists.publishing import Decision
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Refused
from receiver.tables_client import Tables
from receiver.upload.guard import count_by_domain
from receiver.upload.judgement import log_entry
from receiver.upload.pipeline import build_and_verify_tables


class ListChoice(NamedTuple):
    """A list of history: by the beginning of its hash, else by how many lists back; neither: the previous one."""

    list: str = ""
    back: int | None = None


def preview_rollback(spool: Spool, which: ListChoice) -> dict[str, Any]:
    """Return, as plain JSON, which list a rollback would put back, and who would come and go. Raises Refused."""
    settings = load_settings(spool.places, spool.customer)
    entry = _find_entry(history.read_entries(spool.folder), which, spool.read_freeze())
    before, after = spool.read_in_force().recipients, _recipients(spool, entry, settings)
    found = {"customer": spool.customer, "list": entry.kept.list, "of": entry.kept.origin.when, "total": len(after)}
    return {**found, "coming": sorted(after - before), "going": sorted(before - after)}


def roll_back(spool: Spool, which: ListChoice, removing: int, origin: Origin, tables: Tables) -> Outcome:
    """Put an earlier list back and freeze it. Raises Refused when it is not kept, or not `removing` would go.

    Domains that had no accepted list while it was in force are open again. What is held stays, for resume.
    """
    with publishing.transaction(spool) as settings:
        in_force = spool.read_in_force()
        entry = _find_entry(history.read_entries(spool.folder), which, spool.read_freeze())
        recipients = _recipients(spool, entry, settings)
        _check_number(in_force.recipients - recipients, removing)
        text = list_file.encode_recipients(recipients)
        domains = _still_accepted(in_force.accepted, entry, recipients, settings)
        accepted = Accepted(domains, list_file.digest(text), count_by_domain(recipients, settings))
        accepted = accepted.without(spool.read_last_export().open_domains)
        frozen = ListFreeze(origin.when, origin.by, entry.kept.list)
        why = f"{format_time(origin.when)} to list {entry.kept.list[:12]} of {format_time(entry.kept.origin.when)}"
        outcome = Outcome(spool.customer, "pinned", origin, total=len(recipients), why=why)
        added, removed = recipients - in_force.recipients, in_force.recipients - recipients
        outcome = outcome._replace(added=len(added), removed=len(removed))
        offered = outcome._replace(offered=accepted.list)
        logged = log_entry(offered, in_force, None, f"{origin.by}, rolling back")._replace(did="rolled back")
        decision = Decision(recipients, text, accepted, origin, logged.accepted_by, frozen, clears=False, entry=logged)
        publishing.publish(spool, settings, in_force, decision, origin.when)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, added)


def _recipients(spool: Spool, entry: Entry, settings: Settings) -> frozenset[str]:
    return keep_domains(list_file.decode_recipients(history.read_list(spool.folder, entry.number)), settings.domains)


def _check_number(going: frozenset[str], removing: int) -> None:
    if going and len(going) != removing:  # a second call removes nobody, whatever number it names
        what = f"{len(going)} of those in force would be removed by it"
        named = f"{name_some(sorted(going))}; if that is meant, say --removing {len(going)}"
        raise Refused(f"{what}, not {removing}: {named}")


def _find_entry(entries: list[Entry], which: ListChoice, frozen: ListFreeze | None) -> Entry:
    if which.list:
        found = [entry for entry in entries if entry.kept.list.startswith(which.list)]
        if not found:
            raise Refused(f"no kept list is named {escape(which.list)}; `history` names them")
        if len({entry.kept.list for entry in found}) > 1:
            raise Refused(f"several kept lists are named {escape(which.list)}...; `history --json` has the whole names")
        return found[0]
    if frozen and which.back is None:
        since = f"frozen already, since {format_time(frozen.since)}"
        raise Refused(f"{since}, to list {frozen.list[:12]}; another is named by --to N or --list HASH")
    back = 1 if which.back is None else which.back
    if back >= len(entries):
        raise Refused(f"history goes {max(0, len(entries) - 1)} back, not {back}")
    return entries[back]


def _still_accepted(accepted: Accepted, entry: Entry, recipients: frozenset[str], settings: Settings) -> dict[str, int]:
    served = set(map(domain_of, (*recipients, *settings.include))) & set(entry.kept.domains)
    return {name: when for name, when in accepted.domains.items() if name in served}
