"""What the benchmark's peers are told of a relay is all that makes the state that Postern makes there."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import jinja2.meta
import pytest

from benchmarks import tools
from lab.host import LabHost
from lab.operators import REPO, AtOnce

pytestmark = [pytest.mark.host, pytest.mark.long]
TEMPLATES = ("transport", "relay_domains", "exclude-users.txt", "sudoers", "cron", "Makefile")


def test_the_peers_know_all_that_shared_templates_ask_for_and_the_same_main_cf(
    bookworm: LabHost, tmp_path: Path
) -> None:
    operator = AtOnce(tmp_path)
    bookworm.start_postfix()
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
    playbook = (REPO / "benchmarks/ansible/site.yml").read_text("utf-8")
    assert dict(re.findall(r'^      (\w+): !unsafe "(.*)"$', playbook, re.MULTILINE)) == facts["main_cf"]
