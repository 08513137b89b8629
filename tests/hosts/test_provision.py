"""`inv provision` from an operator to real relays: what it says, what it does, and what it leaves when it fails."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import keys
from lab.host import LabHost
from lab.operators import AtOnce, Operator, answers, export

pytestmark = pytest.mark.host

StartHost = Callable[..., LabHost]
NOT_OURS = ("var/log", "var/lib/postfix", "var/spool/postfix/pid")
ONE_OF_EACH = "nothing to change (1 connection, 1 remote command)"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Somebody with one customer, whose relay is to be named yet."""
    made = AtOnce(tmp_path)
    made.customer("acme")
    return made


def everything(root: Path) -> dict[str, tuple[object, ...]]:
    """All that lies on one file system: what each thing is, its age, and of a file the content.

    Logs are not ours, nor is what Postfix writes for itself while it is asked something.
    """
    there = root.stat().st_dev  # a host's root is seen through a link
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [one for one in folders if os.lstat(f"{folder}/{one}").st_dev == there]
        folders[:] = [one for one in folders if os.path.relpath(f"{folder}/{one}", root) not in NOT_OURS]
        for path in (f"{folder}/{one}" for one in (*folders, *files)):
            info = os.lstat(path)
            is_file = stat.S_ISREG(info.st_mode)
            of_file = (
                (info.st_size, info.st_mtime_ns, _digest(path) if info.st_size < 100_000 else "") if is_file else ()
            )
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_uid, info.st_gid, *of_file)
    return found


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def sessions(host: LabHost) -> tuple[int, int]:
    """How many connections and how many remote commands sshd itself has counted."""
    log = (host.root / "var/log/auth.log").read_text()
    return log.count("Accepted publickey for root"), log.count("Starting session: command for root")


def body(plan: str, made: bool = True) -> list[str]:
    """A relay's plan as printed, without the key in it if that is made by the run: a dry run cannot know it."""
    lines = [line for line in plan.splitlines() if line.startswith("  ")]
    return [re.sub(r"ssh-ed25519 \S+", "KEY", line) for line in lines] if made else lines


# ---- the first run, and the second


def test_a_dry_run_writes_nothing_anywhere_the_run_does_what_it_said_and_the_next_has_nothing_to_do(
    lab_host: StartHost, operator: Operator
) -> None:
    host = lab_host("bookworm", sshd=["LogLevel VERBOSE"])
    host.start_postfix()
    operator.relay("mx1", host)
    there, here = everything(host.root), everything(operator.home.parent)
    for words in ("provision acme --diff --dry-run", "provision acme --diff --dry", "-R provision acme --diff"):
        dry = operator.done(words, code=6)
        assert everything(host.root) == there
        assert everything(operator.home.parent) == here
    assert sessions(host) == (3, 3)
    assert "acme: a key is made and a kit written once a relay is ready for it" in dry.out

    run = operator.done("provision acme --diff")
    relay_plan = run.out.partition("acme: key k1 recorded")[0]
    assert body(relay_plan) == body(dry.out)
    assert any(line.startswith("  +restrict,from=") for line in body(relay_plan))
    assert sessions(host) == (4, 4)
    assert operator.public_keys() == ["k1"]
    assert stat.S_IMODE((operator.kits / "acme").stat().st_mode) == 0o700
    key = operator.kits / "acme" / "exchupdate-k1.ppk"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert re.findall(r"Private-Lines: 1\s+(\S+)", key.read_text())[0] not in run.text

    there, here = everything(host.root), everything(operator.home.parent)
    again = operator.done("provision acme")
    assert again.out == (
        f"mx1: {ONE_OF_EACH}\nacme: kit {operator.kits / 'acme'}: nothing to change\n"
        "1 relay: 1 unchanged; kits and servers of 1 customer: 0 changed, 1 unchanged\n"
    )
    assert again.err == ""
    assert sessions(host) == (5, 5)
    assert everything(host.root) == there
    assert everything(operator.home.parent) == here


OTHERS = ("good@old.example", "nobody@old.example", "x@open.example", "x@below.parent.example", "x@parent.example")


@pytest.mark.parametrize(
    "with_map", [True, pytest.param(False, marks=pytest.mark.long)], ids=["with a recipient map", "with none"]
)
def test_a_relay_that_relays_three_other_domains_answers_for_them_as_before(
    lab_host: StartHost, operator: Operator, with_map: bool
) -> None:
    host = lab_host("bookworm")
    listed = "good@old.example OK\n@open.example OK\nx@parent.example OK\n"
    for name, text in {"listed": listed, "relayed": "old.example OK\n"}.items():
        (host.root / "etc/postfix" / name).write_text(text)
        host.run("postmap", f"hash:/etc/postfix/{name}")
    relayed = "relay_domains = hash:/etc/postfix/relayed, open.example parent.example"
    host.run("postconf", "-e", relayed, f"relay_recipient_maps = {'hash:/etc/postfix/listed' * with_map}")
    host.start_postfix()
    operator.relay("mx1", host)
    before = answers(host, *OTHERS, "x@elsewhere.example")
    assert before["nobody@old.example"] == ("550" if with_map else "250")

    operator.done("provision acme")
    assert answers(host, *OTHERS, "x@elsewhere.example") == before
    assert answers(host, "anybody@acme.example") == {"anybody@acme.example": "250"}

    operator.upload(export("bob"))
    operator.accept("acme", "--first 1")
    assert answers(host, *OTHERS, "x@elsewhere.example") == before
    assert answers(host, "bob@acme.example", "anybody@acme.example") == {
        "bob@acme.example": "250",
        "anybody@acme.example": "550",
    }


