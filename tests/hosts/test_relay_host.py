"""Relays over SSH: real sshd on lab hosts, one connection and one remote command, and what is said when it fails."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deploy import connection, connection_faults
from deploy.connection import fetch_host_keys
from deploy.items import Item, account, derived, file, package, tree
from deploy.key_formats import fingerprint
from deploy.plan import Busy, HostError, NoPython, Plan
from deploy.relay_host import RelayHost
from lab.host import LabHost
from lab.waiting import HANGS, wait_until
from tests.support.listener import Listener
from tests.support.releases import releases
from tests.support.ssh_agent import ssh_agent

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("operator_home")]

StartHost = Callable[..., LabHost]


def reach(host: LabHost, **options: Any) -> RelayHost:
    given = {"host_keys": host.host_keys, "lock": "/etc/postern", **options}
    return RelayHost("mx1", host.address, **given)


def put(host: LabHost, path: str, text: str, mode: int = 0o644) -> None:
    place = host.root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


def program(host: LabHost, text: str) -> str:
    put(host, "/usr/local/sbin/settle", f"#!/bin/sh\n{text}\n", 0o755)
    return "/usr/local/sbin/settle"


def key_pair(folder: Path, *words: str) -> Path:
    path = folder / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, *words], check=True)
    return path


def configure(home: Path, text: str) -> None:
    """Lines that win over those of the fixture."""
    config = home / ".ssh/config"
    config.write_text(text + "\n" + config.read_text())


ITEMS = (
    file("/etc/cron.d/postern", "# nothing yet\n"),
    tree("/etc/postern/customers/acme", {"settings.json": "{}\n", "transport": ""}),
    derived("log", "/bin/true"),
)


# ---- one connection, one remote command


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie", "forky"))
def test_a_change_and_no_change_are_one_connection_and_one_remote_command(lab_host: StartHost, release: str) -> None:
    host = lab_host(release, sshd=["LogLevel VERBOSE"])
    counts = []
    for _ in range(2):
        with reach(host) as relay:
            plan = Plan.of(relay, ITEMS)
            plan.apply()
            counts.append((len(plan.changes), relay.connections, relay.commands))
    assert counts == [(3, 1, 1), (0, 1, 1)]
    log = (host.root / "var/log/auth.log").read_text()
    assert (log.count("Accepted publickey"), log.count("Starting session: command")) == (2, 2)


def test_two_hundred_customers_are_one_remote_command(bookworm: LabHost) -> None:
    trees = [tree(f"/etc/postern/customers/c{n}", {"settings.json": "{}\n", "transport": f"{n}\n"}) for n in range(200)]
    with reach(bookworm) as relay:
        Plan.of(relay, trees).apply()
        assert Plan.of(relay, trees).changes == ()
        assert (relay.connections, relay.commands) == (1, 1)


def test_nothing_asked_is_no_connection(bookworm: LabHost) -> None:
    with reach(bookworm) as relay:
        Plan.of(relay, []).apply()
        assert relay.connections == 0


def test_what_login_scripts_print_does_not_get_between(bookworm: LabHost) -> None:
    put(bookworm, "/root/.bashrc", 'echo "Welcome!"; printf "no line end"; echo "mind the gap" >&2')
    with reach(bookworm) as relay:
        assert relay.read([file("/etc/hostname", None)]) == [{"content": f"{bookworm.name}\n", "mode": "0644"}]


def test_login_scripts_that_never_end_are_given_up(bookworm: LabHost) -> None:
    put(bookworm, "/root/.bashrc", "yes 2>/dev/null")
    with reach(bookworm) as relay, pytest.raises(HostError, match="login scripts print too much") as caught:
        relay.read([file("/etc/hostname", None)])
    assert len(str(caught.value)) < 5000


def test_a_connection_that_dies_in_the_middle_is_finished_by_the_machine_or_by_the_next_run(bookworm: LabHost) -> None:
    check = 'if [ "$1" = --check ]; then [ -e /root/done ] || echo not done; exit; fi'
    items = [
        derived(
            "slow",
            program(
                bookworm, f"{check}\ntouch /root/begun; while [ ! -e /root/cut ]; do sleep 0.05; done; touch /root/done"
            ),
        )
    ]
    items.append(file("/etc/after", "1\n"))
    with reach(bookworm) as relay:
        cut = Thread(target=cut_connections, args=(bookworm, bookworm.root / "root/begun"))
        cut.start()
        with pytest.raises(HostError, match="the connection broke off; run it again: the next run finishes"):
            Plan.of(relay, items).apply()
        cut.join()
    wait_until((bookworm.root / "etc/after").exists)
    with reach(bookworm) as relay:
        assert Plan.of(relay, items).changes == ()


def cut_connections(host: LabHost, when: Path) -> None:
    wait_until(when.exists)
    host.run("pkill", "-KILL", "-f", "^sshd: root@notty")
    host.run("touch", "/root/cut")


# ---- ~/.ssh/config


def test_name_user_port_and_key_may_come_from_ssh_config(
    lab_host: StartHost, operator_home: Path, tmp_path: Path
) -> None:
    host = lab_host("bookworm", sshd=["Port 2222"])
    with_bob(host)
    key = key_pair(tmp_path)
    put(host, "/home/bob/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
    put(host, "/etc/sudoers.d/bob", "bob ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    configure(operator_home, f"Host mx1\n HostName {host.address}\n Port 2222\n User bob\n IdentityFile {key}\n")
    with RelayHost("mx1", "mx1", host_keys=host.host_keys, lock="/etc/postern", sudo=True) as relay:
        assert relay.run("id", "-un") == (0, "root\n", "")
        assert relay.read([file("/etc/motd-of-nobody", None)]) == [None]


def test_who_is_named_nowhere_is_root_at_port_22(bookworm: LabHost, operator_home: Path) -> None:
    config = operator_home / ".ssh/config"
    config.write_text(config.read_text().replace("    User root\n", ""))
    with reach(bookworm) as relay:
        assert relay.run("id", "-un").out == "root\n"


def test_what_the_inventory_says_beats_ssh_config(bookworm: LabHost, operator_home: Path) -> None:
    configure(operator_home, f"Host {bookworm.address}\n Port 1\n User nobody\n")
    with reach(bookworm, user="root", port=22) as relay:
        assert relay.run("id", "-un").out == "root\n"


def test_an_ssh_config_that_cannot_be_read_is_named(bookworm: LabHost, operator_home: Path) -> None:
    configure(operator_home, f"Host {bookworm.address}\n Port many\n")
    with reach(bookworm) as relay, pytest.raises(HostError, match="ssh/config cannot be understood"):
        relay.run("true")


# ---- host keys


def test_attack_another_machine_in_its_place_is_refused_before_anything_is_said_to_it(lab_host: StartHost) -> None:
    host, impostor = lab_host("bookworm"), lab_host("bookworm", sshd=["LogLevel VERBOSE"])
    with reach(impostor, host_keys=host.host_keys) as relay, pytest.raises(HostError) as caught:
        relay.read([file("/etc/hostname", None)])
    text = str(caught.value)
    assert "the host key of it is not the one in the inventory" in text
    assert any(fingerprint(key) in text for key in host.host_keys)
    assert any(fingerprint(key) in text for key in impostor.host_keys)
    assert "inv trust" in text
    assert "Accepted" not in (impostor.root / "var/log/auth.log").read_text()


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
def test_one_pinned_key_of_any_type_is_enough(bookworm: LabHost, kind: str) -> None:
    keys = [key for key in bookworm.host_keys if key.startswith(kind)]
    assert len(keys) == 1
    with reach(bookworm, host_keys=keys) as relay:
        assert relay.run("true").code == 0


def test_attack_a_machine_that_offers_a_key_of_another_type_is_refused(lab_host: StartHost) -> None:
    host = lab_host("bookworm", sshd=["HostKey /etc/ssh/ssh_host_rsa_key"])
    keys = [key for key in host.host_keys if key.startswith("ssh-ed25519")]
    with reach(host, host_keys=keys) as relay, pytest.raises(HostError, match="no key of a pinned type"):
        relay.run("true")


def test_without_a_pinned_key_nothing_is_connected_to(bookworm: LabHost) -> None:
    with reach(bookworm, host_keys=()) as relay, pytest.raises(HostError, match=r"see and record .* with `inv trust`"):
        relay.run("true")


def test_a_machine_is_asked_for_all_its_host_keys(bookworm: LabHost) -> None:
    assert sorted(fetch_host_keys(bookworm.address)) == sorted(bookworm.host_keys)


def test_a_fingerprint_is_what_ssh_keygen_says(bookworm: LabHost) -> None:
    key = bookworm.host_keys[0]
    done = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=key, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == fingerprint(key)


# ---- jump hosts


@pytest.fixture
def behind(lab_host: StartHost, operator_home: Path) -> tuple[LabHost, LabHost]:
    """A relay, and the jump host that ssh_config says it is reached through."""
    relay, jump = lab_host("bookworm"), lab_host("bookworm", sshd=["LogLevel VERBOSE"])
    configure(operator_home, f"Host {relay.address}\n ProxyJump {jump.address}\n")
    return relay, jump


def test_a_relay_behind_a_known_jump_host_is_reached(behind: tuple[LabHost, LabHost], operator_home: Path) -> None:
    host, jump = behind
    known(operator_home, *(f"{jump.address} {key}" for key in jump.host_keys))
    with reach(host) as relay:
        assert relay.run("hostname").out == f"{host.name}\n"
        assert Plan.of(relay, ITEMS).changes
    assert fetch_host_keys(host.address)
    assert "Accepted publickey" in (jump.root / "var/log/auth.log").read_text()


def test_lines_about_authorities_and_broken_ones_do_not_matter(
    behind: tuple[LabHost, LabHost], operator_home: Path
) -> None:
    host, jump = behind
    ca = f"@cert-authority * {jump.host_keys[0]}"
    known(operator_home, "# mine", "", ca, "broken", "a ssh-ed25519 AAAA", f"{jump.address} {jump.host_keys[0]}")
    with reach(host) as relay:
        assert relay.run("true").code == 0


def test_a_hashed_known_hosts_is_read(behind: tuple[LabHost, LabHost], operator_home: Path) -> None:
    host, jump = behind
    path = known(operator_home, *(f"{jump.address} {key}" for key in jump.host_keys))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert jump.address not in path.read_text()
    with reach(host) as relay:
        assert relay.run("true").code == 0


def test_a_jump_host_is_known_by_the_name_and_in_the_files_that_ssh_config_gives(
    behind: tuple[LabHost, LabHost], operator_home: Path, tmp_path: Path
) -> None:
    """As FreeIPA's clients have it."""
    host, jump = behind
    (tmp_path / "pubconf").write_text("".join(f"edge {key}\n" for key in jump.host_keys))
    configure(operator_home, f"Host {jump.address}\n HostKeyAlias edge\n GlobalKnownHostsFile {tmp_path}/pubconf\n")
    with reach(host) as relay:
        assert relay.run("true").code == 0


