"""What the page of `inv report` shows, as data: made of the inventory and of what the relays said. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from common.release import RELEASE
from deploy.plan import HostError
from fleet import status_view
from fleet.relay_figures import Figures
from fleet.report_customer import CustomerReport
from fleet.report_parts import FleetRelay, Report, problem_part
from fleet.status_view import GroupedProblem, Overview, Row
from inventory import Inventory
from inventory.model import Customer
from receiver.formatting import format_time

FiguresOf = Mapping[str, Mapping[str, Figures | str] | HostError]
"""By relay: by customer, its figures or why there are none; or why the relay gave none of anybody."""


def make_report(everything: Inventory, found: Overview, figures: FiguresOf, now: int, by: str) -> Report:
    """Return all that the page shows. `now`: epoch seconds, `by`: who had it made."""
    problems = [problem_part(one) for one in status_view.group_problems(found)]
    rows: dict[str, list[Row]] = {}
    for row in found.rows:
        rows.setdefault(row.customer, []).append(row)
    customers = [
        CustomerReport(customer, rows.get(customer.id, ()), _figures_of(customer, figures), now).part()
        for customer in everything.customers.values()
    ]
    relays = tuple(
        FleetRelay(
            name,
            everything.relays[name].address if name in everything.relays else "",
            sum(row.relay == name for row in found.rows),
            tuple(problem_part(GroupedProblem("", (name,), one)) for one in each),
        )
        for name, each in found.relays.items()
    )
    return Report(
        format_time(now),
        by,
        RELEASE,
        status_view.summary(found),
        tuple(problems),
        relays,
        tuple(sorted(customers, key=lambda one: one.rank)),
    )


def _figures_of(customer: Customer, figures: FiguresOf) -> dict[str, Figures | str]:
    """Return a customer's figures by relay; of one that was not reached, none."""
    found: dict[str, Figures | str] = {}
    for relay in customer.relays:
        said = figures.get(relay)
        if isinstance(said, HostError):
            found[relay] = str(said)
        elif said is not None:
            found[relay] = said.get(customer.id, "it is not set up there")
    return found
