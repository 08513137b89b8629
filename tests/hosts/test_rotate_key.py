"""`inv rotate-key`: a new key beside the old, proved, and the old one gone, with no upload lost and no third key."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import inventory
from commands.rotate_key import Rotation, RotationOptions
from console.options import ProvisionOptions
from customer_host import customer_host
from deploy.key_formats import make_pair
from deploy.plan import HostError
from inventory.key_records import record
from inventory.model import Key
from lab.host import LabHost
from lab.operators import REPO, AtOnce, Operator
from lab.waiting import HANGS, wait_until
from tests.support.releases import releases
from tests.support.servers import Event, FarEnd, Server, Uploads, nothing

pytestmark = pytest.mark.host

IDS = (f"c{number}" for number in itertools.count(1))
WORKS = "{}: key {} works; it may receive, look and ask for status\n"
KILLER = """
import os, runpy, signal, sys
moments, folder = int(sys.argv[1]), sys.argv[2]
def seen(event, args):
    global moments
    if event in ("os.rename", "os.remove") and str(args[0]).startswith(folder):
        moments -= 1
        if moments < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(seen)
sys.argv = ["inv", *sys.argv[3:]]
runpy.run_path("cli.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def relay() -> Iterator[Callable[..., LabHost]]:
    """Yield a running relay of a release, the same one throughout this file; each test has a customer of its own."""
    with ExitStack() as hosts:
        started: dict[tuple[str, int], LabHost] = {}

        def running(release: str = "bookworm", number: int = 1) -> LabHost:
            if (release, number) not in started:
                started[release, number] = hosts.enter_context(LabHost(release))
                started[release, number].start_postfix()
            return started[release, number]

        yield running


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Somebody who has no relay and no customer yet. Commands run in this process."""
    made = AtOnce(tmp_path)
    monkeypatch.setenv("HOME", str(made.home))
    monkeypatch.setenv("POSTERN_INVENTORY", str(made.inventory))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return made


def provisioned(operator: Operator, *hosts: LabHost, **exchange: object) -> tuple[str, Server]:
    """Add a customer on these relays, and its server, to which the kit has been carried."""
    customer = next(IDS)
    for number, host in enumerate(hosts, 1):
        operator.relay(f"mx{number}", host)
    operator.customer(customer, relays=[f"mx{number}" for number in range(1, len(hosts) + 1)], exchange=exchange)
    operator.done(f"provision {customer}")
    return customer, Server(operator, customer)


def opened_by(host: LabHost, customer: str) -> list[str]:
    """The customer's keys that open a relay, as sshd reads them."""
    text = host.run("cat", "/var/lib/postern/.ssh/authorized_keys").stdout
    return re.findall(rf" {customer} (k[0-9]+)$", text, re.MULTILINE)


def private_keys(operator: Operator) -> list[str]:
    """The private keys of customers that rest on the operator's machine."""
    marks = (b"PuTTY-User-Key-File", b"OPENSSH PRIVATE KEY")
    files = [path for folder in ("home", "inventory", "kits") for path in (operator.home.parent / folder).rglob("*")]
    return [path.name for path in files if path.is_file() and any(mark in path.read_bytes() for mark in marks)]


# ---- a kit


@pytest.mark.parametrize("release", releases("bookworm", "trixie"))
def test_uploads_every_200_ms_by_plink_and_by_openssh_lose_none_in_a_whole_rotation_and_the_old_keys_are_refused(
    relay: Callable[..., LabHost], operator: Operator, release: str
) -> None:
    host = relay(release)
    by_plink, plink = provisioned(operator, host)
    by_ssh = next(IDS)
    operator.customer(by_ssh, exchange={"client": "openssh"})
    operator.done(f"provision {by_ssh}")
    ssh = Server(operator, by_ssh)
    for customer, server in ((by_plink, plink), (by_ssh, ssh)):
        assert server.upload().code == 3
        operator.accept(customer, "--first 1")

    with Uploads(plink, ssh) as uploads:
        operator.done("rotate-key --all")
        assert opened_by(host, by_plink) == opened_by(host, by_ssh) == ["k1", "k2"]
        uploads.each()
        plink.carry()
        ssh.carry()
        uploads.each()
        wait_until(lambda: operator.run("rotate-key --all --finish").code == 0)
        uploads.each()
        plink.carry()
        ssh.carry()
        uploads.each()
    assert {code for code, _ in uploads.ended} == {0}, uploads.ended
    for customer, server in ((by_plink, plink), (by_ssh, ssh)):
        assert opened_by(host, customer) == operator.public_keys(customer) == ["k2"]
        assert server.knock() == WORKS.format(customer, "k2")
        for words in ([], ["receive"], ["status"], ["id"]):
            ran = server.call([*server.line(key="k1"), *words])
            assert (ran.out, ran.code in (1, 255)) == ("", True), words
            assert "refused our key" in ran.err or "Permission denied (publickey" in ran.err, words
    assert private_keys(operator) == []
    assert operator.done("provision --all").out.count("nothing to change") == 2  # of the relay, of both kits


def test_a_rotation_stops_where_the_admin_must_act_goes_on_when_run_again_and_finishes_when_the_new_key_was_used(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    assert server.knock() == WORKS.format(customer, "k1")
    record = operator.inventory / "keys" / customer
    before = sorted(path.name for path in record.iterdir())
    dry = operator.done(f"rotate-key {customer} --dry-run --full", code=6)
    assert "+goto judge" in dry.out
    assert f"{customer} k2\n" in dry.out
    assert sorted(path.name for path in record.iterdir()) == before
    assert private_keys(operator) == ["exchupdate-k1.ppk"]

    run = operator.done(f"rotate-key {customer}")
    assert f"{customer}: k1 and k2 both work. Carry {operator.kits / customer} to C:\\userexport on the" in run.out
    assert f"Once mx1 has seen k2: `inv rotate-key {customer} --finish`" in run.out
    assert private_keys(operator) == ["exchupdate-k2.ppk"]  # of the first, which has been seen, none is needed
    ran = operator.done(f"rotate-key {customer} --finish", code=2)
    assert f"{customer}: mx1 has not seen k2\n{customer}: k1 stays; " in ran.err
    assert opened_by(host, customer) == ["k1", "k2"]

    operator.done(f"provision {customer}")
    again = operator.done(f"rotate-key {customer}")
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    assert "both work. Carry" in again.out
    assert server.knock() == WORKS.format(customer, "k1")  # the batch takes the old key where the new one is not
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")
    assert server.knock("k1") == WORKS.format(customer, "k1")
    assert (
        f"every relay has seen k2: `inv rotate-key {customer} --finish` removes k1"
        in operator.done(f"rotate-key {customer}").out
    )
    assert private_keys(operator) == []

    dry = operator.done(f"rotate-key {customer} --finish --dry-run --diff", code=6)
    assert f" {customer} k1\n" in dry.out
    assert opened_by(host, customer) == ["k1", "k2"]
    ran = operator.done(f"rotate-key {customer} --finish")
    assert (
        f"{customer}: k1 gone, exchupdate-k1.ppk on the customer's server is of no more use; commit {record}" in ran.out
    )
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]
    assert server.knock("k1") == ""
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")
    operator.done(f"rotate-key {customer} --finish")
    assert operator.public_keys(customer) == ["k2"]


@pytest.mark.long
def test_a_new_key_that_was_lost_on_its_way_is_taken_back_and_one_in_use_is_not(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    server.knock()
    operator.done(f"rotate-key {customer}")
    operator.done(f"rotate-key {customer} --undo")
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1"]
    assert private_keys(operator) == []
    assert server.knock() == WORKS.format(customer, "k1")

    operator.done(f"rotate-key {customer}")
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k3"]  # no name is given twice
    server.carry()
    assert server.knock() == WORKS.format(customer, "k3")
    ran = operator.done(f"rotate-key {customer} --undo", code=2)
    assert f"{customer}: mx1 has seen k3: the customer's server uses it" in ran.err
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k3"]
    operator.done(f"rotate-key {customer} --finish")


def test_a_leaked_key_is_cut_off_at_once_by_force_which_says_what_that_ends(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    server.knock()
    operator.done(f"rotate-key {customer}")
    ran = operator.done(f"rotate-key {customer} --finish --force")
    assert f"{customer}: mx1 has not seen k2; where its server needs k1, its uploads end now" in ran.err
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]
    assert server.knock() == ""
    assert private_keys(operator) == ["exchupdate-k2.ppk"]
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")


@pytest.mark.long
def test_one_relay_down_is_reported_keeps_the_kit_as_it_is_and_is_completed_by_the_next_run(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    up, down = relay(), relay(number=2)
    customer, server = provisioned(operator, up, down)
    for host in (up, down):
        server.knock(host=host.address)
    batch = (operator.kits / customer / "runexport.bat").read_bytes()
    down.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = operator.done(f"rotate-key {customer}", code=4)
    assert f"{customer}: its end is left as it is: mx2 may not know key k2 yet; run the same again" in ran.err
    assert (opened_by(up, customer), opened_by(down, customer)) == (["k1", "k2"], ["k1"])
    assert (operator.kits / customer / "runexport.bat").read_bytes() == batch
    ran = operator.done(f"rotate-key {customer} --finish", code=4)
    assert f"{customer}: mx2 was not reached, so nobody knows what it has seen: " in ran.err
    ran = operator.done("status", code=1)
    assert "a key rotation is open (k1, k2); k2 has not been used here yet" in ran.out

    down.run("/usr/sbin/sshd")
    operator.done(f"rotate-key {customer}")
    assert operator.public_keys(customer) == opened_by(up, customer) == opened_by(down, customer) == ["k1", "k2"]
    server.carry()
    assert server.knock(host=up.address) == WORKS.format(customer, "k2")
    ran = operator.done(f"rotate-key {customer} --finish", code=2)
    assert f"{customer}: mx2 has not seen k2\n" in ran.err
    assert "mx1 has not" not in ran.err
    ran = operator.done("status", code=1)
    assert f"k2 has been used here: `inv rotate-key {customer} --finish`" in ran.out

    down.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    operator.done(f"rotate-key {customer} --finish --force", code=4)
    assert (opened_by(up, customer), opened_by(down, customer)) == (["k2"], ["k1", "k2"])
    down.run("/usr/sbin/sshd")
    assert server.knock(host=down.address) == WORKS.format(customer, "k2")
    ran = operator.done("status", code=1)
    assert "key k1 is still authorised here but was removed from the inventory" in ran.out
    assert "would remove key:k1" in operator.done(f"provision {customer}", code=2).err
    operator.done(f"rotate-key {customer}")
    assert operator.public_keys(customer) == opened_by(up, customer) == opened_by(down, customer) == ["k2"]


# ---- killed


def killed(operator: Operator, moment: int, words: str) -> bool:
    """Run a command that is killed before it moves or removes a file of the operator's for the (moment + 1)th time."""
    argv = [sys.executable, "-c", KILLER, str(moment), str(operator.home.parent), *words.split()]
    done = subprocess.run(argv, cwd=REPO, env=operator.environment, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def killed_to_the_end(operator: Operator, words: str, customer: str, holds: Callable[[list[str]], None]) -> int:
    """Kill it again and again, each time a step later, until it ends by itself; gives how often."""
    moment, before = 0, operator.public_keys(customer)
    for times in itertools.count():
        if not killed(operator, moment, words):
            return times
        now = operator.public_keys(customer)
        holds(now)
        moment = moment + 1 if now == before else 0  # what led to the record is behind it
        before = now
    raise AssertionError


@pytest.mark.long
def test_killed_again_and_again_a_rotation_is_begun_and_finished_without_a_third_key(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    assert server.knock() == WORKS.format(customer, "k1")

    def one_or_two(keys: list[str]) -> None:
        assert keys in (["k1"], ["k1", "k2"])
        assert server.knock() == WORKS.format(customer, "k1")

    times = killed_to_the_end(operator, f"rotate-key {customer}", customer, one_or_two)
    assert times >= 5  # before the key, its record, the number of the last, and two files of the kit
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    assert private_keys(operator) == ["exchupdate-k2.ppk"]
    server.carry()

    def new_works(keys: list[str]) -> None:
        assert keys in (["k1", "k2"], ["k2"])
        assert server.knock() == WORKS.format(customer, "k2")

    assert server.knock() == WORKS.format(customer, "k2")
    times = killed_to_the_end(operator, f"rotate-key {customer} --finish", customer, new_works)
    assert times >= 4  # before the number of the last, the record, and two files of the kit
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]
    assert server.knock("k1") == ""
    assert private_keys(operator) == []
    assert operator.done(f"provision {customer}").out.count("nothing to change") == 2


@pytest.mark.long
def test_two_rotations_at_once_make_one_key(relay: Callable[..., LabHost], operator: Operator) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    both = [operator.start(f"rotate-key {customer}") for _ in range(2)]
    said = [one.communicate() for one in both]
    assert sorted(one.returncode for one in both) in ([0, 0], [0, 75]), said
    operator.done(f"rotate-key {customer}")
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")


# ---- a server that can try the key itself


def proved(operator: Operator, customer: str, end: FarEnd) -> int:
    """What `rotate-key` comes to where the customer's end is a machine."""
    one = inventory.find(inventory.load(inventory.inventory_path()), customer)
    return Rotation(RotationOptions(), ProvisionOptions(), lambda _: nullcontext(end)).run([one])


def far(operator: Operator, customer: str, server: Server, placed: Event = nothing, called: Event = nothing) -> FarEnd:
    """The customer's server, which can be reached."""
    directory = inventory.find(inventory.load(inventory.inventory_path()), customer).exchange.directory
    return FarEnd(server.folder, directory, placed, called)


@pytest.mark.parametrize("client", ["plink", "openssh"])
def test_a_server_that_tries_its_new_key_has_the_old_one_taken_away_in_one_run_and_loses_no_upload(
    relay: Callable[..., LabHost], operator: Operator, client: str
) -> None:
    host = relay()
    customer, server = provisioned(operator, host, client=client)
    old = next(server.folder.glob("exchupdate-k1*"))
    end = far(operator, customer, server)
    with Uploads(server) as uploads:
        assert proved(operator, customer, end) == 0
        uploads.each()
    assert {code for code, _ in uploads.ended} == {3}, uploads.ended  # its first list is held
    assert len(end.ran) == 1
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]
    assert not old.exists()
    assert server.knock() == WORKS.format(customer, "k2")
    assert private_keys(operator) == [old.name]  # the kit's, from before the server could be reached


def without_kit_number(server: Server) -> dict[str, bytes]:
    """Return the server's files; its first batch came with a kit, and a server that is reached has no kits."""
    return {path.name: path.read_bytes().replace(b" kit=1", b"") for path in server.folder.iterdir()}


def test_a_key_that_does_not_work_from_the_server_is_taken_back_and_all_is_as_before(
    relay: Callable[..., LabHost], operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    assert server.knock() == WORKS.format(customer, "k1")
    before = without_kit_number(server)
    end = far(operator, customer, server, placed=spoil)
    assert proved(operator, customer, end) == 5
    assert f"{customer}: mx1: key k2 does not log in there from NTSERVER: " in capsys.readouterr().err
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1"]
    assert without_kit_number(server) == before
    assert server.knock() == WORKS.format(customer, "k1")
    operator.done(f"provision {customer}")

    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k3"]


@pytest.mark.long
def test_a_server_that_cannot_be_asked_leaves_both_keys_and_the_next_run_goes_on(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    def gone(_: Path) -> None:
        raise HostError("the server went away")

    host = relay()
    customer, server = provisioned(operator, host)
    assert proved(operator, customer, far(operator, customer, server, called=gone)) == 4
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    assert server.knock() == WORKS.format(customer, "k1")  # what is not proved is not used
    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]
    assert server.knock() == WORKS.format(customer, "k2")


@pytest.mark.long
def test_a_run_that_does_not_end_on_the_server_leaves_both_keys_and_the_next_rotation_goes_on(
    relay: Callable[..., LabHost], operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = relay()
    customer, server = provisioned(operator, host)
    monkeypatch.setattr(customer_host, "WAIT", 0.3)
    (server.folder / "runexport.lck").mkdir()
    assert proved(operator, customer, far(operator, customer, server)) == 75
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    assert server.knock("k1") == WORKS.format(customer, "k1")  # with which that run may have begun
    (server.folder / "runexport.lck").rmdir()
    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(host, customer) == ["k2"]


@pytest.mark.long
def test_a_relay_that_dies_before_it_has_the_new_key_keeps_both_keys_until_it_is_back(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    up, dying = relay(), relay(number=2)
    customer, server = provisioned(operator, up, dying)
    end = far(operator, customer, server, placed=lambda _: die(dying))
    assert proved(operator, customer, end) == 4
    assert end.ran == []
    assert operator.public_keys(customer) == opened_by(up, customer) == ["k1", "k2"]
    assert opened_by(dying, customer) == ["k1"]
    assert server.knock(host=up.address) == WORKS.format(customer, "k1")

    dying.run("/usr/sbin/sshd")
    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(up, customer) == opened_by(dying, customer) == ["k2"]
    for host in (up, dying):
        assert server.knock(host=host.address) == WORKS.format(customer, "k2")


@pytest.mark.long
def test_a_relay_that_dies_before_the_proof_is_put_back_when_it_is_there_again(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    up, dying = relay(), relay(number=2)
    customer, server = provisioned(operator, up, dying)
    for host in (up, dying):
        server.knock(host=host.address)
    end = far(operator, customer, server, called=lambda _: die(dying))
    assert proved(operator, customer, end) == 4
    assert operator.public_keys(customer) == opened_by(up, customer) == ["k1"]
    assert opened_by(dying, customer) == ["k1", "k2"]
    assert server.knock(host=up.address) == WORKS.format(customer, "k1")

    dying.run("/usr/sbin/sshd")
    assert server.knock(host=dying.address) == WORKS.format(customer, "k1")
    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(up, customer) == opened_by(dying, customer) == ["k1"]
    assert proved(operator, customer, far(operator, customer, server)) == 0
    assert operator.public_keys(customer) == opened_by(up, customer) == opened_by(dying, customer) == ["k3"]


def spoil(key: Path) -> None:
    """The disk is full."""
    key.write_bytes(key.read_bytes()[:100])


def die(host: LabHost) -> None:
    """End its sshd, if it runs, and every connection that it serves."""
    tree = "end() { for child in $(ps -o pid= --ppid $1); do end $child; done; kill -9 $1; }; "
    host.run("sh", "-c", f"{tree} cd /run; test ! -e sshd.pid || {{ end $(cat sshd.pid); rm sshd.pid; }}")


# ---- keys made elsewhere, and of the older kind


def made_there(folder: Path, name: str, *form: str) -> str:
    """Make a key in a folder with PuTTYgen, and save its public half in one of its forms."""
    folder.mkdir(exist_ok=True)
    key, public = folder / name, folder / f"{name}.pub"
    subprocess.run(["puttygen", "-t", "ed25519", "-q", "--new-passphrase", "/dev/null", "-o", key], check=True)
    subprocess.run(["puttygen", key, *form, "-o", public], check=True)
    return str(public)


def test_keys_made_on_the_server_are_taken_in_puttys_form_and_in_opensshs_and_are_rotated(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host, customer = relay(), next(IDS)
    folder = operator.home.parent / f"server-{customer}"
    first = made_there(folder, "exchupdate-k1.ppk", "-p")
    second = made_there(folder, "exchupdate-k2.ppk", "-L")
    operator.relay("mx1", host)
    operator.customer(customer)
    operator.done(f"provision {customer} --public-key {first}")
    assert private_keys(operator) == []
    server = Server(operator, customer)
    assert server.knock() == WORKS.format(customer, "k1")
    operator.done(f"provision {customer} --public-key {first}")
    assert operator.public_keys(customer) == ["k1"]
    ran = operator.done(f"provision {customer} --public-key {second}", code=2)
    assert f"{customer} has a key already, k1; `inv rotate-key {customer} --public-key FILE`" in ran.err
    ran = operator.done(f"rotate-key {customer} --public-key {first}", code=2)
    assert f"{customer} has this key already, as k1" in ran.err

    for _ in range(2):
        operator.done(f"rotate-key {customer} --public-key {second}")
        assert operator.public_keys(customer) == opened_by(host, customer) == ["k1", "k2"]
    line = host.run("cat", f"/etc/postern/customers/{customer}/authorized_keys").stdout.splitlines()[1]
    assert line.startswith(
        f'restrict,from="127.77.0.0/24",command="/usr/local/sbin/postern-receive {customer} k2" ssh-'
    )
    assert line.endswith(f" {customer} k2")
    third = made_there(folder, "exchupdate-k3.ppk", "-p")
    ran = operator.done(f"rotate-key {customer} --public-key {third}", code=2)
    assert f"{customer} has a rotation open (k1, k2): --finish or --undo it first" in ran.err
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")
    operator.done(f"rotate-key {customer} --finish")
    assert server.knock("k1") == ""

    operator.customer("other")
    ran = operator.done(f"provision other --public-key {second}", code=2)
    assert f"{second}: this key is {customer}'s: a key says who uploads, so each customer needs its own" in ran.err
    assert operator.public_keys("other") == []


def refused(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that hold no key to be taken, and why not."""
    for name, *kind in (("key", "ed25519"), ("short", "rsa", "-b", "1024")):
        subprocess.run(["ssh-keygen", "-q", "-t", *kind, "-N", "", "-f", folder / name], check=True)
    subprocess.run(["ssh-keygen", "-q", "-s", folder / "key", "-I", "x", folder / "key.pub"], check=True)
    return {
        "a private key": (folder / "key", "this is a PRIVATE key; it must not leave its machine. Count it as known "),
        "a short RSA key": (folder / "short.pub", "an RSA key of 1024 bits is too short: make one of 3072, or an Ed"),
        "a certificate": (folder / "key-cert.pub", "this is a certificate; give the plain public key it was made from"),
        "no file": (folder / "nowhere.pub", "No such file or directory"),
    }


def test_a_key_that_is_no_good_is_refused_with_the_reason_before_anything_is_asked(
    operator: Operator, tmp_path: Path
) -> None:
    operator.table("relays.toml#mx1", {"address": "192.0.2.1"})
    operator.customer("acme")
    record(operator.inventory, "acme", Key("k1", make_pair("ed25519").public))
    for what, (file, reason) in refused(tmp_path).items():
        ran = operator.done(f"rotate-key acme --public-key {file}", code=2)
        assert ran.text.startswith(f"{file}: {reason}"), what
        assert "b3BlbnNzaC1rZXk" not in ran.text
    assert operator.public_keys() == ["k1"]


@pytest.mark.long
@pytest.mark.parametrize(("release", "client"), releases(("bookworm", "openssh"), ("trixie", "plink")))
def test_an_rsa_key_of_3072_bits_comes_after_an_ed25519_one_and_works_from_end_to_end(
    relay: Callable[..., LabHost], operator: Operator, release: str, client: str
) -> None:
    host = relay(release)
    customer, server = provisioned(operator, host, client=client)
    operator.customer(customer, exchange={"client": client, "key_type": "rsa"})
    operator.done(f"rotate-key {customer}")
    server.carry()
    assert server.knock() == WORKS.format(customer, "k2")
    assert server.upload().code == 3
    shown = subprocess.run(
        ["ssh-keygen", "-lf", operator.inventory / "keys" / customer / "k2.pub"], capture_output=True, text=True
    )
    assert shown.stdout.startswith("3072 ")
    assert shown.stdout.endswith("(RSA)\n")


# ---- age


@pytest.mark.long
def test_status_shows_a_key_and_its_age_and_a_month_ahead_due_rotates_those_that_need_it_and_no_other(
    relay: Callable[..., LabHost], operator: Operator
) -> None:
    host = relay()
    old, server = provisioned(operator, host)
    young = next(IDS)
    operator.customer(young)
    operator.done(f"provision {young}")
    server.knock()
    assert operator.done("rotate-key --due").out == "no key is due, and no rotation is open\n"
    file = operator.inventory / "keys" / old / "k1.pub"
    today = datetime.now(UTC).date()
    file.write_text(file.read_text().replace(str(today), str(today - timedelta(days=335))))
    ran = operator.done("status", code=1)
    assert "\tk1, 335 days\t" in ran.out
    assert f"key k1 is 335 days old, 365 is wanted at most: `inv rotate-key {old}`" in ran.out

    operator.done("rotate-key --due")
    assert (operator.public_keys(old), operator.public_keys(young)) == (["k1", "k2"], ["k1"])
    server.carry()
    server.knock()
    operator.done("rotate-key --due --finish")
    assert (operator.public_keys(old), operator.public_keys(young)) == (["k2"], ["k1"])
    rows = {row["customer"]: row for row in json.loads(operator.run("status --json").out)["customers"]}
    assert (rows[old]["key"], rows[old]["key_days"]) == ("k2", 0)
