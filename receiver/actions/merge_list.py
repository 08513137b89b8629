"""Merges another relay's list with this relay's: both lists count, and a domain closes where both close it.

It removes nobody, unless the result must be exactly the other relay's list; then the caller names how many go.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from common.settings import Settings, load_settings
from common.spool_files import LAST_EXPORT
from receiver.actions.copy_list import ExportedLists
from receiver.addresses import keep_domains
from receiver.formatting import first_names, format_time
from receiver.lists import list_file, publishing, removed_addresses
from receiver.lists.accepted import Accepted, InForce
from receiver.lists.publishing import Decision
from receiver.lists.spool import Spool
from receiver.outcome import Origin, Outcome, Refused
from receiver.system.checked_json import decode_json
from receiver.tables_client import Tables
from receiver.upload.judgement import log_entry
from receiver.upload.pipeline import build_and_verify_tables


class MergeOptions(NamedTuple):
    """How the other relay's list is merged."""

    is_exact: bool = False  # recipients that the other relay does not list are removed
    removing: int = 0  # how many are removed; another number is refused
    look: bool = False


class Merge(NamedTuple):
    """The list in force here, and the list that would be in force."""

    in_force: InForce
    recipients: frozenset[str]
    accepted: Accepted
    only_here: frozenset[str]  # in force here, and not listed by the other relay

    @property
    def going(self) -> frozenset[str]:
        """Return who would go."""
        return self.in_force.recipients - self.recipients

    @property
    def opening(self) -> frozenset[str]:
        """Return the domains that would open."""
        return frozenset(self.in_force.accepted.domains.keys() - self.accepted.domains.keys())

    @property
    def changes(self) -> bool:
        """Return whether anything would change."""
        return self.recipients != self.in_force.recipients or bool(self.opening)

    def outcome(self, customer: str, origin: Origin, look: bool) -> Outcome:
        """Return the result in numbers and, for a dry run, in names."""
        coming = self.recipients - self.in_force.recipients
        did = "looked" if look else "published" if self.changes else "unchanged"
        notes = [f"{', '.join(sorted(self.opening))} open, as there"] if self.opening else []
        if staying := len(self.only_here - self.going):
            notes.append(f"{staying} that the other relay does not list stay")
        outcome = Outcome(customer, did, origin, total=len(self.recipients), notes=tuple(notes))
        outcome = outcome._replace(added=len(coming), removed=len(self.going))
        outcome = outcome._replace(offered=list_file.digest(list_file.encode_recipients(self.recipients)))
        if look:
            outcome = outcome._replace(coming=first_names(coming), going=first_names(self.going))
        return outcome


def look_at_merge(spool: Spool, given: ExportedLists, options: MergeOptions) -> Merge:
    """Return what merging another relay's list would change; write nothing. Raises Refused."""
    return _merge(spool, load_settings(spool.places, spool.customer), given, options)


def merge_list(spool: Spool, given: ExportedLists, options: MergeOptions, origin: Origin, tables: Tables) -> Outcome:
    """Merge another relay's list.

    Raises Refused where another number is removed than was named, or a list is frozen.
    """
    with publishing.transaction(spool) as settings:
        merge = _merge(spool, settings, given, options)
        if len(merge.going) != options.removing:
            raise Refused(f"{len(merge.going)} would go, and --removing says {options.removing}; nothing is changed")
        outcome = merge.outcome(spool.customer, origin, look=False)
        if _takes_plus(given) and spool.read_last_export().plus_addresses is None:
            spool.store_last_export(spool.read_last_export()._replace(plus_addresses=True))
        if outcome.did == "published":
            publishing.publish(spool, settings, merge.in_force, _decide(spool, merge, given, outcome), origin.when)
        spool.store_last_run(outcome)
    return build_and_verify_tables(spool, tables, outcome, merge.recipients - merge.in_force.recipients)


def _merge(spool: Spool, settings: Settings, given: ExportedLists, options: MergeOptions) -> Merge:
    if not given.packed:
        raise Refused("the other relay has no list; nothing is changed")
    if frozen := spool.read_freeze():
        raise Refused(f"frozen since {format_time(frozen.since)}; `inv resume {spool.customer}` ends that first")
    in_force = spool.read_in_force()
    theirs = keep_domains(list_file.decode_recipients(given.text), settings.domains)
    recipients = theirs if options.is_exact else in_force.recipients | theirs
    domains = _closed_by_both(in_force.accepted.domains, given.accepted.domains)
    return Merge(in_force, recipients, in_force.accepted._replace(domains=domains), in_force.recipients - theirs)


def _closed_by_both(here: Mapping[str, int], there: Mapping[str, int]) -> dict[str, int]:
    """Return the domains with an accepted list on both relays, with the older of the two dates."""
    return {name: min(when, there[name]) for name, when in here.items() if name in there}


def _decide(spool: Spool, merge: Merge, given: ExportedLists, outcome: Outcome) -> Decision:
    origin = outcome.origin
    text = list_file.encode_recipients(merge.recipients)
    by = f"{origin.by}, from another relay" if merge.going else ""
    logged = log_entry(outcome, merge.in_force, None, by)._replace(did="merged")
    removals = removed_addresses.read_removals(spool.folder, origin.when)
    back = _brought_back(given) & merge.recipients & removals.keys() - removed_addresses.find_brought_back(removals)
    return Decision(
        merge.recipients, text, merge.accepted, origin, by, clears=False, entry=logged, brings_back=frozenset(back)
    )


def _brought_back(given: ExportedLists) -> frozenset[str]:
    """Return who stays listed on the other relay until a person accepts that they go."""
    content = given.content_of(removed_addresses.NAME)
    return removed_addresses.find_brought_back(removed_addresses.decode_removals(content))


def _takes_plus(given: ExportedLists) -> bool:
    """Return whether the last export on the other relay said that user+tag@ is taken where user@ is."""
    with suppress(ValueError, TypeError, AttributeError):
        return decode_json(given.content_of(LAST_EXPORT) or b"{}").get("plus_addresses") is True
    return False
