"""The lab's own promises; everything else that runs on a lab host rests on them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import mirror, roots, seed, smtp
from lab.address import Address
from lab.host import LabHost
from lab.waiting import wait_until
from tests.support.releases import releases

REPO = Path(__file__).parent.parents[1]
MakeHost = Callable[..., LabHost]

START_AND_WAIT = """
import sys
from lab.host import LabHost
with LabHost("bookworm") as host:
    print(host.address, host.pid, flush=True)
    sys.stdin.read()
"""


def ssh(host: LabHost, home: Path, *argv: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    known = home / ".ssh" / "known_hosts"
    known.write_text("".join(f"{host.address} {key}\n" for key in host.host_keys))
    options = ["-F", f"{home}/.ssh/config", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
    return subprocess.run(
        ["ssh", "-n", "-o", "BatchMode=yes", *options, f"{user}@{host.address}", *argv], capture_output=True, text=True
    )


def elsewhere(program: str, *, cache: Path | None = None) -> subprocess.Popen[str]:
    env = {**os.environ, **({"POSTERN_LAB_CACHE": str(cache)} if cache else {})}
    return subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPO, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@contextmanager
def taken_again(address: str) -> Iterator[bool]:
    """Take an address that has become free, as hosts do; False: a host took it before, perhaps of another checkout."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        try:
            lock.bind(f"\0postern-lab {address}")
        except OSError:
            yield False
        else:
            yield True