def test_a_proxy_command_is_the_shell_s_and_knows_all_of_ssh_s_tokens(bookworm: LabHost, operator_home: Path) -> None:
    program = operator_home / "proxy command"
    program.write_text("exec 3<>/dev/tcp/$1/$2\ncat <&3 &\ncat >&3\nkill $!\n")
    configure(operator_home, f"Host {bookworm.address}\n ProxyCommand cat | bash '{program}' %n %p\n")
    with reach(bookworm) as relay:
        assert relay.run("true").code == 0


@pytest.mark.parametrize("line", ["", "@cert-authority {address} {key}", "@revoked * {key}\n{address} {key}"])
def test_attack_an_unknown_jump_host_is_refused(
    behind: tuple[LabHost, LabHost], operator_home: Path, line: str
) -> None:
    host, jump = behind
    known(operator_home, *(line.format(address=jump.address, key=key) for key in jump.host_keys))
    for attempt in (lambda: reach(host).run("true"), lambda: fetch_host_keys(host.address)):
        with pytest.raises(
            HostError, match=f"jump host {jump.address} is not in your known_hosts: .*`ssh {jump.address}`"
        ):
            attempt()
    assert "Accepted" not in (jump.root / "var/log/auth.log").read_text()


def test_attack_a_jump_host_with_another_key_is_refused(behind: tuple[LabHost, LabHost], operator_home: Path) -> None:
    host, jump = behind
    known(operator_home, *(f"{jump.address} {key}" for key in host.host_keys))
    with (
        reach(host) as relay,
        pytest.raises(HostError, match=r"host key of jump host .* not the one in your known_hosts"),
    ):
        relay.run("true")


