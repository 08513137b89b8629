"""Uploads over real sshd, through real sudo, into tables a real Postfix answers from."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.paths import LIBRARY
from lab.host import LabHost
from lab.operators import MARK, AtOnce, Operator, answers, people
from lab.waiting import wait_until
from tests.support import small_relay
from tests.support.maillog import delivery, smtp
from tests.support.releases import releases

pytestmark = pytest.mark.host

DESK = "/usr/local/sbin/postern"
SPOOL = Path("var/lib/postern/customers/acme")


def export(*locals_: str) -> bytes:
    return small_relay.export(local if local.startswith("x@") else f"{local}@acme.example" for local in locals_)


class Relay:
    """A provisioned relay with Postfix running, and the server of its customer acme."""

    def __init__(self, host: LabHost, operator: Operator) -> None:
        self.host, self.operator = host, operator
        operator.relay("mx1", host)
        operator.customer("acme")
        host.start_postfix()
        operator.done("provision acme")

    def upload(self, *locals_: str, code: int = 0) -> str:
        ran = self.operator.upload(export(*locals_))
        assert (ran.code, ran.err) == (code, "")
        return ran.out

    def admin(self, *words: str, stdin: bytes = b"", code: int = 0, user: str | None = None) -> str:
        done = self.host.run(DESK, *words, stdin=stdin, check=False, user=user)
        assert (done.returncode, done.stderr) == (code, "")
        return done.stdout

    def accepted(self, *locals_: str) -> Relay:
        self.upload(*locals_, code=3)
        return self.accept(len(locals_))

    def accept(self, first: int) -> Relay:
        """Run the command that a review at the relay itself ends with."""
        command = self.admin("review", "acme").splitlines()[-1].split()[1:]
        assert command[:4] == ["accept", "acme", "--first", str(first)]
        self.admin(*command)
        return self

    def answers(self, *locals_: str) -> list[str]:
        whole = [f"{local}@acme.example" for local in locals_]
        return list(answers(self.host, *whole).values())

    def file(self, name: str) -> Path:
        return self.host.root / SPOOL / name


@pytest.fixture
def relay(bookworm: LabHost, tmp_path: Path) -> Relay:
    return Relay(bookworm, AtOnce(tmp_path))


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie", "forky"))
def test_from_the_first_list_to_a_rollback_postfix_answers_as_it_should(
    lab_host: Callable[..., LabHost], tmp_path: Path, release: str
) -> None:
    relay = Relay(lab_host(release), AtOnce(tmp_path))
    assert relay.upload("ann", "bob", code=3) == "acme: first list of acme.example (2): held; 2 added\n"
    assert relay.answers("ann", "bob", "nobody") == ["250", "250", "250"], "the domain is open still"
    relay.accept(2)
    assert relay.answers("ann", "bob", "nobody", "postmaster") == ["250", "250", "550", "250"]
    assert relay.upload("ann", "bob", "cora") == "acme: 3 recipients (+1 -0)\n"
    assert relay.answers("cora", "nobody") == ["250", "550"]
    assert "would be left with none" in relay.upload("x@elsewhere.example", code=3)
    assert relay.answers("ann", "bob", "cora") == ["250", "250", "250"]
    relay.admin("rollback", "acme", "--removing", "1")
    assert relay.answers("ann", "cora") == ["250", "550"]
    assert relay.upload("ann", "bob", "cora").startswith("acme: 2 recipients (+0 -0), frozen since ")
    relay.admin("resume", "acme")
    assert relay.answers("ann", "cora") == ["250", "250"]
    for words in ("review acme", "history acme", "history acme --diff 0", "status acme", "hand-over acme", "tick"):
        relay.admin(*words.split(), *(["--json"] if words == "tick" else []))


def test_every_call_is_logged_before_anything_is_read_and_what_it_came_to_after(relay: Relay) -> None:
    to = f"postern@{relay.host.address}"
    relay.operator.call([*relay.operator.client("plink", relay.host), to, "receive"])
    log = relay.host.log("nothing was sent")
    called, ended = (log.index(text) for text in ("acme key k1 from 127.", "acme: refused: "))
    assert log[called:].split("\n")[0].endswith(": receive")
    assert called < ended
    relay.operator.call([*relay.operator.client("ssh", relay.host), to, "rm -rf /; \x1b[31mowned\nacme key k9"])
    assert r"rm -rf /; \x1b[31mowned\nacme key k9" in relay.host.log("owned")


@pytest.mark.parametrize("program", ["scp", "sftp"])
def test_an_attack_by_copying_files_reaches_none(relay: Relay, program: str, tmp_path: Path) -> None:
    relay.accepted("ann")
    (tmp_path / "list").write_text("x@acme.example\n")
    to = f"postern@{relay.host.address}:/{SPOOL}/recipients"
    words = ("-O", str(tmp_path / "list"), to) if program == "scp" else (to.partition(":")[0],)
    ran = relay.operator.call([*relay.operator.client(program, relay.host), *words], stdin=b"put list\n")
    assert ran.code != 0
    assert relay.file("recipients").read_text() == "ann@acme.example\n"


def test_everything_in_the_spool_is_the_accounts_also_when_root_came_to_the_desk(relay: Relay) -> None:
    relay.accepted(*people(10))
    relay.upload(*people(5), code=3)
    relay.admin("review", "acme")
    relay.admin("rollback", "acme", "--to", "0")
    relay.admin("tick")
    owners = relay.host.run("find", f"/{SPOOL}", "/var/lib/postern/run", "-not", "-user", "postern")
    assert owners.stdout == ""
    assert relay.host.run("find", f"/{SPOOL}", "-perm", "/077").stdout == ""


def test_somebody_who_is_neither_root_nor_the_account_is_refused(relay: Relay) -> None:
    said = relay.admin("status", "acme", user="nobody", code=2)
    assert said == "acme: refused: only root and account postern may use this: sudo postern ...\n"
    assert "acme: 0 recipients" in relay.admin("status", "acme", user="postern")


def test_review_reads_the_mail_log_that_only_root_may_open(relay: Relay) -> None:
    relay.accepted(*people(10))
    relay.host.run("chmod", "0640", "/var/log/mail.log")
    day = relay.host.run("date", "+%b %e").stdout.strip()
    with (relay.host.root / "var/log/mail.log").open("ab") as log:
        log.write(smtp(delivery("user0009@acme.example"), f"{day} 10:00:00 mx1 "))
    relay.upload(*people(5), code=3)
    lines = relay.admin("review", "acme").splitlines()
    assert lines[3].startswith("  - user0009@acme.example  has had mail lately: on 1 day, the last ")
    assert "at least 1 that it refuses have had mail in the last 14 days" in lines
    assert "at least 1 that it refuses have had mail" in relay.admin("review", "acme", user="postern")


def test_a_quoted_address_is_found_by_the_look_up_as_it_stands_in_the_table(relay: Relay) -> None:
    relay.upload('"joe smith"', '"a,b"', "o'neill", code=3)
    found = json.loads(relay.admin("status", "acme", "--json"))
    assert (found["total"], found["last"]["trouble"], found["unproven"]) == (3, "", 0)


def test_a_disk_that_is_really_full_leaves_the_old_list_and_says_so(relay: Relay) -> None:
    relay.accepted(*people(10))
    relay.host.run("cp", "-a", f"/{SPOOL}", "/tmp/spool")
    relay.host.tmpfs(f"/{SPOOL}", "100k")
    relay.host.run("cp", "-a", "/tmp/spool/.", f"/{SPOOL}")
    relay.host.run("sh", "-c", f"dd if=/dev/zero of=/{SPOOL}/filler bs=1k 2> /dev/null; true")
    relay.host.run("truncate", "-s", "-12k", f"/{SPOOL}/filler")
    more = people(1000)
    assert "no room on the disk" in relay.upload(*people(10), *more[10:300], code=4)
    assert len(relay.file("recipients").read_text().splitlines()) == 10
    assert relay.answers("user0009", "user0010") == ["250", "550"]
    relay.host.run("rm", f"/{SPOOL}/filler")
    assert relay.upload(*people(10), "new") == "acme: 11 recipients (+1 -0)\n"


def test_a_table_that_is_lost_is_told_by_the_look_up(relay: Relay) -> None:
    relay.accepted("ann")
    relay.host.run("sh", "-c", "printf '#!/bin/sh\\nexit 0\\n' > /usr/local/sbin/rebuild-relay-recips")
    assert relay.upload("ann", "bob", code=4) == (
        "acme: 2 recipients (+1 -0); NOT IN THE TABLES YET: bob@acme.example cannot be found in them\n"
    )
    relay.host.run("sh", "-c", "rm /etc/postern/tables/exchange_recipients.db")
    lost = "NOT IN THE TABLES YET: ann@acme.example and 1 more cannot be found in them"
    assert lost in relay.upload("ann", "bob", code=4)


def test_many_uploads_at_once_are_all_taken_and_the_last_build_has_them_all(relay: Relay) -> None:
    """One customer's own come one after the other, or are told to try again; nothing is lost or mixed."""
    relay.accepted(*people(50))
    codes: list[int] = []

    def upload(number: int) -> None:
        codes.append(relay.operator.upload(export(*people(50), f"extra{number}")).code)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {0, 75}
    found = json.loads(relay.admin("status", "acme", "--json"))
    assert (found["total"], found["unproven"]) == (51, 0)


