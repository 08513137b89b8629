"""The timer: what it finishes, opens, counts, and raises."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from common.exit_codes import DONE
from common.opened import Opened
from receiver.actions.rollback import ListChoice
from receiver.monitoring import alarms, schedule
from receiver.outcome import Answer, Busy, Origin
from receiver.system import locks
from receiver.system.atomic_files import open_directory
from receiver.timer import run_timer
from receiver.upload import stream
from tests.support.next_hop_server import mail_server
from tests.support.small_relay import SmallRelay, age, people

pytestmark = pytest.mark.slow  # each test runs uploads, accepts and the timer, as processes do
DAY = 86_400
NEW = "new@acme.example"


@pytest.fixture
def relay_of_today(tmp_path: Path) -> SmallRelay:
    """A relay whose first list has been accepted, whose alarms go to a file, and whose timer has run once."""
    relay = SmallRelay(tmp_path)
    mail = relay.program("alarm", f"#!/bin/sh\ncat >> {relay.var}/alarms; echo called >> {relay.var}/calls\n")
    relay.relay(alarm=(str(mail),))
    relay.offer(people(40))
    relay.accept("first", 40)
    run(relay)
    return relay


@pytest.fixture
def relay(relay_of_today: SmallRelay, monkeypatch: pytest.MonkeyPatch) -> SmallRelay:
    """Just before midnight (UTC) it is past that in this process, as alarms are raised again each day."""
    clock = time.time
    left = DAY - clock() % DAY
    if left < 1000:
        monkeypatch.setattr(time, "time", lambda: clock() + left)
    return relay_of_today


def run(relay: SmallRelay, later: float = 0) -> Answer:
    return run_timer(relay.places, relay.tables, int(time.time() + later))


def alarm_lines(relay: SmallRelay, later: float = 0) -> list[str]:
    """Return the alarms that this run of the timer raised."""
    path = relay.var / "alarms"
    path.unlink(missing_ok=True)
    run(relay, later)
    return path.read_text().splitlines()[1:] if path.exists() else []


def metrics(relay: SmallRelay) -> dict[str, int]:
    text = (relay.var / "metrics" / "postern.prom").read_text()
    return {name: int(value) for name, value in re.findall(r"^([a-z_]+(?:\{.*\})?) ([0-9]+)$", text, re.MULTILINE)}


# ---- alarms


def test_a_relay_in_good_order_tells_nothing_and_builds_nothing(relay: SmallRelay) -> None:
    builds = relay.builds()
    assert alarm_lines(relay) == []
    assert relay.builds() == builds


def test_a_held_list_is_told_once_a_day_with_what_to_do(relay: SmallRelay) -> None:
    relay.offer(people(20))
    (line,) = alarm_lines(relay)
    assert line.startswith("acme: held since ")
    assert line.endswith("50.0 % would go (20 of 40), limit 10 %; see `inv review acme`")
    relay.offer(people(19))
    assert alarm_lines(relay, 60) == []
    assert len(alarm_lines(relay, DAY)) == 1


def test_a_list_that_is_held_again_on_the_same_day_is_told_again(relay: SmallRelay) -> None:
    relay.offer(people(20), when=time.time() - 60)
    alarm_lines(relay)
    relay.offer(people(40))
    relay.offer(people(20))
    assert len(alarm_lines(relay)) == 1


def test_a_first_list_that_waits_is_told(relay: SmallRelay) -> None:
    relay.provision(domains=("acme.example", "acme.co.example"))
    relay.offer([*people(40), *people(3, "acme.co.example")])
    assert "first list of acme.co.example (3)" in alarm_lines(relay)[0]


def test_a_pin_is_told_with_who_set_it_and_what_is_held_meanwhile_is_not(relay: SmallRelay) -> None:
    relay.roll_back(ListChoice(back=0), Origin(int(time.time()), by="olga"))
    relay.offer(people(20))
    (line,) = alarm_lines(relay)
    assert " by olga; `inv resume acme` ends it" in line


def test_domains_that_a_person_opened_are_told_every_day_and_their_lists_count_no_more(relay: SmallRelay) -> None:
    marker = Path(relay.places.opened("acme"))
    marker.parent.mkdir()
    marker.write_text(Opened("acme", int(time.time()), "olga@desk").text())
    builds = relay.builds()
    (line,) = alarm_lines(relay)
    assert " by olga@desk: nobody is refused in acme.example; `inv open acme --end` ends it" in line
    assert relay.builds() == builds + 1
    assert relay.accepted() == {}
    assert alarm_lines(relay, 60) == []
    assert [one for one in alarm_lines(relay, DAY) if "OPEN" in one] == [line]


def test_a_list_that_gained_nobody_for_its_days_is_told(relay: SmallRelay) -> None:
    relay.offer(people(39))
    relay.provision(no_additions_days=2)
    assert alarm_lines(relay, DAY) == []
    assert any("the list has gained nobody since " in line for line in alarm_lines(relay, 2 * DAY + 60))
    relay.provision(no_additions_days=0)
    assert not any("gained nobody" in line for line in alarm_lines(relay, 4 * DAY))


def test_refused_uploads_are_told_when_no_good_one_has_come_for_a_day(relay: SmallRelay) -> None:
    assert relay.forced_command("receive", b"nothing").returncode == 2
    assert alarm_lines(relay) == [], "the next one may be better"
    (line,) = alarm_lines(relay, DAY + 60)
    assert "no upload is taken since " in line
    assert "end mark is missing" in line


def test_a_list_that_does_not_get_into_the_tables_is_told_and_tried_again(relay: SmallRelay) -> None:
    (relay.etc / "left-out").write_text("acme: its list is damaged\n")
    relay.offer([*people(40), NEW])
    assert alarm_lines(relay) == [], "it may be on its way"
    (line,) = alarm_lines(relay, 700)
    assert line.endswith("is not in the tables: left out of the tables: its list is damaged")
    (relay.etc / "left-out").unlink()
    assert alarm_lines(relay, 800) == []
    assert metrics(relay)['postern_unproven_since_seconds{customer="acme"}'] == 0


def test_age_is_told_from_half_of_the_time_on_every_day_until_the_domain_opens(relay: SmallRelay) -> None:
    assert alarm_lines(relay, 14 * DAY) == []
    (line,) = alarm_lines(relay, 16 * DAY)
    assert line == "acme: no good list for 16 days; after 30, nobody is refused in acme.example"
    assert len(alarm_lines(relay, 17 * DAY)) == 1
    assert alarm_lines(relay, 31 * DAY) == ["acme: OPEN, no good list for 31 days: acme.example"]


def test_a_partial_domain_is_open_anyway_and_not_told(relay: SmallRelay) -> None:
    relay.provision(partial=("acme.example",))
    assert alarm_lines(relay, 31 * DAY) == []


def test_an_upload_from_the_future_is_told(relay: SmallRelay) -> None:
    (line,) = alarm_lines(relay, -3 * 3600)
    assert "which is to come: this relay's clock was wrong then, or is now" in line


ALWAYS = {"days": " ".join(schedule.DAYS), "starts": "00:00 08:00 16:00"}  # an export every eight hours


def test_a_list_that_is_late_by_its_schedule_is_told_once_a_day(relay: SmallRelay) -> None:
    relay.provision(**ALWAYS)
    assert alarm_lines(relay, 8 * 3600) == []
    at_noon = 2 * DAY - (time.time() + DAY // 2) % DAY
    (line,) = alarm_lines(relay, at_noon)
    assert line.startswith("acme: stale: no usable export since ")
    assert alarm_lines(relay, at_noon + 300) == []


@pytest.mark.parametrize("pinned", [False, True])
def test_exports_that_come_and_are_held_or_kept_back_are_not_late(relay: SmallRelay, pinned: bool) -> None:
    relay.provision(**ALWAYS)
    age(relay, 3)
    if pinned:
        relay.roll_back(ListChoice(back=0), Origin(int(time.time()), by="olga"))
    relay.offer(people(20))
    assert [line for line in alarm_lines(relay) if "stale" in line] == []


def add_customers(relay: SmallRelay, count: int) -> None:
    """Add customers like acme."""
    for name in (f"bolt{number}" for number in range(count)):
        tree, spool = Path(relay.places.tree(name)), Path(relay.places.spool(name))
        shutil.copytree(relay.places.tree("acme"), tree)
        (tree / "settings.json").write_text(relay.settings._replace(customer=name).text())
        shutil.copytree(relay.folder, spool)


def test_most_customers_late_at_once_are_one_alarm_of_the_relay(relay: SmallRelay) -> None:
    relay.provision(**ALWAYS)
    add_customers(relay, 3)
    (line,) = alarm_lines(relay, 2 * DAY)
    assert line.startswith("4 of 4 customers are stale at once: is it this relay, its address or its sshd? acme, bolt0")


def test_a_few_late_customers_of_many_are_told_by_name(relay: SmallRelay) -> None:
    relay.provision(**ALWAYS)
    add_customers(relay, 3)
    now = int(time.time())
    for name in ("bolt1", "bolt2"):
        shutil.copy(relay.folder / "accepted.json", Path(relay.places.spool(name)) / "accepted.json")
    late = {"postern": 1, "domains": {"acme.example": now - 2 * DAY}, "list": ""}
    for name in ("acme", "bolt0"):
        (Path(relay.places.spool(name)) / "accepted.json").write_text(json.dumps(late))
    assert [line.partition(":")[0] for line in alarm_lines(relay)] == ["acme", "bolt0"]


def test_a_customer_that_is_broken_is_told_and_does_not_hide_the_others(relay: SmallRelay) -> None:
    bolt = Path(relay.places.tree("bolt"))
    bolt.mkdir()
    (bolt / "settings.json").write_text("{")
    relay.offer(people(20))
    lines = alarm_lines(relay)
    assert [line.partition(":")[0] for line in lines] == ["bolt", "acme"]


def test_hidden_names_are_no_customers(relay: SmallRelay) -> None:
    Path(relay.places.tree(".acme.4711")).mkdir()
    assert alarm_lines(relay) == []


def test_many_alarms_are_one_call(relay: SmallRelay) -> None:
    for number in range(20):
        tree = Path(relay.places.tree(f"bolt{number}"))
        tree.mkdir()
        (tree / "settings.json").write_text("{")
    assert len(alarm_lines(relay)) == 20
    assert (relay.var / "calls").read_text().count("called") == 1


@pytest.mark.parametrize("program", ["#!/bin/sh\nexit 1\n", "#!/nowhere\n"])
def test_an_alarm_that_could_not_be_told_is_told_by_the_next_run(relay: SmallRelay, program: str) -> None:
    works = (relay.etc / "alarm").read_text()
    relay.program("alarm", program)
    relay.offer(people(20))
    assert alarm_lines(relay) == []
    relay.program("alarm", works)
    assert len(alarm_lines(relay)) == 1


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        (
            "curl: (22) https://hooks.example/T0/B0/s3cret returned 404",
            "curl: (22) https://hooks.example/... returned 404",
        ),
        ("'http://me:s3cret@chat.example?key=s3cret': no route", "'http://chat.example/...': no route"),
        ("smtp://mail.example: refused", "smtp://mail.example: refused"),
        ("no such file: /etc/postern-hook", "no such file: /etc/postern-hook"),
    ],
)
def test_attack_what_an_alarm_s_program_says_of_its_url_is_no_secret_in_the_log(said: str, logged: str) -> None:
    assert alarms.hide_urls(said) == logged


def test_an_alarm_that_could_not_be_told_is_told_though_its_cause_is_gone_by_then(relay: SmallRelay) -> None:
    """A table that was built anew works again when somebody hears of it."""
    works = (relay.etc / "alarm").read_text()
    relay.program("alarm", "#!/bin/sh\nexit 1\n")
    (relay.etc / "broken").write_text("plus: cannot be read\n")
    assert alarm_lines(relay) == []
    (relay.etc / "broken").unlink()
    assert alarm_lines(relay, 300) == []
    relay.program("alarm", works)
    assert alarm_lines(relay, DAY) == ["tables that Postfix could not read were built anew: plus: cannot be read"]
    assert alarm_lines(relay, DAY + 300) == []


def test_a_disk_that_takes_nothing_keeps_no_alarm_from_being_told(relay: SmallRelay) -> None:
    """Nothing can be noted, so each run tells all; a directory where a draft would be fails as a full disk does."""
    relay.offer(people(20))
    age(relay, 31)
    for name in ("timer", "opened", "alarms", "alarms-untold"):
        (relay.var / "run" / f".{name}.json").mkdir()
    for _ in range(2):
        lines = alarm_lines(relay)
        assert lines[0].startswith(f"{relay.places.run} cannot be written: Is a directory; ")
        assert any(line.startswith("acme: held since ") for line in lines)
        assert "acme: OPEN, no good list for 31 days: acme.example" in lines
        assert metrics(relay)['postern_alarms{customer="",kind="disk"}'] == 1


def test_a_customer_s_folder_that_takes_nothing_keeps_none_of_its_alarms_from_being_told(relay: SmallRelay) -> None:
    relay.offer(people(20))
    marker = Path(relay.places.opened("acme"))
    marker.parent.mkdir()
    marker.write_text(Opened("acme", int(time.time()), "olga@desk").text())
    for name in (".accepted.json", "heads-in-force.json"):
        (relay.folder / name).mkdir()
    lines = alarm_lines(relay)
    assert any(line.startswith("acme: held since ") for line in lines)
    assert any(" by olga@desk: nobody is refused in acme.example; " in line for line in lines)
    assert relay.accepted().keys() == {"acme.example"}
    (relay.folder / ".accepted.json").rmdir()
    run(relay)
    assert relay.accepted() == {}


def test_a_disk_without_room_for_an_upload_is_told_once_a_day(
    relay: SmallRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SPARE", 1 << 40)
    (line,) = alarm_lines(relay)
    assert line == f"{relay.places.run}: less than {1 << 40} MB free; uploads are refused until there is more"
    assert alarm_lines(relay) == []


def test_without_a_program_alarms_go_to_the_log_alone(relay: SmallRelay) -> None:
    relay.relay(alarm=())
    relay.offer(people(20))
    record: dict[str, Any] = run(relay).record
    assert len(record["told"]) == 1
    assert run(relay).record["told"] == []


# ---- rule 5


def test_a_domain_whose_list_is_too_old_is_opened_by_a_build_once(relay: SmallRelay) -> None:
    builds = relay.builds()
    run(relay, 29 * DAY)
    assert relay.builds() == builds
    run(relay, 31 * DAY)
    run(relay, 31 * DAY + 300)
    assert relay.builds() == builds + 1


def test_a_domain_that_a_review_closed_in_between_is_opened_again(relay: SmallRelay) -> None:
    age(relay, 31)
    run(relay)
    relay.offer(people(40))
    relay.accept("first", 40)
    run(relay)
    builds = relay.builds()
    age(relay, 31)
    run(relay)
    assert relay.builds() == builds + 1


def test_a_domain_that_a_wrong_clock_opened_is_closed_when_the_clock_is_right(relay: SmallRelay) -> None:
    builds = relay.builds()
    run(relay, 3650 * DAY)
    run(relay)
    run(relay)
    assert relay.builds() == builds + 2


def test_a_domain_that_went_and_comes_back_between_two_uploads_is_open(relay: SmallRelay) -> None:
    relay.provision(domains=("acme.example", "acme.co.example"))
    relay.offer([*people(40), *people(9, "acme.co.example")])
    relay.accept("first", 9)
    relay.provision(domains=("acme.example",))
    run(relay)
    assert relay.accepted().keys() == {"acme.example"}
    relay.provision(domains=("acme.example", "acme.co.example"))
    assert relay.offer([*people(40), *people(9, "acme.co.example")]).did == "held"
    assert {*people(40), *people(9, "acme.co.example")} <= relay.in_force()


def test_a_build_that_fails_is_told_and_tried_again(relay: SmallRelay) -> None:
    works = (relay.etc / "rebuild").read_text()
    relay.program("rebuild", "#!/bin/sh\necho no room >&2; exit 4\n")
    lines = alarm_lines(relay, 31 * DAY)
    assert "the tables are out of date, and cannot be built: rebuild-relay-recips ended 4: no room" in lines
    relay.program("rebuild", works)
    builds = relay.builds()
    run(relay, 31 * DAY + 300)
    assert relay.builds() == builds + 1


def test_a_build_that_fails_when_a_server_refuses_to_be_asked_is_tried_again(relay: SmallRelay, tmp_path: Path) -> None:
    works = (relay.etc / "rebuild").read_text()
    relay.provision(unlisted="ask")
    with mail_server(()) as server, relay.opened_logs(tmp_path / "none") as logs:
        (Path(relay.places.tree("acme")) / "transport").write_text(f"acme.example {server.route}\n")
        server.refuses_senders = True
        run_timer(relay.places, relay.tables, int(time.time()), logs)
        relay.program("rebuild", works.replace("echo built", "exit 4\necho built"))
        run_timer(relay.places, relay.tables, int(time.time()), logs)
        relay.program("rebuild", works)
        builds = relay.builds()
        again = run_timer(relay.places, relay.tables, int(time.time()), logs)
        assert relay.builds() == builds + 1, again
        after = run_timer(relay.places, relay.tables, int(time.time()), logs)
        assert relay.builds() == builds + 1, (again, after)


def test_a_main_cf_that_no_longer_names_our_tables_is_told_once_a_day(relay: SmallRelay) -> None:
    (relay.etc / "unnamed").write_text("relay_domains: names no table /etc/postern/tables/relay_domains\n")
    (line,) = alarm_lines(relay)
    assert "DOES NOT ASK OUR TABLES as it should: relay_domains: names no table" in line
    assert "`inv provision CUSTOMER`" in line
    assert alarm_lines(relay) == []
    (relay.etc / "unnamed").unlink()
    assert alarm_lines(relay, DAY) == []


def test_a_main_cf_that_is_mended_and_put_back_on_the_same_day_is_told_again(relay: SmallRelay) -> None:
    said = "relay_domains: names no table /etc/postern/tables/relay_domains\n"
    (relay.etc / "unnamed").write_text(said)
    assert len(alarm_lines(relay)) == 1
    (relay.etc / "unnamed").unlink()
    assert alarm_lines(relay) == []
    (relay.etc / "unnamed").write_text(said)
    assert len(alarm_lines(relay)) == 1
    assert alarm_lines(relay) == []


def test_a_second_list_of_main_cf_that_no_longer_names_our_table_is_told_on_the_same_day(relay: SmallRelay) -> None:
    (relay.etc / "unnamed").write_text("relay_recipient_maps: names no table of ours\n")
    assert len(alarm_lines(relay)) == 1
    (relay.etc / "unnamed").write_text("relay_recipient_maps: names no table of ours\nrelay_domains: names none\n")
    (line,) = alarm_lines(relay)
    assert "relay_domains: names none" in line


def test_each_domain_that_a_table_closes_no_longer_is_told(relay: SmallRelay) -> None:
    table = "relay_recipient_maps regexp:/etc/postfix/theirs.re"
    relay.provision(domains=("a.example", "b.example"), closed_by={"a.example": table, "b.example": table})
    (relay.etc / "adopted").write_text("acme: a.example IS OPEN\nacme: b.example IS OPEN\n")
    told = alarm_lines(relay)
    assert {"acme: a.example IS OPEN", "acme: b.example IS OPEN"} <= {*told}


def test_tables_that_break_again_on_the_same_day_are_told_again(relay: SmallRelay) -> None:
    (relay.etc / "broken").write_text("plus: regexp:/etc/postern/tables/plus: No such file or directory\n")
    assert len(alarm_lines(relay)) == 1
    assert alarm_lines(relay) == [], "it has not ended"
    (relay.etc / "broken").unlink()
    assert alarm_lines(relay) == []
    (relay.etc / "broken").write_text("plus: regexp:/etc/postern/tables/plus: No such file or directory\n")
    assert len(alarm_lines(relay)) == 1


def test_each_run_notes_when_it_was_and_what_it_found_of_the_relay_itself(relay: SmallRelay) -> None:
    relay.offer(people(20))
    (relay.etc / "unnamed").write_text("relay_domains: names none\n")
    run(relay)
    noted = json.loads((relay.var / "run" / "timer.json").read_text())
    assert noted["ran"] <= time.time() < noted["ran"] + 60
    assert noted["told"] is True
    ((kind, text),) = noted["alarms"]
    assert kind == "main.cf"
    assert "relay_domains: names none" in text


# ---- metrics


def test_metrics_say_how_each_customer_stands(relay_of_today: SmallRelay) -> None:
    relay_of_today.offer([*people(20), "x@elsewhere.example"])
    relay_of_today.forced_command(None)
    run(relay_of_today)
    found, now = metrics(relay_of_today), time.time()
    assert found['postern_recipients{customer="acme"}'] == 40
    assert found['postern_open{customer="acme",domain="acme.example"}'] == 0
    assert found['postern_last_run_code{customer="acme"}'] == 3
    assert found['postern_left_out{customer="acme",reason="other domain"}'] == 1
    for name in (
        'postern_held_since_seconds{customer="acme"}',
        'postern_last_good_upload_seconds{customer="acme",domain="acme.example"}',
        'postern_key_seen_seconds{customer="acme",key="k1"}',
        "postern_tick_seconds",
    ):
        assert now - 60 < found[name] <= now


def test_metrics_count_the_alarms_of_the_relay_and_of_each_customer(relay: SmallRelay) -> None:
    assert not [name for name in metrics(relay) if name.startswith("postern_alarms")]
    (relay.etc / "unnamed").write_text("relay_domains: names no table /etc/postern/tables/relay_domains\n")
    relay.offer(people(20))
    for _ in range(2):  # an alarm is raised once a day, and counted as long as its cause lasts
        run(relay)
        found = {name: value for name, value in metrics(relay).items() if name.startswith("postern_alarms")}
        assert found == {
            'postern_alarms{customer="",kind="main.cf"}': 1,
            'postern_alarms{customer="acme",kind="held"}': 1,
        }


def test_metrics_are_replaced_whole_and_readable_by_the_collector(relay: SmallRelay) -> None:
    path = relay.var / "metrics" / "postern.prom"
    before = path.stat().st_ino
    run(relay)
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["postern.prom"]
    blocks = re.findall(r"^# TYPE ([a-z_]+) gauge$", path.read_text(), re.MULTILINE)
    assert len(blocks) == len(set(blocks)) == 13


def test_metrics_that_cannot_be_written_are_told_and_do_not_stop_the_rest(relay: SmallRelay) -> None:
    (relay.var / "metrics" / "postern.prom").unlink()
    (relay.var / "metrics").rmdir()
    assert any(line.startswith("metrics cannot be written") for line in alarm_lines(relay))


# ---- one at a time


def test_a_second_timer_does_not_start_while_one_runs(relay: SmallRelay) -> None:
    run_ = open_directory(relay.places.run)
    with locks.hold_lock(run_, fcntl.LOCK_EX, 0, ""), pytest.raises(Busy, match="has not ended yet"):
        run(relay)


def test_the_timer_says_nothing_that_cron_would_mail(relay_of_today: SmallRelay) -> None:
    relay_of_today.offer(people(20))
    done = relay_of_today.admin("tick")
    assert (done.returncode, done.stdout, done.stderr) == (DONE, b"", b"")
    assert len(json.loads(relay_of_today.admin("tick", "--json").stdout)["alarms"]) == 1


def test_a_customer_left_out_of_the_tables_is_told_every_day_and_tried_again(relay: SmallRelay) -> None:
    """Whichever build left it out: an upload of another customer's tells that one nothing of it."""
    tables = Path(relay.places.tables)
    tables.mkdir(exist_ok=True)
    record = {"postern": 1, "sources": "", "tables": {}, "left_out": {"acme": "recipients is no plain file"}}
    (tables / "built.json").write_text(json.dumps(record))
    works = (relay.etc / "rebuild").read_text()
    relay.program("rebuild", works.replace("echo built", "echo 'acme: recipients is no plain file'\necho built"))
    builds = relay.builds()
    left_out = "acme: left out of the tables: recipients is no plain file"
    assert left_out in alarm_lines(relay)
    assert left_out not in alarm_lines(relay, 300)
    assert left_out in alarm_lines(relay, DAY)
    assert relay.builds() == builds + 3
