"""Account `postern` in an attacker's hands: what it can make of rebuild-relay-recips, which runs as root."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.host import LabHost
from lab.waiting import HANGS, wait_until
from tests.support.built_relay import HostRelay, key_line
from tests.support.tiers import every_nth

pytestmark = pytest.mark.host
REBUILD = "/usr/local/sbin/rebuild-relay-recips"
BUILD = f"sudo -n {REBUILD}"
SPOOL = "/var/lib/postern/customers/acme"
MakeHost = Callable[..., LabHost]


class Before(NamedTuple):
    """What the attacker must not change."""

    files: dict[str, tuple[bytes, int, int]]  # content, mode, owner
    bolt: list[str]


@pytest.fixture
def relay(bookworm: LabHost) -> HostRelay:
    """acme's spool is what the attacks use; bolt is everybody else."""
    relay = HostRelay(bookworm)
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    relay.build()
    return relay


def python(program: str, *words: str) -> str:
    return f"python3 -c {shlex.quote(program)} {' '.join(words)}"


def look(relay: HostRelay) -> Before:
    root = relay.host.root
    guarded = [relay.tables / name for name in ("relay_domains", "transport", "others")]
    guarded += [root / name for name in ("etc/shadow", "etc/passwd", "etc/postfix/main.cf", "etc/sudoers.d/postern")]
    guarded.append(relay.var / ".ssh/authorized_keys")
    found = {str(path): (path.read_bytes(), path.stat().st_mode, path.stat().st_uid) for path in guarded}
    return Before(found, [line for line in relay.text() if "bolt" in line and "bob@" not in line])


def attack(relay: HostRelay, script: str, start: str = BUILD) -> subprocess.CompletedProcess[str]:
    """Do something as the account, have root build, and see that nothing which is not acme's own has changed."""
    before = look(relay)
    done = relay.as_postern(f"cd {SPOOL} && {{ {script}\n}} ; {start}")
    assert look(relay) == before
    assert relay.finds("ann@bolt.example") == "OK"
    assert not relay.finds("nobody@bolt.example")
    assert not relay.finds("@bolt.example")
    assert "Traceback" not in done.stdout + done.stderr
    return done


COST = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""


def processor_seconds(relay: HostRelay) -> float:
    """Build, and return what it took of the processor; how busy the machine is does not matter."""
    return float(relay.host.run("python3", "-c", COST, REBUILD, timeout=HANGS).stdout)


FILES = {
    "a link to a file of root's": "ln -sf /etc/shadow recipients",
    "a link to the list of somebody else": "ln -sf ../bolt/recipients recipients",
    "a link to what never ends": "ln -sf /dev/zero recipients",
    "a link to a terminal": "ln -sf /dev/tty recipients",
    "a pipe nobody writes to": "rm recipients; mkfifo recipients",
    "a pipe in place of the dates": "rm accepted.json; mkfifo accepted.json",
    "a directory": "rm recipients; mkdir recipients",
    "a socket": "rm recipients; " + python("import socket; socket.socket(socket.AF_UNIX).bind('recipients')"),
    "a file of a terabyte": "truncate -s 1T recipients",
    "dates of a terabyte": "truncate -s 1T accepted.json",
    "a list nobody may read": "chmod 000 recipients; chmod 000 .",
    "a second name of one's own file": "ln recipients other",
    "a foreign domain": "printf 'ann@acme.example\\nmallory@bolt.example\\n' > recipients",
    "a domain of nobody's": "printf 'ann@acme.example\\nmallory@gmail.example\\n' > recipients",
    "somebody else's whole domain": "printf '@bolt.example\\n' > recipients",
    "a line that continues": "printf 'ann@acme.example\\n bolt.example OK\\n' > recipients",
    "a value": "printf 'ann@acme.example relay:[203.0.113.66]\\n' > recipients",
    "a key for Postfix' own words": "printf '\"a\" x@acme.example\\n' > recipients",
    "a dates file for a foreign domain": 'echo \'{"domains": {"bolt.example": 1}}\' > accepted.json',
    "JSON nested beyond measure": python("print('[' * 1000000)", "> accepted.json"),
    "a number of a million digits": python(
        "print('{\"domains\": {\"acme.example\":', '9' * 1000000, '}}')", "> accepted.json"
    ),
    "names that are escapes for a terminal": "printf '\\033]0;mallory\\007@acme.example\\n' > recipients",
}


