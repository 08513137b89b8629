"""A customer's spool as root has read it on a relay: the very Status that the relay's own timer judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from common.opened import Opened
from common.settings import UNLISTED, Settings
from common.spool_files import LATEST
from receiver.formatting import escape
from receiver.lists.accepted import Accepted, Summary
from receiver.lists.held import Held, ListFreeze
from receiver.monitoring import alarms, refusals_file
from receiver.monitoring.alarms import Alarm
from receiver.monitoring.refusals import raised_today
from receiver.monitoring.status import Status
from receiver.outcome import Origin, Outcome

SpoolData: TypeAlias = Mapping[str, Any]


class DamagedSpool(Exception):
    """A spool holds something that the receiver does not write; the text says what is wrong with it."""


class ListState(NamedTuple):
    """One customer's list on one relay."""

    status: Status
    alarms: tuple[Alarm, ...]  # as its relay raises them
    line: str  # what the last run came to; empty: there has been none
    digest: str  # SHA-256 of the list in force; empty: there is none
    total: int  # recipients in it
    changed: int  # when it last changed, epoch seconds; 0: there is none

    @property
    def good(self) -> int:
        """Return when the last good upload came, epoch seconds; 0: none has."""
        accepted = self.status.in_force.accepted.domains
        return min((accepted[name] for name in self.status.domains if name in accepted), default=0)


def read_list_state(settings: Settings, spool: SpoolData, now: int) -> ListState:
    """Return a customer's list state from what kind `list_status` read.

    Raises DamagedSpool: a relay may send anything.
    """
    faults = [said for said in spool.values() if isinstance(said, str)]
    if faults:
        raise DamagedSpool("; ".join(faults))
    try:
        status = _status(settings, spool, now)
        list_ = spool["list"] or {"digest": "", "total": 0, "changed": 0}
        raised = (*alarms.find_alarms(status, settings, now), *_refusal_alarms(settings.customer, spool, now))
        line = status.last.line if status.last else ""
        return ListState(status, raised, line, str(list_["digest"]), int(list_["total"]), _bound_time(list_["changed"]))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DamagedSpool(f"its files on the relay are damaged: {error!r}") from error


def _status(settings: Settings, spool: SpoolData, now: int) -> Status:
    accepted, opened = _read_accepted(spool["accepted"] or {}), _read_opened(spool.get("opened"))
    begun = spool["begun"] or spool["unproven"]
    last = spool["last_run"]
    return Status(
        settings.customer,
        settings.domains,
        Summary(accepted=accepted),
        settings.domains if opened else accepted.opens(settings, now),
        _bound_time(begun["when"]) if begun else 0,
        _held(spool["held"]),
        _frozen(spool["pinned"]),
        {str(key): _key_fields(at) for key, at in (spool["keys"] or {}).items()},
        Outcome.read({**last, "when": _bound_time(last["when"])}) if last else None,
        settings.unlisted or UNLISTED[0],
        settings.unlisted == UNLISTED[-1] and (spool.get("asking") or {}).get("put_off") is True,
        opened=opened,
    )


def _key_fields(at: Mapping[str, Any]) -> dict[str, int]:
    kit = {"kit": _bound_time(at["kit"])} if "kit" in at else {}
    return {**{each: _bound_time(at[each]) for each in ("first", "last")}, **kit}


def _refusal_alarms(customer: str, spool: SpoolData, now: int) -> list[Alarm]:
    """Return what the relay's timer raised today about refused addresses; an older release has no such file."""
    raised = refusals_file.read_raised(spool.get("refusal_alarms") or {"raised": {}})
    return [Alarm(customer, kind, escape(text, 2_000)) for kind, text in raised_today(raised, now)]


def _read_accepted(fields: SpoolData) -> Accepted:
    domains = {str(name): _bound_time(when) for name, when in fields.get("domains", {}).items()}
    return Accepted(domains, str(fields.get("list", "")))


def _held(why: SpoolData | None) -> Held | None:
    if not why:
        return None
    origin = Origin(**{**why["origin"], "when": _bound_time(why["origin"]["when"])})
    reasons = tuple(str(reason) for reason in why["reasons"])
    return Held(str(why["list"]), frozenset(), origin, _bound_time(why["since"]), reasons, {})


def _read_opened(fields: SpoolData | None) -> Opened | None:
    return Opened(str(fields["customer"]), _bound_time(fields["since"]), str(fields["by"])) if fields else None


def _frozen(fields: SpoolData | None) -> ListFreeze | None:
    if fields is None:
        return None
    return ListFreeze(_bound_time(fields.get("since", 0)), str(fields.get("by", "")), str(fields.get("list", "")))


def _bound_time(value: Any) -> int:
    return max(0, min(int(value), LATEST))