def test_a_jump_host_that_cannot_reach_the_relay_says_so(behind: tuple[LabHost, LabHost], operator_home: Path) -> None:
    host, jump = behind
    known(operator_home, *(f"{jump.address} {key}" for key in jump.host_keys))
    with (
        reach(host, port=1) as relay,
        pytest.raises(HostError, match=f"the jump host cannot reach {host.address} port 1"),
    ):
        relay.run("true")


def known(home: Path, *lines: str) -> Path:
    path = home / ".ssh/known_hosts"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


# ---- not let in, not reached


def test_one_without_a_key_for_it_is_told_how_to_look(bookworm: LabHost, operator_home: Path, tmp_path: Path) -> None:
    config = operator_home / ".ssh/config"
    config.write_text(f"Host *\n IdentityFile {key_pair(tmp_path)}\n")
    with reach(bookworm) as relay, pytest.raises(HostError, match=r"does not let root in .*`ssh -v -p 22 root@127\.77"):
        relay.run("true")


def test_a_key_with_a_passphrase_wants_an_agent(bookworm: LabHost, operator_home: Path, tmp_path: Path) -> None:
    key = key_pair(tmp_path)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", key], check=True)
    (operator_home / ".ssh/config").write_text(f"Host *\n IdentityFile {key}\n")
    with reach(bookworm) as relay, pytest.raises(HostError, match=r"has a passphrase: .* ssh-add"):
        relay.run("true")


