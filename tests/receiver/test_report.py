"""The last days of a relay's customers in numbers: what `postern report` prints for the operator's page."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made_logs import made_log, made_refusals
from receiver.lists.upload_log import LogEntry
from receiver.monitoring import refusals_file
from receiver.monitoring.daily_figures import DAYS, DayFigures, count_refused, sum_days
from receiver.monitoring.refusals_file import StoredRefusals
from tests.support.small_relay import SmallRelay, people

DAY = 86_400
NOW = 20_000 * DAY + 40_000  # 2024-10-04


def entry(when: int, did: str = "published", total: int = 10, **fields: Any) -> LogEntry:
    return LogEntry("aa", when, did, "bb", "", total, key="k1")._replace(**fields)


def test_a_day_has_what_its_uploads_came_to_and_the_size_at_its_end() -> None:
    newest_first = [entry(NOW, total=14, added=2), entry(NOW - 60, total=12, added=3, removed=1), entry(NOW - DAY)]
    assert sum_days(newest_first, NOW) == [
        DayFigures("2024-10-03", 10, uploads=1),
        DayFigures("2024-10-04", 14, added=5, removed=1, uploads=2),
    ]


def test_uploads_that_said_the_same_are_spread_over_their_days() -> None:
    collapsed = entry(NOW - 2 * DAY, "unchanged", times=8, last=NOW)
    assert [day.uploads for day in sum_days([collapsed], NOW)] == [3, 3, 2]


def test_held_uploads_and_a_person_s_decisions_are_counted_apart() -> None:
    accepted = entry(NOW, "accepted")._replace(key="", accepted_by="anna")
    (day,) = sum_days([accepted, entry(NOW - 60, "held", times=2, last=NOW - 30)], NOW)
    assert (day.uploads, day.held, day.decisions) == (2, 2, 1)


def test_what_is_older_than_the_window_or_to_come_is_left_out() -> None:
    log = [entry(NOW + 5 * DAY), entry(NOW), entry(NOW - DAYS * DAY)]
    assert [day.day for day in sum_days(log, NOW)] == ["2024-10-04"]


def test_an_entry_that_claims_endless_uploads_is_counted_at_once() -> None:
    assert len(sum_days([entry(0, "unchanged", times=1 << 60, last=NOW)], NOW)) == DAYS


def test_refused_addresses_are_counted_by_day() -> None:
    refused = made_refusals(1, NOW).refused
    assert sum(count_refused(refused).values()) == sum(len(each.days) for each in refused.values())


@pytest.fixture
def relay(tmp_path: Path) -> SmallRelay:
    relay = SmallRelay(tmp_path / "relay")
    relay.offer(people(40))
    relay.accept("first", 40)
    return relay


def test_the_relay_reports_every_customer_and_says_which_spool_is_broken(relay: SmallRelay) -> None:
    with relay.spool() as spool:
        refusals_file.save(spool.folder, StoredRefusals(made_refusals(1, int(time.time())), ""))
    (Path(relay.places.etc) / "customers" / "bolt").mkdir()
    done = relay.admin("report", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    customers = json.loads(done.stdout)["customers"]
    (day,) = customers["acme"]["days"]
    assert day[1:] == [40, 40, 0, 1, 1, 1]
    assert customers["acme"]["refused"]
    assert "rebuild-relay-recips makes it" in customers["bolt"]["fault"]


def test_the_relay_s_own_admin_reads_a_line_for_each_customer(relay: SmallRelay) -> None:
    assert relay.admin("report").stdout.decode() == "acme: uploads 1, held 1, +40 -0; days with any 1 of 90\n"


def test_a_made_log_is_one_that_a_relay_could_have_written() -> None:
    log = made_log(3, NOW)
    assert [each.when for each in log] == sorted(each.when for each in log)
    assert len(sum_days(reversed(log), NOW)) > 60
