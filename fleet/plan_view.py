"""What a plan for relays looks like to who reads it: what matters first, equal relays once, a recap at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common import exit_codes
from console import terminal
from console.errors import Refused
from console.grouping import group_names, name_some
from console.options import ProvisionOptions
from deploy.plan import HostError, NoPython, Plan
from deploy.plan_summary import summarize
from deploy.plan_text import odd_lines
from deploy.relay_host import RelayHost
from fleet.problems import NOT_REACHED
from fleet.relay_plan import RelayPlan
from receiver.formatting import count
from roles import relay as relay_role
from roles.relay import FIRST, PlanFact

MOST = 10  # lines of one rank: what comes behind them is counted
FATES = ("changed", "would change", "unchanged", "refused", NOT_REACHED, "failed")
RelayPlans = Mapping[str, RelayPlan | HostError | Refused]


def summary_lines(plan: Plan) -> list[str]:
    """Return a relay's plan in a few lines, in this order: what goes, what opens or closes, all else by its kind."""
    changes = [(change.item, change.before) for change in plan.changes]
    rest = summarize((item, before) for item, before in changes if not relay_role.has_facts(item))
    removals = plan.removals()
    return [
        *([f"removes {', '.join(removals)}"] if removals else []),
        *(line for item, before in changes for line in odd_lines(item, before)),
        *_fact_lines(relay_role.plan_facts(changes)),
        *([rest] if rest else []),
    ]


def _fact_lines(facts: Iterable[PlanFact]) -> Iterator[str]:
    """Yield each phrase with its subjects; of what may cost somebody mail all are named."""
    by_rank: dict[int, list[PlanFact]] = {}
    for fact in facts:
        by_rank.setdefault(fact.rank, []).append(fact)
    for rank in sorted(by_rank):
        most = len(by_rank[rank]) if rank == FIRST else MOST
        grouped = group_names((fact.subject, fact.phrase) for fact in by_rank[rank])
        for phrase, subjects in list(grouped.items())[:most]:
            yield f"{name_some(subjects, most if rank == FIRST else 3)}: {phrase}"
        if len(grouped) > most:
            yield f"and {len(grouped) - most} more lines like these: --diff shows all"


def print_plans(found: RelayPlans, options: ProvisionOptions) -> list[int]:
    """Print what was found at each relay, equal relays once; return an exit code for each."""
    plans = {name: look for name, look in found.items() if isinstance(look, RelayPlan)}
    for (title, text), names in group_names((name, _texts(look, options)) for name, look in plans.items()).items():
        terminal.print_plan(f"{', '.join(names)}: {title}", text)
    _print_each(terminal.note, {name: (*_notes(look), *look.warnings) for name, look in plans.items()})
    _print_each(terminal.error, {name: look.blockers for name, look in plans.items()})
    failed = {name: look for name, look in found.items() if not isinstance(look, RelayPlan)}
    bare = {name: look for name, look in failed.items() if isinstance(look, NoPython) and options.dry_run}
    _print_each(
        terminal.note,
        {name: (f"{look}; the rest can be planned once Python is installed",) for name, look in bare.items()},
    )
    codes = terminal.print_results({name: look for name, look in failed.items() if name not in bare})
    return [*codes, *(exit_codes.PENDING for _ in bare), *(_code(look, options) for look in plans.values())]


def _texts(look: RelayPlan, options: ProvisionOptions) -> tuple[str, str]:
    """Return the heading of a relay's plan and the lines below it."""
    plan = look.plan
    if not plan.changes:
        return f"nothing to change ({cost_of(look.host)})", ""
    lines = "\n".join([*look.domains, *summary_lines(plan)])
    shown = f"{lines}\n{plan.text(brief=not options.full)}" if options.diff or options.full else lines
    return count(len(plan.changes), "change"), shown


def _notes(look: RelayPlan) -> Sequence[str]:
    changes = [(change.item, change.before) for change in look.plan.changes]
    return relay_role.notes(look.relay, look.facts, changes)


def _print_each(show: terminal.Show, texts: Mapping[str, Iterable[str]]) -> None:
    """Print each text with the names of all relays of which it is true."""
    for text, names in group_names((name, text) for name, each in texts.items() for text in each).items():
        show(f"{', '.join(names)}: {text}")


def _code(look: RelayPlan, options: ProvisionOptions) -> int:
    if look.blockers:
        return exit_codes.REFUSED
    return exit_codes.PENDING if options.dry_run and look.plan.changes else exit_codes.DONE


def recap(fates: Mapping[str, str], ends: Sequence[bool], dry_run: bool) -> str:
    """Return the last line of a run: what became of the relays, and how many kits and servers were changed.

    `fates`: by relay, a word of FATES. `ends`: of each kit and server that is there, whether it was changed.
    """
    counted = Counter(fates.values())
    relays = ", ".join(_count_fate(counted[fate], fate, fates) for fate in FATES if counted[fate])
    if not ends:
        return f"{count(len(fates), 'relay')}{f': {relays}' if relays else ''}; no kit and no server"
    changed = f"{sum(ends)} {'would change' if dry_run else 'changed'}"
    whose = f"{count(len(ends), 'customer')}: {changed}, {len(ends) - sum(ends)} unchanged"
    return f"{count(len(fates), 'relay')}: {relays}; kits and servers of {whose}"


def _count_fate(number: int, fate: str, fates: Mapping[str, str]) -> str:
    """Return how many relays it became, and which where somebody has to see to them."""
    if fate not in ("refused", NOT_REACHED, "failed"):
        return f"{number} {fate}"
    return f"{number} {fate} ({', '.join(name for name, its in fates.items() if its == fate)})"


def relay_document(
    look: RelayPlan | HostError | Refused, changed: str | HostError | Refused | None, fate: str
) -> dict[str, Any]:
    """Return what a plan is for one relay, and what became of it, as docs/json.md has it."""
    failed = look if not isinstance(look, RelayPlan) else changed if isinstance(changed, Exception) else None
    error = {"error": str(failed)} if failed else {}
    if not isinstance(look, RelayPlan):
        return {"result": fate, **error}
    return {
        "result": fate,
        "domains": list(look.domains),
        "changes": summary_lines(look.plan),
        "removals": list(look.plan.removals()),
        "warnings": [*_notes(look), *look.warnings],
        "blockers": list(look.blockers),
        **error,
    }


def cost_of(host: RelayHost) -> str:
    """Return what it took to look at a relay, or to change it."""
    return f"{count(host.connections, 'connection')}, {count(host.commands, 'remote command')}"