@pytest.mark.parametrize("what", every_nth(FILES, 3))
def test_attack_what_lies_in_the_spool_reaches_nobody_else(relay: HostRelay, what: str) -> None:
    done = attack(relay, FILES[what])
    assert done.returncode == 0
    assert done.stdout.isprintable() or done.stdout.count("\n") == 1
    assert relay.finds("ann@acme.example") == "OK" or relay.finds("@acme.example") == "OK"
    if "domain of nobody" in what:
        assert not relay.finds("mallory@gmail.example")


LEASE = """
import fcntl, os, signal, subprocess, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open("recipients", os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
sys.exit(subprocess.call(sys.argv[1:]))
"""


def test_attack_a_lease_that_would_keep_an_open_waiting(relay: HostRelay) -> None:
    """With a lease on it, an open() of the file waits for its holder, 45 s by default."""
    done = attack(relay, "true", python(LEASE, BUILD))
    assert done.stdout.startswith("acme: recipients: ")
    assert relay.closed("ann@acme.example")


def test_attack_a_hard_link_to_a_file_of_roots_is_not_read(relay: HostRelay) -> None:
    """Where fs.protected_hardlinks is off, the account can make one."""
    (relay.host.root / "etc/secret").write_text("secret@acme.example\n")
    (relay.folder("acme") / "recipients").unlink()
    os.link(relay.host.root / "etc/secret", relay.folder("acme") / "recipients")
    done = attack(relay, "true")
    assert done.stdout == "acme: recipients is no plain file of the account's own\n"
    assert not relay.finds("secret@acme.example")
    assert (relay.host.root / "etc/secret").stat().st_uid == 0


def test_attack_a_makefile_in_the_spool_is_run_by_nobody(relay: HostRelay) -> None:
    rule = "exchange_recipients recipients all:\\n\\ttouch /tmp/owned\\n.PHONY: exchange_recipients\\n"
    attack(relay, f"printf '{rule}' | tee GNUmakefile makefile Makefile > /dev/null")
    relay.host.run("sh", "-c", f"cd {SPOOL} && {REBUILD}")
    assert not (relay.host.root / "tmp/owned").exists()


HIJACK = "#!/bin/sh\nid -u > /tmp/owned\n"
ENVIRONMENTS = [
    "LD_PRELOAD=/tmp/evil/evil.so",
    "LD_LIBRARY_PATH=/tmp/evil",
    "PATH=/tmp/evil:/usr/bin:/bin",
    "PYTHONPATH=/tmp/evil",
    "PYTHONHOME=/tmp/evil",
    "PYTHONSTARTUP=/tmp/evil/os.py",
    "PYTHONINSPECT=1",
    "PYTHONPLATLIBDIR=/tmp/evil",
    "BASH_ENV=/tmp/evil/postmap",
    "ENV=/tmp/evil/postmap",
    "MAKEFLAGS=--eval=all:;/tmp/evil/postmap",
    "MAIL_CONFIG=/tmp/evil",
    "TMPDIR=/tmp/evil",
    "HOME=/tmp/evil",
    "LC_ALL=xx_XX",
    "LANG=de_DE.ISO-8859-1",
    "TZ=/tmp/evil/os.py",
    "MALLOC_CHECK_=3",
]


EVIL = f"""
mkdir /tmp/evil
for program in postmap rm postconf; do printf {shlex.quote(HIJACK)} > /tmp/evil/$program; done
chmod 755 /tmp/evil/*
for module in os json receiver; do echo 'open("/tmp/owned", "w")' > /tmp/evil/$module.py; done
echo 'default_database_type = pipemap' > /tmp/evil/main.cf
"""