def on_lo() -> str:
    return subprocess.run(["ip", "address", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout


def relay_for_acme(host: LabHost, table_type: str, *settings: str) -> None:
    (host.root / "etc/postfix/recipients").write_text("joe@acme.example OK\n")
    host.run("postmap", f"{table_type}:/etc/postfix/recipients")
    ours = ["relay_domains=acme.example", f"relay_recipient_maps={table_type}:/etc/postfix/recipients"]
    host.run("postconf", "-e", *ours, *settings)
    host.run("touch", "-d", "1 hour ago", "/etc/postfix/main.cf")  # or Postfix sleeps until it is two seconds old


# ---- what a host is


@pytest.mark.host
@pytest.mark.parametrize(
    ("release", "table_type"),
    releases(("bullseye", "hash"), ("bookworm", "hash"), ("trixie", "hash"), ("trixie", "lmdb"), ("forky", "cdb")),
)
def test_postfix_takes_a_listed_recipient_and_refuses_another(
    release: str, table_type: str, lab_host: MakeHost
) -> None:
    host = lab_host(release)
    relay_for_acme(host, table_type)
    host.start_postfix()
    assert host.ask("joe@acme.example") == "250 2.1.5 Ok"
    refusal = "550 5.1.1 <jim@acme.example>: Recipient address rejected: User unknown in relay recipient table"
    assert host.ask("jim@acme.example") == refusal
    assert "Relay access denied" in host.ask("joe@bolt.example", from_address="127.77.254.1")
    assert refusal[4:] in host.log(until="jim@acme.example")


@pytest.mark.host
@pytest.mark.parametrize(
    ("release", "python", "default_type"),
    releases(
        ("bullseye", "3.9", "hash"), ("bookworm", "3.11", "hash"), ("trixie", "3.13", "hash"), ("forky", "3.14", "cdb")
    ),
)
def test_a_release_has_the_python_and_the_default_table_type_it_is_in_the_lab_for(
    release: str, python: str, default_type: str, lab_host: MakeHost
) -> None:
    host = lab_host(release)
    assert host.run("python3", "--version").stdout.startswith(f"Python {python}.")
    assert host.run("postconf", "-hx", "default_database_type").stdout.strip() == default_type
    assert {"lmdb", "cdb"} <= set(host.run("postconf", "-m").stdout.split())


@pytest.mark.host
@pytest.mark.parametrize("release", releases(*roots.RELEASES))
def test_the_operator_logs_in_as_root_and_finds_the_pinned_host_keys(
    release: str, lab_host: MakeHost, operator_home: Path
) -> None:
    host = lab_host(release)
    done = ssh(host, operator_home, "hostname", "&&", "id", "-un")
    assert done.stdout.split() == [host.name, "root"], done.stderr
    assert [key.split()[0] for key in host.host_keys] == ["ecdsa-sha2-nistp256", "ssh-ed25519", "ssh-rsa"]


@pytest.mark.host
def test_a_key_file_that_others_may_write_is_not_believed(bookworm: LabHost, operator_home: Path) -> None:
    bookworm.run("chmod", "0666", "/root/.ssh/authorized_keys")
    assert "Permission denied" in ssh(bookworm, operator_home, "true").stderr


@pytest.mark.host
@pytest.mark.long
def test_failing_logins_lock_nobody_out_unless_the_test_asks_for_it(lab_host: MakeHost, operator_home: Path) -> None:
    lenient = lab_host("trixie")
    strict = lab_host("trixie", sshd=["PerSourcePenalties authfail:600s min:1s"])

    def fails_again(host: LabHost) -> bool:
        """Fail once more, since a login that a busy machine ended before its end counts for nothing."""
        return ssh(host, operator_home, user="nobody").returncode == 255

    for _ in range(4):
        assert fails_again(lenient)
    assert ssh(lenient, operator_home, "true").returncode == 0
    unheard = "kex_exchange_identification:"  # the connection ended before a word of SSH: logins fail later than that
    wait_until(lambda: fails_again(strict) and unheard in ssh(strict, operator_home, "true").stderr)


@pytest.mark.host
def test_two_hosts_stand_side_by_side(lab_host: MakeHost) -> None:
    one, two = lab_host("bookworm"), lab_host("bookworm")
    for host in (one, two):
        host.start_postfix()
    assert one.address != two.address
    assert set(one.host_keys).isdisjoint(two.host_keys)
    (one.root / "etc/only-here").touch()
    assert not (two.root / "etc/only-here").exists()
    assert [host.run("hostname").stdout.strip() for host in (one, two)] == [one.name, two.name]
    for host in (one, two):
        with smtp.Conversation(host.address) as session:
            assert session.say("EHLO x").startswith(f"250-{host.name}")


@pytest.mark.host
def test_what_runs_there_gets_its_stdin_its_user_and_its_exit_code_through(bookworm: LabHost) -> None:
    assert bookworm.run("cat", stdin="Grüße".encode()).stdout == "Grüße"
    assert bookworm.run("id", "-un", user="nobody").stdout == "nobody\n"
    assert bookworm.run("sh", "-c", "exit 7", check=False).returncode == 7
    with pytest.raises(subprocess.CalledProcessError) as failed:
        bookworm.run("ls", "/not/there")
    assert "No such file" in failed.value.__notes__[0]


@pytest.mark.host
def test_a_host_sees_its_own_processes_only_and_buries_orphans(bookworm: LabHost) -> None:
    bookworm.run("sh", "-c", "(sleep 0.05 &) ; exit 0")
    wait_until(lambda: "sleep" not in bookworm.run("ps", "-eo", "comm").stdout)  # nor <defunct>, as a zombie is
    seen = bookworm.run("ps", "-eo", "pid,stat,comm").stdout
    assert re.search(r"(?m)^ +1 .* python", seen)
    assert str(os.getpid()) not in seen.split()


@pytest.mark.host
def test_a_small_file_system_mounted_there_gets_full(bookworm: LabHost) -> None:
    bookworm.run("install", "-d", "-o", "nobody", "-m", "0700", "/srv/small")
    bookworm.tmpfs("/srv/small", "64k")
    assert bookworm.run("stat", "-c", "%U %a", "/srv/small").stdout == "nobody 700\n"
    done = bookworm.run("dd", "if=/dev/zero", "of=/srv/small/big", "bs=1k", "count=100", check=False, user="nobody")
    assert "No space left on device" in done.stderr


# ---- what leaves it


@pytest.mark.host
def test_relayed_mail_reaches_the_sink(bookworm: LabHost) -> None:
    relay_for_acme(bookworm, "hash", f"transport_maps=inline:{{acme.example={bookworm.start_sink()}}}")
    bookworm.start_postfix()
    with smtp.Conversation(bookworm.address) as session:
        assert session.send("joe@acme.example", "Subject: hello\n\n.dotted\n").startswith("250 2.0.0 Ok: queued as")
    assert "status=sent" in bookworm.log(until="to=<joe@acme.example>")
    assert "\n.dotted" in bookworm.read_sink()[0]


@pytest.mark.host
@pytest.mark.parametrize("release", releases("bookworm", "trixie", "forky"))
def test_mail_for_the_world_stays_here_and_no_look_up_waits(release: str, lab_host: MakeHost) -> None:
    host = lab_host(release)
    host.start_postfix()
    look_up = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(({seed.NOWHERE!r}, 53)); "
    refused = host.run("python3", "-c", f"{look_up}s.send(b'x'); s.recv(1)", check=False)
    assert "ConnectionRefusedError" in refused.stderr
    with smtp.Conversation(host.address) as session:
        for recipient in ("joe@[192.0.2.1]", "joe@example.org"):
            session.send(recipient, "Subject: out\n\n")
    log = host.log(until="to=<joe@[192.0.2.1]>") + host.log(until="to=<joe@example.org>")
    assert "status=sent" not in log
    assert log.count("status=deferred") >= 2


@pytest.mark.long
@pytest.mark.host
def test_postfix_installed_on_a_bare_host_listens_at_its_own_address_only(lab_host: MakeHost) -> None:
    host = lab_host("bookworm", bare=True)
    for absent in ("python3", "postfix", "make", "sudo"):
        assert host.run("sh", "-c", f"command -v {absent}", check=False).returncode
    host.run("apt-get", "-q", "update")
    install = ("apt-get", "-qy", "install", "--no-install-recommends", "python3", "postfix")
    host.run("env", "DEBIAN_FRONTEND=noninteractive", *install)
    assert host.run("python3", "-c", "print(6 * 7)").stdout == "42\n"
    host.start_postfix()
    listening = re.findall(r"\S+:25(?= )", host.run("ss", "-Hltn").stdout)
    assert f"{host.address}:25" in listening
    assert "0.0.0.0:25" not in listening


# ---- what stays of it


@pytest.mark.host
def test_nothing_of_a_stopped_host_stays() -> None:
    with LabHost("bookworm") as host:
        host.start_postfix()
        address, pid = host.address, host.pid
        assert f"{address}/32" in on_lo()
    assert not Path(f"/proc/{pid}").exists()
    assert f"{roots.cache()}/" not in Path("/proc/self/mounts").read_text()
    with taken_again(address) as is_ours:
        if is_ours:
            assert f"{address}/32" not in on_lo()
            for port in (22, 25):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((address, port))


@pytest.mark.host
def test_a_host_that_writes_to_disk_leaves_nothing_there() -> None:
    with LabHost("bookworm", on_disk=True) as host:
        host.run("sh", "-c", "echo x > /etc/written")
        writes = roots.cache() / "writes" / host.address.split(".")[3]
        assert (writes / "upper/etc/written").read_text() == "x\n"
    assert not writes.exists()


@pytest.mark.host
def test_a_killed_test_process_leaves_nothing_that_stops_the_next() -> None:
    process = elsewhere(START_AND_WAIT)
    assert process.stdout is not None
    address, pid = process.stdout.readline().split()
    process.kill()
    process.communicate()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert f"{roots.cache()}/" not in Path("/proc/self/mounts").read_text()

    def is_swept() -> bool:
        Address().give_back()  # whichever it is, taking one sweeps what nobody holds any more
        with taken_again(address) as is_ours:
            return not is_ours or f"{address}/32" not in on_lo()

    wait_until(is_swept)  # the last process of the host to go holds the address a moment longer than its init


@pytest.mark.host
def test_a_host_whose_init_was_killed_can_still_be_stopped() -> None:
    host = LabHost("bookworm")
    host.start()
    os.kill(host.pid, signal.SIGKILL)
    host.stop()
    with taken_again(host.address) as is_ours:
        assert not is_ours or f"{host.address}/32" not in on_lo()


@pytest.mark.host
def test_an_sshd_that_cannot_start_is_reported_with_its_own_words() -> None:
    with (
        pytest.raises(roots.LabError, match="Bad configuration option: NoSuchOption"),
        LabHost("bookworm", sshd=["NoSuchOption yes"]),
    ):
        pass


# ---- roots


@pytest.mark.host
@pytest.mark.long  # unpacks Debian twice: a minute where nothing else runs, eight on a busy machine
def test_a_root_is_made_once_by_two_at_a_time_and_a_killed_run_leaves_nothing_half(tmp_path: Path) -> None:
    program = (
        "from lab import roots; print(roots.root('bookworm', bare=True, say=lambda line: print(line, flush=True)))"
    )
    killed = elsewhere(program, cache=tmp_path)
    assert killed.stdout is not None
    assert any("extracting" in line for line in killed.stdout)
    killed.kill()
    killed.communicate()
    assert not list(tmp_path.glob("bookworm*"))
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    both = [elsewhere(program, cache=tmp_path) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    (made,) = tmp_path.glob("bookworm*")
    assert [text.splitlines()[-1] for text in said] == [str(made)] * 2
    assert sum("making the Debian root" in text for text in said) == 1
    assert not list(tmp_path.glob(".*draft*"))


@pytest.mark.host
def test_a_host_is_a_plain_copy_where_an_overlay_is_refused(tmp_path: Path) -> None:
    base = roots.root("bookworm")
    stack = f"""
set -e
cd {tmp_path}
mkdir one upper cache
mount -t tmpfs none upper
for n in 1 2; do mkdir upper/u$n upper/w$n; done
mount -t overlay -o lowerdir={base},upperdir=upper/u1,workdir=upper/w1 none one
mkdir cache/{base.name}
mount -t overlay -o lowerdir=one,upperdir=upper/u2,workdir=upper/w2 none cache/{base.name}
cd {REPO}
exec "$@"
"""
    program = (
        'from lab.host import LabHost\nwith LabHost("bookworm") as h: print(h.run(*"stat -fc %T /".split()).stdout)'
    )
    argv = [*roots.APART, "sh", "-c", stack, "sh", sys.executable, "-c", program]
    env = {**os.environ, "POSTERN_LAB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    assert done.stdout.split() == ["tmpfs"], done.stderr


def test_a_release_the_lab_has_no_root_of_is_refused_by_name() -> None:
    with pytest.raises(roots.LabError, match="no root is made of 'buster'; the lab has bullseye, bookworm"):
        LabHost("buster")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "sources.list",
            "# first\ndeb [arch=amd64 signed-by=/x.gpg] http://mirror.example/debian/ bookworm main contrib\n",
        ),
        (
            "sources.list.d/debian.sources",
            (
                "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\n"
                "Suites: bookworm-updates\n bookworm\nComponents: main\n"
            ),
        ),
    ],
    ids=["one-line", "deb822"],
)
def test_the_mirror_is_the_one_that_this_machine_installs_debian_from(path: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    sources = tmp_path / "apt" / path
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "apt/sources.list.d/another.list").write_text("deb https://packages.example/x bookworm stable\n")
    sources.write_text(text)
    assert mirror.of_this_machine(tmp_path) == "http://mirror.example/debian"
    (tmp_path / "os-release").write_text("ID=ubuntu\nVERSION_CODENAME=bookworm\n")
    assert mirror.of_this_machine(tmp_path) is None


@pytest.mark.host
@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_where_there_can_be_no_lab_its_tests_are_skipped_and_in_ci_they_fail(ci: str, outcome: str) -> None:
    weak = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    one = "tests/lab/test_lab.py::test_nothing_of_a_stopped_host_stays"
    argv = [*weak, sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", one]
    done = subprocess.run(argv, cwd=REPO, env={**os.environ, "CI": ci}, capture_output=True, text=True)
    assert outcome in done.stdout
    assert "lab hosts need the right to mount" in done.stdout


GONE = """#!/bin/sh
echo "E: The repository 'http://mirror.example/debian $8 Release' does not have a Release file." >&2
exit 25
"""


@pytest.mark.host
def test_a_release_that_has_left_the_mirrors_skips_its_tests_and_says_so(tmp_path: Path) -> None:
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(GONE)
    program.chmod(0o755)
    own = {"PATH": f"{program.parent}:{os.environ['PATH']}", "POSTERN_LAB_CACHE": str(tmp_path / "cache"), "CI": "true"}
    one = "tests/lab/test_lab.py::test_the_operator_logs_in_as_root_and_finds_the_pinned_host_keys"
    argv = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", f"{one}[bullseye]"]
    done = subprocess.run(argv, cwd=REPO, env={**os.environ, **own}, capture_output=True, text=True)
    assert "1 skipped" in done.stdout
    assert "Debian bullseye is no longer on the package mirrors" in done.stdout
