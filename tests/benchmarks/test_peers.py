"""What the peers of the benchmark are told of a relay is all that the templates they share with Postern ask for."""

from __future__ import annotations

from pathlib import Path

import jinja2
import jinja2.meta
import pytest

from benchmarks import tools
from lab.host import LabHost
from lab.operators import REPO, AtOnce

pytestmark = [pytest.mark.host, pytest.mark.long]
TEMPLATES = ("transport", "relay_domains", "exclude-users.txt", "sudoers", "cron", "Makefile")


def test_the_peers_know_all_that_a_shared_template_asks_for(bookworm: LabHost, tmp_path: Path) -> None:
    operator = AtOnce(tmp_path)
    operator.relay("mx1", bookworm)
    operator.customer(tools.CUSTOMER)
    operator.done(f"provision {tools.CUSTOMER}")
    facts = tools.facts_of(bookworm)
    deploy = (REPO / "benchmarks/pyinfra/deploy.py").read_text("utf-8")
    for name in TEMPLATES:
        parsed = jinja2.Environment().parse((REPO / f"templates/relay/{name}.j2").read_text("utf-8"))
        asked = jinja2.meta.find_undeclared_variables(parsed)
        assert asked <= facts.keys(), name
        assert all(f"{fact}=" in deploy for fact in asked), name