@pytest.mark.parametrize("variable", every_nth(ENVIRONMENTS, 6))
def test_attack_the_environment_of_sudo_reaches_nothing(relay: HostRelay, variable: str) -> None:
    relay.upload("acme", "ann@acme.example", "new@acme.example")
    done = attack(relay, EVIL, f"export {shlex.quote(variable)}; /usr/bin/{BUILD}")
    assert (done.returncode, done.stdout) == (0, "")
    assert not (relay.host.root / "tmp/owned").exists()
    assert relay.closed("new@acme.example")


@pytest.mark.parametrize("variable", ["PYTHONPATH=/tmp", "LD_PRELOAD=/tmp/x", "PATH=/tmp"])
def test_attack_variables_cannot_be_passed_through_sudo(relay: HostRelay, variable: str) -> None:
    done = attack(relay, "true", f"sudo -n {variable} {REBUILD}")
    assert done.returncode != 0
    assert "not allowed" in done.stderr


@pytest.mark.parametrize("command", ["--check", "acme", "''", "/bin/sh"])
def test_attack_sudo_allows_no_argument(relay: HostRelay, command: str) -> None:
    done = attack(relay, "true", f"{BUILD} {command}")
    assert done.returncode == 1
    assert "password is required" in done.stderr


OTHER_COMMANDS = ("/bin/sh", "/usr/sbin/postmap", "/usr/bin/make -C /etc/postern/tables", "/usr/local/sbin/postern")


@pytest.mark.parametrize("command", OTHER_COMMANDS)
def test_attack_sudo_allows_no_other_command(relay: HostRelay, command: str) -> None:
    assert attack(relay, "true", f"sudo -n {command}").returncode == 1


def inherited(setting: str) -> str:
    """Change what a process inherits, and become sudo."""
    return python(f"import os, resource, signal, sys; {setting}; os.execvp(sys.argv[1], sys.argv[1:])", BUILD)


INHERITED = {
    "children whose end is not told": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signals that are blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "signals that are ignored": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 13, 14, 15, 25)]",
    "files of no size": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))",
    "files of one page": "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))",
    "few open files": "resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))",
    "one process": "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))",
    "a second of CPU": "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    "an umask that opens all": "os.umask(0)",
    "an umask that closes all": "os.umask(0o777)",
    "the last place in the queue": "os.nice(19)",
    "a directory that is gone": "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
    "no stdin, stdout and stderr": "[os.close(n) for n in range(3)]",
    "hundred open files": "[os.set_inheritable(os.open('/tmp', os.O_RDONLY), True) for n in range(100)]",
}


@pytest.mark.parametrize("what", every_nth(INHERITED, 6))
def test_attack_what_a_process_inherits_changes_no_build(relay: HostRelay, what: str) -> None:
    relay.upload("acme", "ann@acme.example", "new@acme.example")
    done = attack(relay, "true", inherited(INHERITED[what]))
    if not done.returncode:
        assert relay.closed("ann@acme.example", "new@acme.example")
    mode = (relay.tables / "exchange_recipients.db").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644
    relay.build()
    assert relay.closed("ann@acme.example", "new@acme.example")
    assert relay.build("--check").stdout == ""


