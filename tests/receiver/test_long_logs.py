"""A log of gigabytes is read in bounded time and memory, a part at a time, and no part twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.waiting import HANGS
from receiver.monitoring import log_reading
from tests.support.maillog import delivery, read_files, refusal, smtp, smtpd
from tests.support.small_relay import REPO

HEAD = "Nov 20 10:00:00 mx1 "
SIZE = 2 << 30  # octets
MEMORY = 400 << 10  # kilobytes that a reading may have
_READ = f"""
import json, resource, sys
sys.path.insert(0, {str(REPO)!r})
from receiver.monitoring.collector import Collector, map_owners
from receiver.monitoring.last_hop import LastHops
from receiver.monitoring.log_content import open_log
from receiver.monitoring.log_reading import Reading, find_parts
from receiver.monitoring.mail_log import Losses, MailLog
from receiver.monitoring.refusal_watch import SECONDS, make_deadline
from receiver.monitoring.refusals import Refusals
from tests.support.maillog import SETTINGS
refusals, position, ends, losses = Refusals(), None, [], Losses()
while True:
    file = open_log(sys.argv[1])
    some, _ = find_parts([file], position, 1.0)
    collector = Collector(map_owners([(SETTINGS, refusals)]), LastHops({{}}))
    reading = Reading(MailLog(losses), losses, collector, make_deadline(SECONDS))
    whole, position = reading.read(some), reading.position
    ends.append(position.offset)
    if whole:
        break
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
days = sorted({{day for each in refusals.refused.values() for day in each.days}})
print(json.dumps([ends, refusals.totals["unlisted"], most, losses.unread, days]))
"""


def traffic() -> bytes:
    """Some megabytes as a busy relay writes them: of ten lines one is a refusal and one a delivery."""
    others = ("smtpd", "cleanup", "qmgr", "anvil", "qmgr", "cleanup", "smtpd", "postscreen")
    return b"".join(
        smtpd(refusal(f"x{number}@acme.example"), HEAD)
        + smtp(delivery(f"u{number}@acme.example"), HEAD)
        + b"".join(f"{HEAD}postfix/{name}[9]: 4ABC{number:04}: client=x.example\n".encode() for name in others)
        for number in range(6_000)
    )


@pytest.mark.long
def test_two_gigabytes_are_read_a_part_at_a_time_in_bounded_memory(tmp_path: Path) -> None:
    log, block, times = tmp_path / "mail.log", traffic(), 0
    with log.open("wb") as file:
        while file.tell() < SIZE:
            file.write(block)
            times += 1
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(log)], capture_output=True, text=True, timeout=20 * HANGS, cwd=REPO
    )
    assert done.returncode == 0, done.stderr
    ends, refused, memory, unread, days = json.loads(done.stdout)
    assert ends == sorted(set(ends)), "each reading goes on"
    assert (ends[-1], refused, unread, len(days)) == (times * len(block), times * 6_000, 0, 1)
    assert memory < MEMORY


def test_the_years_of_a_long_file_are_told_without_reading_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reading, "_LONG", 1 << 20)
    lines = [smtp(delivery("old@acme.example"), "Dec 20 10:00:00 mx1 ")]
    lines += [smtpd(refusal(f"d{number}@acme.example"), "Dec 31 10:00:00 mx1 ") for number in range(6_000)]
    lines += [smtpd(refusal(f"j{number}@acme.example"), "Jan  2 10:00:00 mx1 ") for number in range(6_000)]
    lines += [smtp(delivery("new@acme.example"), "Jan  3 10:00:00 mx1 ")]
    log = tmp_path / "mail.log"
    log.write_bytes(b"".join(lines))
    os.utime(log, (1_767_500_000, 1_767_500_000))  # 2026-01-04
    assert log.stat().st_size > 1 << 20
    assert read_files([log])["had_mail"] == {"old@acme.example": "2025-12-20", "new@acme.example": "2026-01-03"}
