"""`inv status` and `inv verify`: what relays say beside what is wanted, and who must be called for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, Operator, export, people

pytestmark = [pytest.mark.host, pytest.mark.story]

SPOOL = "/var/lib/postern/customers/acme"


def texts(needs: list[dict[str, str]]) -> str:
    return "; ".join(need["text"] for need in needs)


class Relays(NamedTuple):
    """Two relays with one customer, whose list is in force on both."""

    mx1: LabHost
    mx2: LabHost
    operator: Operator

    def status(self, code: int = 1) -> Any:
        """What programs get: of the relays by name what each needs, of the customer's rows likewise."""
        said = json.loads(self.operator.done("status --json", code=code).out)
        rows = {row["relay"]: texts(row["needs"]) for row in said["customers"]}
        return {name: texts(needs) for name, needs in said["relays"].items()}, rows

    @contextmanager
    def uploaded(self, export_: bytes, to: int) -> Iterator[None]:
        """While another export than that of all is the last one on a relay."""
        self.operator.upload(export_, relay=to)
        yield
        assert self.operator.upload(export(*people(20)), relay=to).code == 0


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relays]:
    with LabHost("bookworm") as mx1, LabHost("bookworm") as mx2:
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        for name, host in (("mx1", mx1), ("mx2", mx2)):
            host.start_postfix()
            operator.relay(name, host)
        operator.customer("acme", relays=["mx1", "mx2"])
        found = Relays(mx1, mx2, operator)
        _, rows = found.status()
        assert rows == dict.fromkeys(("mx1", "mx2"), "not set up here: `inv provision acme` does it")
        operator.done("provision acme")
        _, rows = found.status()
        assert rows == dict.fromkeys(("mx1", "mx2"), "open until a list is accepted: acme.example")
        operator.upload(export(*people(20)), relay=0)
        operator.upload(export(*people(20)), relay=1)
        operator.accept("acme", "--first 20")
        yield found
        assert found.status(code=0) == ({"mx1": "", "mx2": ""}, {"mx1": "", "mx2": ""})


def test_all_is_well(relays: Relays) -> None:
    ran = relays.operator.done("status")
    columns, *rows = (line.split("\t") for line in ran.out.splitlines())
    assert columns[:4] == ["customer", "relay", "recipients", "last good (UTC)"]
    days = ("k1, 0 days", "k1, 1 day")  # midnight (UTC) may have come since
    assert [(*row[:3], row[5], row[6] in days, *row[7:]) for row in rows] == [
        ("acme", name, "20", "published", True, "") for name in ("mx1", "mx2")
    ]
    assert ran.err == ""
    relays.operator.done("verify acme")


def test_relays_with_different_lists_are_told_even_if_as_many_are_on_both(relays: Relays) -> None:
    with relays.uploaded(export(*people(19), "somebody"), to=1):
        assert relays.status()[1] == dict.fromkeys(("mx1", "mx2"), "its relays have different lists")


def test_a_held_list_is_told_with_why_and_where(relays: Relays) -> None:
    with relays.uploaded(export("user0000"), to=1):
        rows = relays.status()[1]
        assert rows["mx1"] == ""
        assert re.fullmatch(
            r"held since .* UTC: 9\d\.\d % would go \(\d+ of \d+\), limit 10 %; see `inv review acme`.*", rows["mx2"]
        )


def test_an_upload_that_was_refused_is_told(relays: Relays) -> None:
    with relays.uploaded(b"<html>Service Unavailable</html>", to=0):
        assert relays.status()[1]["mx1"].startswith("last upload: refused: ")


def test_a_list_nobody_refreshes_is_told_before_its_domain_opens(relays: Relays) -> None:
    dates = json.loads(relays.mx2.run("cat", f"{SPOOL}/accepted.json").stdout)
    dates["domains"] = {domain: when - 10 * 86400 for domain, when in dates["domains"].items()}
    with relays.uploaded(export(*people(20)), to=1):
        relays.mx2.run("tee", f"{SPOOL}/accepted.json", stdin=json.dumps(dates).encode())
        assert relays.status()[1]["mx2"].startswith("stale: no usable export since ")


def test_drift_is_told_and_whose_it_is(relays: Relays) -> None:
    relays.mx1.run("sh", "-c", "echo >> /etc/cron.d/postern; echo x OK >> /etc/postern/customers/acme/relay_domains")
    needs, rows = relays.status()
    assert needs["mx1"] == "is not as wanted: file /etc/cron.d/postern"
    assert rows == {"mx1": "/etc/postern/customers/acme is not as wanted: relay_domains", "mx2": ""}
    relays.operator.done("provision acme --removing domain:x")


def test_a_key_that_grows_old_is_told(relays: Relays) -> None:
    key = relays.operator.inventory / "keys" / "acme" / "k1.pub"
    text = key.read_text()
    key.write_text(text.replace(" 20", " 19"))
    rows = relays.status()[1]
    key.write_text(text)
    assert re.match(r"key k1 is \d+ days old, 365 is wanted at most", rows["mx1"])
    assert rows["mx1"] == rows["mx2"]


def test_a_relay_that_is_down_does_not_hide_the_other(relays: Relays) -> None:
    relays.mx1.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    needs, rows = relays.status()
    verified = relays.operator.done("verify acme", code=4)
    relays.mx1.run("/usr/sbin/sshd")
    assert needs["mx1"].startswith("not reached: ")
    assert rows == {"mx2": ""}
    assert verified.out.startswith("mx2: ")


def test_a_relay_that_takes_whom_it_should_refuse_fails_the_proof(relays: Relays) -> None:
    relays.mx2.run("postconf", "-e", "relay_recipient_maps=")
    relays.mx2.reload_postfix()
    ran = relays.operator.done("verify acme", code=5)
    assert ran.out.startswith("mx1: ")
    assert "@acme.example: should get 550, got 250" in ran.err
    relays.operator.done("provision acme")
    relays.operator.done("verify acme")


def test_the_report_shows_what_the_relays_log_and_a_relay_that_is_down(relays: Relays, tmp_path: Path) -> None:
    operator = relays.operator
    page = Path(operator.done(f"report --out {tmp_path}").out.strip())
    text = page.read_text()
    assert "2 lists of 1 customer on 2 relays; nothing needs somebody" in text
    added, removed = map(int, re.findall(r"In 90 days (\d+) added, (\d+) removed", text)[0])
    assert added - removed == 20, "whatever the tests before have uploaded, that many are listed"
    assert text.count('<path class="size"') == 2  # the chart's and the legend's
    relays.mx2.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = operator.done(f"report --out {tmp_path}")
    relays.mx2.run("/usr/sbin/sshd")
    assert "mx2: not reached, and the page says so" in ran.err
    assert "no figures: not reached" in page.read_text()