SURROUNDINGS = """
import os, resource, signal, sys
sys.path.insert(0, "/usr/local/lib/postern")
from receiver.system import clean_env
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):  # soft ones: hard ones not every lab may raise again
    resource.setrlimit(limit, (12, resource.getrlimit(limit)[1]))
os.umask(0o777)
os.nice(19)
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.environ.update(MAIL_CONFIG="/tmp/evil")
os.chdir("/tmp")
clean_env.reset_environment()
limits = [resource.getrlimit(limit) for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)]
print(dict(os.environ), os.getcwd(), oct(os.umask(0)), os.nice(0), os.sched_getscheduler(0), limits)
print(int(signal.getsignal(signal.SIGCHLD)), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_attack_nothing_of_what_was_set_before_is_left(relay: HostRelay) -> None:
    """Some of it sudo puts right as well, and which depends on its release."""
    first, second = relay.host.run("python3", "-c", SURROUNDINGS).stdout.splitlines()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    assert first == f"{environment} / 0o22 0 0 [(-1, -1), (4096, 4096)]"
    assert second == "0 set()"


@pytest.mark.long  # it is Debian 13 that has this pair
def test_attack_two_letters_that_postfix_folds_into_one_and_our_python_does_not(lab_host: MakeHost) -> None:
    """Debian 13's Python knows Unicode 15, its Postfix 16: a duplicate stops postmap, and so the tables of all."""
    relay = HostRelay(lab_host("trixie"))
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    relay.build()
    relay.upload("bolt", "ann@bolt.example", "bob@bolt.example")
    done = attack(relay, "printf '\U00010d50@acme.example\n\U00010d70@acme.example\n' > recipients")
    assert done.stdout == "acme: recipients holds blanks, controls or characters that are in no address\n"
    assert relay.closed("ann@bolt.example", "bob@bolt.example", domain="bolt.example")


@pytest.mark.long
@pytest.mark.parametrize("what", ["a number of a million digits", "JSON nested beyond measure"])
def test_attack_numbers_and_nests_on_the_oldest_python(lab_host: MakeHost, what: str) -> None:
    """Python 3.9 has no limit of its own on either."""
    relay = HostRelay(lab_host("bullseye"))
    for name in ("acme", "bolt"):
        relay.tree(name)
        relay.upload(name, f"ann@{name}.example")
    relay.build()
    usual = processor_seconds(relay)
    attack(relay, FILES[what])
    assert processor_seconds(relay) < 4 * usual


FULL_PIPE = """
import os, subprocess, sys, time
here, there = os.pipe()
os.set_blocking(there, False)
try:
    while True:
        os.write(there, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(there, True)
subprocess.Popen(sys.argv[1:], stdout=there, stderr=there)
while not os.path.exists("/tmp/over"):
    time.sleep(0.05)
"""


def test_attack_a_reader_who_does_not_read_keeps_no_lock(relay: HostRelay) -> None:
    relay.put("acme", "recipients", b"damaged")
    relay.upload("bolt", "ann@bolt.example", "built@bolt.example")
    command = python(FULL_PIPE, BUILD)
    reader = threading.Thread(target=lambda: relay.as_postern(command))
    reader.start()
    wait_until(lambda: relay.finds("built@bolt.example") == "OK")  # it has built, and would like to say so
    relay.upload("acme", "new@acme.example")
    relay.build()
    assert reader.is_alive()
    assert relay.closed("new@acme.example")
    (relay.host.root / "tmp/over").touch()
    reader.join()


def test_attack_the_lock_cannot_be_taken(relay: HostRelay) -> None:
    done = relay.as_postern("flock -n /etc/postern/tables/.lock sleep 60")
    assert "Permission denied" in done.stderr
    done = relay.as_postern("flock -n /etc/postern/tables -c true && touch /etc/postern/tables/x")
    assert "Permission denied" in done.stderr


def is_free(lock: Path) -> bool:
    """Return whether nobody has it locked."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


CTRL_Z = """
import os, pty, sys, time
table = "/etc/postern/tables/exchange_recipients.db"
before = os.stat(table).st_ino
pid, master = pty.fork()
if not pid:
    os.execvp(sys.argv[1], sys.argv[1:])
while os.stat(table).st_ino == before:
    os.write(master, bytes([26]))
    time.sleep(0.005)
"""


def test_attack_a_terminal_does_not_stop_a_build_that_holds_the_lock(relay: HostRelay) -> None:
    """Ctrl-Z, again and again, on a terminal of the attacker's own."""
    relay.upload("acme", *(f"u{number}@acme.example" for number in range(50_000)))
    attack(relay, "true", python(CTRL_Z, BUILD))
    wait_until(lambda: is_free(relay.tables / ".lock"))
    assert relay.closed("u49999@acme.example")