# ---- relays that cannot be provisioned


def test_a_relay_that_cannot_be_reached_is_4_and_leaves_no_key_behind(operator: Operator) -> None:
    operator.table("relays.toml#mx1", {"address": "127.77.255.1"})
    (operator.inventory / "known_hosts").write_text(f"127.77.255.1 {keys.admin_key().with_suffix('.pub').read_text()}")
    here = everything(operator.home.parent)
    ran = operator.done("provision acme", code=4)
    assert ran.err.startswith("mx1: ")
    assert "127.77.255.1" in ran.err
    assert everything(operator.home.parent) == here


def test_attack_another_machine_in_the_relays_place_is_not_spoken_to_until_somebody_trusts_it(
    lab_host: StartHost, operator: Operator
) -> None:
    host, other = lab_host("bookworm"), lab_host("bookworm")
    host.start_postfix()
    operator.relay("mx1", host, trusted=False)
    (operator.inventory / "known_hosts").write_text(f"{host.address} {other.host_keys[0]}\n")
    there = everything(host.root)
    for words in ("provision acme", "status", "sync acme --export-file /dev/null", "verify acme", "review acme"):
        ran = operator.run(words)
        assert ran.code == (1 if words == "status" else 4), ran.text
        assert "host key" in ran.text
    assert everything(host.root) == there
    assert operator.public_keys() == []

    ran = operator.done("trust mx1", code=2)
    assert "NEW, and others are pinned" in ran.out
    assert (operator.inventory / "known_hosts").read_text() == f"{host.address} {other.host_keys[0]}\n"
    operator.done("trust mx1 --yes")
    pinned = (operator.inventory / "known_hosts").read_text().splitlines()
    assert sorted(pinned) == sorted(f"{host.address} {key}" for key in host.host_keys)
    assert operator.done("trust mx1").out.endswith("mx1: nothing to change\n")
    operator.done("provision acme --dry-run", code=6)