KILL = """  # the receiver that a key starts, so many seconds after it was seen
import os, signal, sys, time

def find():
    for number in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                if file.read().startswith(b"/usr/bin/python3\\0-IS\\0/usr/local/sbin/postern-receive\\0acme"):
                    yield int(number)
        except OSError:
            pass  # it has ended

open("/run/killer-looks", "w").close()
while not (found := [*find()]):
    time.sleep(0.005)
time.sleep(float(sys.argv[1]))
for number in found:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def test_a_gate_that_is_killed_in_mid_upload_leaves_the_list_and_the_timer_finishes(relay: Relay) -> None:
    relay.accepted(*people(50))
    codes = set()
    for after in (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        relay.file("gone").unlink(missing_ok=True)  # swapping one at each upload would be held
        killer = threading.Thread(target=relay.host.run, args=("python3", "-c", KILL, str(after)))
        looks = relay.host.root / "run/killer-looks"
        looks.unlink(missing_ok=True)
        killer.start()
        wait_until(looks.exists)
        new = f"new{after}".replace(".", "-")
        codes.add(code := relay.operator.upload(export(*people(50), new)).code)
        killer.join()
        listed = relay.file("recipients").read_text().split()
        assert [name for name in listed if name.startswith("user")] == [f"{name}@acme.example" for name in people(50)]
        if code == 0:  # else it may be held, as what killed runs left to be done adds up, and has only added then
            assert {*listed} == {f"{name}@acme.example" for name in (*people(50), new)}
    assert 128 + signal.SIGKILL in codes, "none was killed"
    relay.admin("tick")
    assert json.loads(relay.admin("status", "acme", "--json"))["unproven"] == 0
    listed = relay.file("recipients").read_text().split()
    assert relay.answers(*(name.partition("@")[0] for name in listed[:3]), "nobody") == ["250"] * 3 + ["550"]


def test_an_upload_of_a_thousand_costs_as_little_as_a_few_starts_of_python(relay: Relay) -> None:
    """Processor time with sudo and build, beside a bare start measured with it (benchmarks/ has the clock)."""
    relay.accepted(*people(1000))

    def seconds(script: str, stdin: bytes = b"") -> float:
        told = relay.host.run("sh", "-c", f"{script}; times", stdin=stdin, user="postern").stdout
        return sum(int(m) * 60 + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", told.splitlines()[-1]))

    def starts_of_python(new: str) -> float:
        upload = seconds(
            "SSH_ORIGINAL_COMMAND=receive /usr/local/sbin/postern-receive acme k1", export(*people(1000), new) + MARK
        )
        assert f"{new}@acme.example" in relay.file("recipients").read_text()
        return upload / (seconds("for n in 1 2 3 4 5 6 7 8 9 10; do python3 -I -c 'import json, hashlib'; done") / 10)

    ratios = [starts_of_python(f"new{number}") for number in range(5)]
    assert min(ratios) < 15


def test_the_timer_builds_anew_a_table_that_somebody_removed(relay: Relay) -> None:
    relay.accepted("ann", "bob")
    relay.host.run("rm", "/etc/postern/tables/exchange_recipients.db")
    assert relay.upload("ann", "bob").startswith("acme: 2 recipients, unchanged")
    relay.admin("tick", user="postern")
    relay.host.reload_postfix()
    assert relay.answers("ann", "nobody") == ["250", "550"]


BY_ANOTHER_CLOCK = f"""
import sys, time
sys.path.insert(0, "{LIBRARY}")
from receiver.tables import build
right, ahead = time.time, float(sys.argv.pop())
time.time = lambda: right() + ahead
sys.exit(build.main())
"""


@pytest.mark.parametrize(
    ("age_days", "ahead_days", "by_it", "rightly"),
    [(0, -4000, "250", "550"), (0, 400, "250", "550"), (31, -5, "550", "250")],
    ids=["years behind, which opens", "a year ahead, which opens", "days behind, which closes"],
)
def test_the_timer_builds_once_more_what_was_built_by_a_wrong_clock(
    relay: Relay, age_days: int, ahead_days: int, by_it: str, rightly: str
) -> None:
    """As before Postfix starts on a machine that learns the time afterwards. Nor is what was retired deleted then."""
    relay.accepted("ann", "bob")
    relay.file("accepted.json").write_text(
        json.dumps({"domains": {"acme.example": int(time.time()) - age_days * 86_400}, "list": "", "counts": {}})
    )
    relay.admin("tick", user="postern")
    retired = relay.host.root / "var/lib/postern/retired" / f"bolt-{time.strftime('%Y-%m-%d')}"
    retired.mkdir()
    relay.host.run("python3", "-IS", "-c", BY_ANOTHER_CLOCK, str(ahead_days * 86_400))
    assert relay.answers("ann", "nobody") == ["250", by_it]
    relay.admin("tick", user="postern")
    assert relay.answers("ann", "nobody") == ["250", rightly]
    assert retired.exists()
    built = relay.host.root / "etc/postern/tables/built.json"
    before = built.stat().st_mtime_ns
    relay.admin("tick", user="postern")
    assert built.stat().st_mtime_ns == before