SWAPS = [
    f"mv {SPOOL} /tmp/old",
    f"rmdir {SPOOL}",
    f"ln -sfT /etc {SPOOL}",
    "mv /var/lib/postern/customers /tmp/old",
    "ln -s /etc /var/lib/postern/customers/evil",
    "touch /var/lib/postern/authorized_keys /var/lib/postern/.profile",
    "echo x > /var/lib/postern/.ssh/authorized_keys2",
    "rm -f /var/lib/postern/.ssh/authorized_keys",
    "mkdir /var/lib/postern/retired/x",
    "touch /etc/postern/tables/exchange_recipients",
    "cat /etc/postern/tables/good/bolt/recipients",
]


@pytest.mark.parametrize("swap", every_nth(SWAPS, 4))
def test_attack_nothing_can_be_put_in_a_directorys_place(relay: HostRelay, swap: str) -> None:
    assert relay.as_postern(swap).returncode != 0
    attack(relay, "true")


SWAP = """
import contextlib, os
os.chdir("/var/lib/postern/customers")
while True:
    with contextlib.suppress(OSError):
        os.rename("acme", ".real")
    with contextlib.suppress(OSError):
        os.symlink("/etc", "acme")
        os.unlink("acme")
    with contextlib.suppress(OSError):
        os.rename(".real", "acme")
"""


def test_attack_a_spool_swapped_for_a_link_again_and_again_is_never_followed(relay: HostRelay) -> None:
    """The account cannot do it, the directory above being root's; root stands in for somebody who could."""
    before, etc = look(relay), (relay.host.root / "etc").stat()
    swapper = subprocess.Popen(
        ["nsenter", f"--target={relay.host.pid}", "--mount", "--pid", "--root", "--wd", "--", "python3", "-c", SWAP]
    )
    try:
        for _ in range(15):
            relay.build(check=False)
    finally:
        swapper.kill()
        swapper.wait()
    now = (relay.host.root / "etc").stat()
    assert (now.st_uid, now.st_mode) == (etc.st_uid, etc.st_mode)
    assert look(relay) == before


def test_attack_a_tower_of_directories_is_retired_and_removed(relay: HostRelay) -> None:
    tower = python("import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')")
    relay.as_postern(f"cd {SPOOL} && {tower} && ln -s /etc link && chmod 000 .", check=True)
    relay.leaves("acme")
    assert relay.build().stdout == ""
    (name,) = relay.retired()
    (relay.var / "retired" / name).rename(relay.var / "retired/acme-2001-01-01")
    relay.build()
    assert relay.retired() == []
    assert (relay.host.root / "etc/passwd").exists()


def test_attack_somebody_who_stays_in_a_retired_spool_gets_nothing_out_of_it(relay: HostRelay) -> None:
    relay.leaves("acme")
    done = relay.as_postern(f"cd {SPOOL} && {BUILD} && ls -la .. && echo out", check=False)
    assert "out" not in done.stdout
    assert relay.host.run("stat", "-c", "%U %a", "/var/lib/postern/retired").stdout == "root 700\n"


def test_attack_a_list_as_long_as_allowed_does_not_keep_the_others_waiting(relay: HostRelay) -> None:
    """A build costs the processor what its lines cost, and not their square."""

    def costs(count: int) -> float:
        rows = f"for number in range({count}): print(f'{{number:07d}}' + 'x' * 40 + '@acme.example')"
        relay.as_postern(f"cd {SPOOL} && {python(rows, '> recipients')}", check=True)
        return processor_seconds(relay)

    third, whole = costs(100_000), costs(300_000)
    assert whole < 6 * third
    done = attack(relay, "true")
    assert (done.returncode, done.stdout) == (0, "")


def test_attack_keys_of_ones_own_cannot_be_brought_in(relay: HostRelay) -> None:
    lines = shlex.quote(key_line("acme").replace("restrict,", ""))
    attack(relay, f"echo {lines} | tee authorized_keys relay_domains transport settings.json >/dev/null")
    assert (relay.var / ".ssh/authorized_keys").read_text().count("\n") == 3
