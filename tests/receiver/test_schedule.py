"""When a list is late, by the customer's own days and clock."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from common.paths import Places
from common.settings import Settings, load_settings
from inventory.model import Customer
from receiver.monitoring import schedule
from roles import relay as relay_role

EXCHANGE = {
    "server": "NT",
    "basepoint": "/o=Acme",
    "addresses": ("any",),
    "schedule": {"timezone": "Europe/Berlin"},
}
REPO = Path(__file__).resolve().parent.parent.parent
HOURLY = " ".join(f"{hour:02}:05" for hour in range(7, 19))


def settings(**changes: Any) -> Settings:
    known = {"days": "MON TUE WED THU FRI", "starts": HOURLY, "timezone": "Europe/Berlin", **changes}
    return Settings("acme", "exchange-5.5", ("acme.example",), **known)


def seconds(clock: str, zone: str = "Europe/Berlin") -> int:
    return int(datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo(zone)).timestamp())


def is_late(heard: str, now: str, **changes: Any) -> bool:
    return bool(schedule.describe_lateness(settings(**changes), seconds(heard), seconds(now)))


# 2026-11-27 is a Friday; clocks go back on 2026-10-25 and forward on 2026-03-29, both Sundays.
@pytest.mark.parametrize(
    ("heard", "now", "late"),
    [
        ("2026-11-25T10:06", "2026-11-25T11:36", False),  # one export has not come
        ("2026-11-25T10:06", "2026-11-25T12:20", False),  # the second may still be on its way
        ("2026-11-25T10:06", "2026-11-25T12:36", True),
        ("2026-11-24T18:06", "2026-11-25T07:30", False),  # a night
        ("2026-11-27T18:06", "2026-11-29T23:59", False),  # a weekend
        ("2026-11-27T18:06", "2026-11-30T06:00", False),
        ("2026-11-27T18:06", "2026-11-30T08:30", False),  # Monday morning
        ("2026-11-27T18:06", "2026-11-30T08:36", True),
        ("2026-10-23T18:06", "2026-10-26T08:30", False),  # the weekend of 49 hours
        ("2026-10-23T18:06", "2026-10-26T08:36", True),
        ("2026-03-27T18:06", "2026-03-30T08:30", False),  # and that of 47
        ("2026-03-27T18:06", "2026-03-30T08:36", True),
    ],
)
def test_two_exports_in_a_row_must_not_have_come(heard: str, now: str, late: bool) -> None:
    assert is_late(heard, now) is late


def test_once_a_week_is_a_schedule_too() -> None:
    weekly = {"days": "SUN", "starts": "10:00"}
    assert not is_late("2026-11-15T10:01", "2026-11-29T09:59", **weekly)
    assert is_late("2026-11-15T10:01", "2026-11-29T10:31", **weekly)


def test_an_export_at_an_hour_that_the_clocks_skip_or_repeat_is_one_export() -> None:
    nightly = {"days": " ".join(schedule.DAYS), "starts": "02:30"}
    assert not is_late("2026-03-27T02:31", "2026-03-29T03:50", **nightly)
    assert is_late("2026-03-27T02:31", "2026-03-29T04:01", **nightly)
    assert not is_late("2026-10-24T02:31", "2026-10-25T23:00", **nightly)


def test_the_sentence_names_both_times() -> None:
    said = schedule.describe_lateness(settings(), seconds("2026-11-27T18:06"), seconds("2026-11-30T12:00"))
    assert said == "stale: no usable export since 2026-11-27 17:06 UTC, one was due 2026-11-30 09:05 UTC"


def test_what_has_never_come_is_not_late_and_neither_is_what_came_from_the_future() -> None:
    assert schedule.describe_lateness(settings(), 0, seconds("2026-11-30T12:00")) == ""
    assert not is_late("2027-01-01T00:00", "2026-11-30T12:00")


def test_settings_of_the_release_before_tell_no_schedule_and_nothing_is_late(tmp_path: Path) -> None:
    places = Places(str(tmp_path), str(tmp_path))
    tree = Path(places.tree("acme"))
    tree.mkdir(parents=True)
    fields = json.loads(settings().text())
    older = {name: value for name, value in fields.items() if name not in ("days", "starts", "timezone")}
    (tree / "settings.json").write_text(json.dumps(older))
    (tree / "exclude-users.txt").write_text("")
    assert load_settings(places, "acme").days == ""
    assert schedule.describe_lateness(load_settings(places, "acme"), 1, seconds("2026-11-30T12:00")) == ""


@pytest.mark.parametrize("days", ["", "SOMEDAY"])
def test_damaged_days_are_no_schedule(days: str) -> None:
    assert schedule.find_due(settings(days=days), seconds("2026-11-30T12:00")) == 0


def test_a_time_zone_the_relay_does_not_know_makes_it_more_patient_by_a_day_and_nothing_worse() -> None:
    unknown = {"timezone": "Europe/Nowhere"}
    assert not is_late("2026-11-25T10:06", "2026-11-26T11:30", **unknown)
    assert is_late("2026-11-25T10:06", "2026-11-26T13:36", **unknown)


def test_a_relay_without_any_time_zones_does_not_fail() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import zoneinfo; zoneinfo.reset_tzpath(to=[])\n"
        "sys.modules['tzdata'] = None\n"
        "from receiver.monitoring import schedule; from common.settings import Settings\n"
        "s = Settings('acme', 'x', ('a.example',), days='MON', starts='01:00', timezone='Europe/Berlin')\n"
        "print(schedule.find_due(s, 1_790_000_000) > 0)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(REPO)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_uploads_do_not_pay_for_time_zones() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import receiver.forced_command; print('zoneinfo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(REPO)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_the_schedule_of_the_inventory_is_what_a_relay_goes_by() -> None:
    table = {"name": "Acme", "domains": ("acme.example",), "relays": ("mx1",), "exchange": EXCHANGE}
    known = relay_role.settings(Customer.model_validate({"id": "acme", **table}))
    first = seconds(f"2026-11-30T{known.starts.split()[0]}")
    assert (known.days, len(known.starts.split())) == ("MON TUE WED THU FRI", 12)
    assert schedule.find_due(known, first + 3600 + 1800) == first


# ---- many at once


@pytest.mark.parametrize(("stale", "watched", "told"), [(2, 2, False), (3, 6, False), (3, 5, True), (40, 50, True)])
def test_most_of_a_relay_s_customers_stale_at_once_is_one_outage(stale: int, watched: int, told: bool) -> None:
    names = [f"c{number}" for number in range(stale)]
    assert bool(schedule.describe_outage(names, watched)) is told


def test_an_outage_of_many_names_some_of_them() -> None:
    said = schedule.describe_outage([f"c{number}" for number in range(40)], 50)
    asked = "is it this relay, its address or its sshd?"
    assert said == f"40 of 50 customers are stale at once: {asked} c0, c1, c2, c3, c4 ..."