def test_an_agent_opens_what_no_file_does(
    bookworm: LabHost, operator_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (operator_home / ".ssh/config").write_text("")
    with ssh_agent(tmp_path / "agent") as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        subprocess.run(["ssh-add", "-q", bookworm.admin_key], check=True)
        with reach(bookworm) as relay:
            assert relay.run("true").code == 0


def test_a_certificate_logs_in_and_its_key_does_where_the_certificate_is_not_known(
    lab_host: StartHost, bookworm: LabHost, operator_home: Path, tmp_path: Path
) -> None:
    authority = key_pair(tmp_path).rename(tmp_path / "authority")
    (tmp_path / "other_key.pub").rename(tmp_path / "authority.pub")
    host = lab_host("bookworm", sshd=["TrustedUserCAKeys /etc/ssh/authority.pub"])
    put(host, "/etc/ssh/authority.pub", (tmp_path / "authority.pub").read_text())
    key = key_pair(tmp_path)
    (operator_home / ".ssh/config").write_text(f"Host *\n IdentityFile {key}\n IdentityAgent none\n")
    with reach(host) as relay, pytest.raises(HostError, match="does not let root in"):
        relay.run("true")
    subprocess.run(["ssh-keygen", "-q", "-I", "olga", "-n", "root", "-s", authority, f"{key}.pub"], check=True)
    with reach(host) as relay:
        assert relay.run("true").code == 0
    elsewhere = Path(f"{key}-cert.pub").rename(tmp_path / "signed")
    configure(operator_home, f"CertificateFile {elsewhere}\n")
    with reach(host) as relay:
        assert relay.run("true").code == 0
    mine = tmp_path / "mine"
    mine.write_bytes(bookworm.admin_key.read_bytes())
    mine.chmod(0o600)
    public = tmp_path / "mine.pub"
    public.write_bytes(bookworm.admin_key.with_suffix(".pub").read_bytes())
    subprocess.run(["ssh-keygen", "-q", "-I", "olga", "-n", "nobody", "-s", authority, public], check=True)
    (operator_home / ".ssh/config").write_text(f"Host *\n IdentityFile {mine}\n IdentityAgent none\n")
    with reach(bookworm) as relay:
        assert relay.run("true").code == 0


@pytest.fixture
def full_agent(tmp_path: Path, bookworm: LabHost) -> Iterator[Path]:
    """An agent with eight keys nobody knows and then the one that logs in."""
    with ssh_agent(tmp_path / "full_agent") as path:
        strangers = [key_pair(tmp_path, "-C", str(n)).rename(tmp_path / f"stranger{n}") for n in range(8)]
        for key in (*strangers, bookworm.admin_key):
            subprocess.run(
                ["ssh-add", "-q", key], check=True, env={"SSH_AUTH_SOCK": str(path), "PATH": os.environ["PATH"]}
            )
        yield path


def test_of_many_agent_keys_only_the_named_one_is_tried(
    bookworm: LabHost, operator_home: Path, full_agent: Path
) -> None:
    public = operator_home / "mine.pub"  # the private half lies in the agent alone
    public.write_text(bookworm.admin_key.with_suffix(".pub").read_text())
    (operator_home / ".ssh/config").write_text("Include relays.conf\nHost *\n IdentitiesOnly yes\n")
    (operator_home / ".ssh/relays.conf").write_text(
        f"IdentityFile {operator_home}/of-no-such-name\nIdentityFile {public}\nIdentityAgent {full_agent}\n"
    )
    with reach(bookworm) as relay:
        assert relay.run("true").code == 0


def test_more_keys_than_sshd_wants_to_try_are_not_tried_again_and_again(
    lab_host: StartHost, operator_home: Path, tmp_path: Path
) -> None:
    host = lab_host("bookworm", sshd=["MaxAuthTries 1", "LogLevel VERBOSE"])
    keys = [key_pair(tmp_path, "-C", str(n)).rename(tmp_path / f"key{n}") for n in range(4)]
    (operator_home / ".ssh/config").write_text("Host *\n" + "".join(f" IdentityFile {key}\n" for key in keys))
    with reach(host) as relay, pytest.raises(HostError, match=r"hung up while root .*IdentityFile"):
        relay.run("true")
    assert (host.root / "var/log/auth.log").read_text().count("Connection from") == 1


def test_a_port_nobody_listens_on_is_named(bookworm: LabHost) -> None:
    with reach(bookworm, port=1) as relay, pytest.raises(HostError, match=r"127\.77\.\d+\.\d+ port 1\b.*"):
        relay.run("true")


def test_a_name_nobody_knows_is_named(bookworm: LabHost) -> None:
    relay = RelayHost("mx1", "no-such.invalid", host_keys=bookworm.host_keys, lock="/etc/postern")
    with relay, pytest.raises(HostError, match=r"no machine is known by the name no-such\.invalid"):
        relay.run("true")


def test_one_that_hangs_up_at_once_is_tried_again_and_then_explained(
    bookworm: LabHost, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 4.0)
    calls: list[socket.socket] = []

    def hang_up(call: socket.socket) -> None:
        calls.append(call)
        call.close()

    with Listener(hang_up) as there:
        relay = RelayHost("mx1", "127.0.0.1", port=there.port, host_keys=bookworm.host_keys, lock="/etc/postern")
        with pytest.raises(HostError, match=r"hangs up before its greeting, 4 s long: .*MaxStartups"):
            relay.run("true")
    assert len(calls) >= 2
    assert capfd.readouterr() == ("", "")


def test_one_that_says_nothing_is_given_up(bookworm: LabHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (connection, connection_faults):
        monkeypatch.setattr(module, "TIMEOUT", 1)
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    calls: list[socket.socket] = []
    with Listener(calls.append) as there:
        relay = RelayHost("mx1", "127.0.0.1", port=there.port, host_keys=bookworm.host_keys, lock="/etc/postern")
        with pytest.raises(HostError, match=r"no answer from 127\.0\.0\.1 port \d+ within 1 s"):
            relay.run("true")
    assert len(calls) == 1


def test_one_that_is_not_sshd_is_an_error_and_no_traceback(
    bookworm: LabHost, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.5)

    def greet(call: socket.socket) -> None:
        call.sendall(b"220 mx1 ESMTP\r\n" * 200)
        call.close()

    with Listener(greet) as there:
        relay = RelayHost("mx1", "127.0.0.1", port=there.port, host_keys=bookworm.host_keys, lock="/etc/postern")
        with pytest.raises(HostError, match=r"no connection to .*: Indecipherable protocol version"):
            relay.run("true")
    assert capfd.readouterr() == ("", "")


def test_a_burst_that_sshd_refuses_gets_through_by_waiting(
    lab_host: StartHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MaxStartups drops what is not yet logged in; eight at once come to that."""
    monkeypatch.setattr(connection, "PATIENCE", HANGS)
    host = lab_host("bookworm", sshd=["MaxStartups 2:100:2", "LogLevel VERBOSE"])

    def one(_: int) -> int:
        with reach(host) as relay:
            return relay.run("true").code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == [0] * 8
    assert "MaxStartups" in (host.root / "var/log/auth.log").read_text()


# ---- run


def test_a_program_gets_its_stdin_and_gives_its_output_its_errors_and_its_code(bookworm: LabHost) -> None:
    with reach(bookworm) as relay:
        assert relay.run("sh", "-c", "cat; echo oh >&2; exit 3", stdin=b"a b") == (3, "a b", "oh\n")
        assert relay.run("printf", "%s|", "a b", "$HOME", "'", "*") == (0, "a b|$HOME|'|*|", "")
        assert relay.run("no-such-program").code == 127
        assert (relay.connections, relay.commands) == (1, 3)


def test_a_program_that_answers_before_it_has_read_all_does_not_stand_still(bookworm: LabHost) -> None:
    data = b"0123456789abcdef" * (1 << 19)
    with reach(bookworm) as relay:
        done = relay.run("cat", stdin=data)
        assert done.out.encode() == data
        assert relay.run("head", "-c", "5", stdin=data).out == "01234"


def test_a_program_killed_there_is_no_success(bookworm: LabHost) -> None:
    with reach(bookworm) as relay, pytest.raises(HostError, match="broke off while sh ran there"):
        relay.run("sh", "-c", "kill -9 $PPID; sleep 5")


# ---- sudo, and who is not root


def with_bob(host: LabHost) -> LabHost:
    host.run("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "bob")
    put(host, "/home/bob/.ssh/authorized_keys", host.admin_key.with_suffix(".pub").read_text())
    return host


@pytest.fixture
def bob(bookworm: LabHost) -> LabHost:
    return with_bob(bookworm)


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "trixie"))
def test_an_account_may_work_through_sudo(lab_host: StartHost, release: str) -> None:
    bob = with_bob(lab_host(release))
    put(bob, "/etc/sudoers.d/bob", "bob ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    with reach(bob, user="bob", sudo=True) as relay:
        Plan.of(relay, ITEMS).apply()
        assert relay.run("id", "-un").out == "root\n"
        assert relay.connections == 1


@pytest.mark.parametrize("rule", ["bob ALL=(ALL) ALL\n", ""])
def test_sudo_that_asks_for_a_password_or_refuses_is_told_as_that(bob: LabHost, rule: str) -> None:
    put(bob, "/etc/sudoers.d/bob", rule, 0o440)
    with reach(bob, user="bob", sudo=True) as relay:
        for attempt in (lambda: relay.read(ITEMS), lambda: relay.run("true")):
            with pytest.raises(HostError, match=r"sudo there would not let us: .*NOPASSWD"):
                attempt()


def test_one_who_is_not_root_there_is_told_so_before_anything_is_read(bob: LabHost) -> None:
    with reach(bob, user="bob") as relay, pytest.raises(HostError, match=r"as user \d+ and not as root: .*sudo = true"):
        relay.read([account("postern", home="/var/lib/postern", shell="/bin/sh")])


def test_an_account_that_may_run_one_program_only_is_told_what_that_said(bob: LabHost) -> None:
    key = bob.admin_key.with_suffix(".pub").read_text()
    put(bob, "/home/bob/.ssh/authorized_keys", f'command="echo only backups here" {key}')
    with reach(bob, user="bob") as relay, pytest.raises(HostError, match=r"(?s)exit code 0:.*only backups here"):
        relay.read(ITEMS)


# ---- Python


def test_without_python_nothing_is_installed_unasked_and_the_message_says_how(lab_host: StartHost) -> None:
    bare = lab_host("bookworm", bare=True)
    with reach(bare) as relay, pytest.raises(NoPython, match=r"no Python 3\.9 or later; apt-get would install it"):
        relay.read(ITEMS)
    assert bare.run("sh", "-c", "command -v python3", check=False).returncode != 0


def test_python_is_installed_in_the_same_remote_command_and_packages_after_it(lab_host: StartHost) -> None:
    bare = lab_host("bookworm", bare=True)
    with reach(bare, install_python=True) as relay:
        Plan.of(relay, [package("make"), *ITEMS]).apply()
        assert (relay.connections, relay.commands) == (1, 1)
    assert bare.run("make", "--version").stdout.startswith("GNU Make")


def test_python_that_cannot_be_installed_is_told_with_the_managers_last_words(lab_host: StartHost) -> None:
    bare = lab_host("bookworm", bare=True)
    put(bare, "/usr/bin/apt-get", "#!/bin/sh\necho 'E: no mirror today' >&2; exit 100\n", 0o755)
    relay = reach(bare, install_python=True)
    with relay, pytest.raises(NoPython, match=r"(?s)apt-get could not install it\n.*no mirror today"):
        relay.read(ITEMS)


def test_without_a_package_manager_python_is_asked_for_by_name(lab_host: StartHost) -> None:
    bare = lab_host("bookworm", bare=True)
    (bare.root / "usr/bin/apt-get").unlink()
    for install in (False, True):
        with reach(bare, install_python=install) as relay, pytest.raises(NoPython, match="neither apt-get nor dnf"):
            relay.read(ITEMS)


def test_a_python_too_old_is_named(lab_host: StartHost) -> None:
    bare = lab_host("bookworm", bare=True)
    put(bare, "/usr/bin/python3", "#!/bin/sh\necho 'Python there: 3.6' >&2; exit 99\n", 0o755)
    with reach(bare) as relay, pytest.raises(NoPython, match=r"(?s)no Python 3\.9 or later; .*Python there: 3\.6"):
        relay.read(ITEMS)


def test_a_newer_python_beside_one_too_old_is_found(bookworm: LabHost) -> None:
    bookworm.run("mv", "/usr/bin/python3", "/usr/libexec/platform-python")
    put(bookworm, "/usr/bin/python3", "#!/bin/sh\nexit 99\n", 0o755)
    with reach(bookworm) as relay:
        assert relay.read([file("/nowhere", None)]) == [None]


# ---- package, account


def test_a_package_nobody_has_fails_with_what_the_manager_said_last(bookworm: LabHost) -> None:
    with (
        reach(bookworm) as relay,
        pytest.raises(HostError, match=r"(?s)package no-such-package: .*Unable to locate") as caught,
    ):
        Plan.of(relay, [package("no-such-package")]).apply()
    assert len(str(caught.value)) < 3000


def test_installed_and_removed_packages_are_told_apart(bookworm: LabHost) -> None:
    bookworm.run("dpkg", "--remove", "--force-depends", "cron")
    with reach(bookworm) as relay:
        states = relay.read([package("make"), package("cron"), package("no-such-package")])
    assert states == [{"installed": True}, None, None]


def test_packages_are_installed_while_uploads_hold_the_lock(bookworm: LabHost) -> None:
    bookworm.run("mkdir", "/etc/postern")
    bookworm.run("dpkg", "--remove", "--force-depends", "make")
    hold = "touch /run/held; exec sleep infinity"
    bookworm.run("sh", "-c", f"setsid flock --shared /etc/postern sh -c '{hold}' >/dev/null 2>&1 </dev/null &")
    wait_until((bookworm.root / "run/held").exists)
    with reach(bookworm, lock_seconds=0.3) as relay:
        Plan.of(relay, [package("make")]).apply()
        with pytest.raises(Busy):
            Plan.of(relay, [file("/etc/x", "1\n")]).apply()


POSTERN = account("postern", home="/var/lib/postern", shell="/bin/sh")


@pytest.mark.parametrize("release", releases("bullseye", "bookworm", "forky"))
def test_an_account_is_made_with_a_home_that_is_roots_and_no_password(lab_host: StartHost, release: str) -> None:
    host = lab_host(release)
    items = [package("passwd"), POSTERN]
    with reach(host) as relay:
        Plan.of(relay, items).apply()
        assert Plan.of(relay, items).changes == ()
    entry = host.run("getent", "passwd", "postern").stdout.strip().split(":")
    assert entry[5:] == ["/var/lib/postern", "/bin/sh"]
    assert 0 < int(entry[2]) < 1000
    assert host.run("getent", "shadow", "postern").stdout.split(":")[1] == "*"
    assert host.run("stat", "-c", "%U:%G %a", "/var/lib/postern").stdout == "root:root 755\n"


ACCOUNT_DRIFT = {
    "another shell": (["usermod", "--shell", "/bin/false", "postern"], "shell /bin/false -> /bin/sh"),
    "a password": (["usermod", "--password", "$6$salt$hash", "postern"], "password set -> *"),
    "a lock": (["usermod", "--password", "!", "postern"], "password locked -> *"),
    "no password": (["usermod", "--password", "", "postern"], "password empty -> *"),
    "no home": (["rmdir", "/var/lib/postern"], "lacks its home directory"),
}


@pytest.mark.parametrize("drift", ACCOUNT_DRIFT)
def test_an_account_changed_by_hand_is_seen_and_put_right(bookworm: LabHost, drift: str) -> None:
    argv, sign = ACCOUNT_DRIFT[drift]
    with reach(bookworm) as relay:
        Plan.of(relay, [POSTERN]).apply()
        bookworm.run(*argv)
        plan = Plan.of(relay, [POSTERN])
        assert sign in plan.text()
        assert "hash" not in plan.text()
        plan.apply()


def test_an_account_gets_the_group_of_its_name_that_is_there_already(bookworm: LabHost) -> None:
    bookworm.run("groupadd", "--system", "postern")
    with reach(bookworm) as relay:
        Plan.of(relay, [POSTERN]).apply()
    assert bookworm.run("id", "-gn", "postern").stdout == "postern\n"


def test_attack_an_account_that_is_root_by_another_name_is_left_to_a_person(bookworm: LabHost) -> None:
    bookworm.run("useradd", "--non-unique", "--uid", "0", "--shell", "/bin/sh", "--home-dir", "/root", "postern")
    with reach(bookworm) as relay:
        plan = Plan.of(relay, [POSTERN])
        assert "! postern is root under another name" in plan.text()
        with pytest.raises(HostError, match="user id is 0"):
            plan.apply()


def test_an_account_that_must_not_be_there_is_removed_and_its_home_kept(bookworm: LabHost) -> None:
    with reach(bookworm) as relay:
        Plan.of(relay, [POSTERN]).apply()
        Plan.of(relay, [Item("account", "postern", None)]).apply()
    assert bookworm.run("id", "postern", check=False).returncode == 1
    assert (bookworm.root / "var/lib/postern").is_dir()