def test_an_account_with_sudo_works_once_sudo_wants_no_password(lab_host: StartHost, operator: Operator) -> None:
    host = lab_host("bookworm", sshd=["LogLevel VERBOSE"])
    host.start_postfix()
    host.run("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "bob")
    host.run("install", "-d", "-m", "700", "-o", "bob", "/home/bob/.ssh")
    host.run("install", "-m", "600", "-o", "bob", "/root/.ssh/authorized_keys", "/home/bob/.ssh/authorized_keys")
    operator.relay("mx1", host, user="bob", sudo=True)
    host.run("tee", "/etc/sudoers.d/bob", stdin=b"bob ALL=(ALL) ALL\n")
    ran = operator.done("provision acme", code=4)
    assert "mx1: sudo there would not let us: the account needs a NOPASSWD rule" in ran.err
    assert operator.public_keys() == []

    host.run("tee", "/etc/sudoers.d/bob", stdin=b"bob ALL=(ALL) NOPASSWD: ALL\n")
    operator.done("provision acme")
    assert operator.done("provision acme").out.startswith(f"mx1: {ONE_OF_EACH}\n")
    assert operator.upload(export("bob")).code == 3
    operator.accept("acme", "--first 1")
    operator.done("verify acme")


def test_a_bare_machine_is_told_of_and_left_alone_by_a_dry_run_and_made_a_relay_by_the_run(
    lab_host: StartHost, operator: Operator
) -> None:
    host = lab_host("bookworm", bare=True)
    operator.relay("mx1", host)
    there = everything(host.root)
    dry = operator.done("provision acme --dry-run", code=6)
    assert "mx1: it has no Python 3.9 or later; apt-get would install it" in dry.err
    assert everything(host.root) == there

    pin = host.root / "etc/apt/preferences.d/no-postfix"
    pin.write_text("Package: postfix\nPin: release *\nPin-Priority: -1\n")
    ran = operator.done("provision acme", code=4)
    assert "mx1: package postfix: " in ran.err
    assert "Package 'postfix' has no installation candidate" in ran.err
    assert not (host.root / "etc/postern").exists()

    pin.unlink()
    operator.done("provision acme")
    assert operator.done("provision acme").out.startswith(f"mx1: {ONE_OF_EACH}\n")
    assert operator.public_keys() == ["k1"]
    assert answers(host, "anybody@acme.example") == {"anybody@acme.example": "250"}


def test_a_relay_where_something_stands_in_the_way_is_told_all_of_it_and_left_as_it_is(
    lab_host: StartHost, operator: Operator
) -> None:
    host = lab_host("bookworm", sshd=["AllowUsers root"])
    host.run("postconf", "-e", "mydestination = localhost, acme.example")
    host.start_postfix()
    operator.relay("mx1", host, table_type="lmdb")
    host.run("sh", "-c", "rm /usr/lib/postfix/postfix-lmdb.so")  # postconf -m goes on listing lmdb
    there, here = everything(host.root), everything(operator.home.parent)
    for words in ("provision acme --dry-run", "provision acme"):
        ran = operator.done(words, code=2)
        assert "mx1: sshd says AllowUsers root: add postern" in ran.err
        assert "mx1: acme.example (acme) is in mydestination there" in ran.err
        assert "mx1: tables of the wanted type cannot be built there" in ran.err
        assert everything(host.root) == there
        assert everything(operator.home.parent) == here


def test_one_relay_down_of_two_does_not_stop_the_other_and_the_next_run_completes(
    lab_host: StartHost, operator: Operator
) -> None:
    up, down = lab_host("bookworm"), lab_host("bookworm")
    up.start_postfix()
    down.start_postfix()
    operator.relay("mx1", down)
    operator.relay("mx2", up)
    operator.customer("acme", relays=["mx1", "mx2"])
    down.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    ran = operator.done("provision acme", code=4)
    assert "mx1: " in ran.err
    assert (
        "2 relays: 1 changed, 1 not reached (mx1); kits and servers of 1 customer: 1 changed, 0 unchanged\n" in ran.out
    )
    assert re.search(r"^mx2: \d+ changes made", ran.out, re.MULTILINE)
    assert operator.public_keys() == ["k1"]
    assert operator.upload(export("bob"), relay=1).code == 3

    down.run("/usr/sbin/sshd")
    ran = operator.done("provision acme")
    assert f"mx2: {ONE_OF_EACH}\n" in ran.out
    assert operator.upload(export("bob")).code == 3
    ran = operator.done("provision acme")
    assert ran.out.splitlines()[0] == f"mx1, mx2: {ONE_OF_EACH}"

    down.run("sh", "-c", "kill $(cat /run/sshd.pid)")
    kit = {path.name: path.read_bytes() for path in (operator.kits / "acme").iterdir()}
    operator.customer("acme", relays=["mx1", "mx2"], exchange={"install": r"D:\elsewhere"})
    ran = operator.done("provision acme", code=4)
    assert f"acme: kit {operator.kits / 'acme'} is left as it is, until mx1 is as wanted" in ran.err
    assert {path.name: path.read_bytes() for path in (operator.kits / "acme").iterdir()} == kit
    down.run("/usr/sbin/sshd")
    ran = operator.done("provision acme")
    assert rf"acme: carry {operator.kits / 'acme'} to " in ran.out


@pytest.mark.long
def test_a_kit_without_its_key_that_nobody_has_used_is_told_with_the_cure(
    lab_host: StartHost, operator: Operator
) -> None:
    host = lab_host("bookworm")
    host.start_postfix()
    operator.relay("mx1", host)
    operator.customer("acme")
    operator.done("provision acme")
    shutil.rmtree(operator.kits / "acme")
    ran = operator.done("provision acme")
    assert "acme: nobody has used k1 yet, and its private half is not in the kit" in ran.err
    assert "`inv rotate-key acme` makes another" in ran.err


@pytest.mark.long
def test_a_public_key_as_putty_saves_it_is_taken_and_its_private_half_stays_where_it_was_made(
    lab_host: StartHost, operator: Operator, tmp_path: Path
) -> None:
    host = lab_host("bookworm")
    host.start_postfix()
    operator.relay("mx1", host)
    made, public = tmp_path / "own.ppk", tmp_path / "own.pub"
    new = ["puttygen", "-q", "-t", "ed25519", "--new-passphrase", "/dev/null", "-o", str(made)]
    for argv in (new, ["puttygen", str(made), "-p", "-o", str(public)]):
        subprocess.run(argv, check=True)
    assert public.read_text().startswith("---- BEGIN SSH2 PUBLIC KEY ----")

    dry = operator.done(f"provision acme --public-key {public} --dry-run --diff", code=6)
    assert operator.public_keys() == []
    run = operator.done(f"provision acme --public-key {public} --diff")
    (line,) = (line for line in body(run.out, made=False) if line.startswith("  +restrict,from="))
    assert line in body(dry.out, made=False)
    assert operator.done(f"provision acme --public-key {public}").out.startswith(f"mx1: {ONE_OF_EACH}\n")
    assert operator.public_keys() == ["k1"]
    assert list((operator.kits / "acme").glob("*.ppk")) == []

    made.rename(operator.kits / "acme" / "exchupdate-k1.ppk")
    assert operator.upload(export("bob")).code == 3
