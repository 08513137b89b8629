"""What a customer's key opens, tried by OpenSSH and by PuTTY's clients: the forced command, and nothing else."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import MARK, OUTSIDE, AtOnce, Operator, Ran
from lab.waiting import HANGS
from tests.support.ssh_agent import ssh_agent

pytestmark = [pytest.mark.host, pytest.mark.story]

CLIENTS = pytest.mark.parametrize("client", ["ssh", "plink"])
OBLIGING = (
    *("AcceptEnv *", "PermitUserEnvironment yes", "AllowTcpForwarding yes", "AllowAgentForwarding yes"),
    *("AllowStreamLocalForwarding yes", "GatewayPorts clientspecified", "PermitTunnel yes", "X11Forwarding yes"),
)


class Relay:
    """A relay with two customers, and somebody who has the key of one."""

    def __init__(self, host: LabHost, operator: Operator, key: str) -> None:
        self.host, self.operator, self.key = host, operator, key
        self.postern = f"postern@{host.address}"
        self.works = f"acme: key {key} works; it may receive, look and ask for status\n"

    def call(self, client: str, *words: str, more: tuple[str, ...] = (), stdin: bytes = b"") -> Ran:
        """Call with the key; `more` are options of the client."""
        return self.operator.call([*self.operator.client(client, self.host), *more, self.postern, *words], stdin)

    @contextmanager
    def upload_under_way(self, client: str, *more: str, environment: Mapping[str, str] | None = None) -> Iterator[None]:
        """An upload whose end does not come before this does."""
        before = len(self.calls())
        argv = [*self.operator.client(client, self.host), *more, self.postern, "receive"]
        pipe, environment = subprocess.PIPE, {**self.operator.environment, **(environment or {})}
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as upload:
            try:
                while len(self.calls()) == before:
                    assert upload.poll() is None, upload.communicate()
                    time.sleep(0.02)
                yield
            finally:
                upload.communicate(MARK, timeout=HANGS)

    def calls(self) -> list[str]:
        """What the forced command has logged of calls."""
        return [line for line in self.host.log().splitlines() if f" key {self.key} from " in line]


@pytest.fixture(scope="module", params=["k1", "k2"])
def relay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """Its sshd is as ready to oblige as it can be. No attack may leave anything there.

    The key is the customer's first and only one, or the second beside the first, while a rotation is open.
    """
    with LabHost("bookworm", sshd=OBLIGING) as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        operator.customer("acme")
        operator.customer("bolt", exchange={"addresses": ["198.51.100.7"]})
        operator.done("provision --all")
        if request.param == "k2":
            operator.upload(b"")  # a first key that has been used is none of the kit's any more
            operator.done("rotate-key acme")
        yield Relay(host, operator, request.param)
        assert operator.done("provision --all --dry-run").out.startswith("mx1: nothing to change")


@CLIENTS
def test_the_key_opens_the_gate(relay: Relay, client: str) -> None:
    assert relay.call(client).out == relay.works
    assert relay.call(client, "status").out.startswith("acme: 0 recipients")


# ---- other words


WORDS = (
    *("id", "sh -i", "receive; id", "receive && id", "receive | sh", "receive `id`", "receive $(id)", "receive\nid"),
    *("receive bolt", "status bolt", "bolt", "receive acme", " receive", "RECEIVE", "receive --help"),
    *("accept acme --first 1", "offer acme", "/usr/local/sbin/postern tick", "sudo -n rebuild-relay-recips"),
    *("receive < /etc/passwd", "../receive", "rsync --server . /", "git-upload-pack /", "scp -t /tmp", "internal-sftp"),
    *("/usr/lib/openssh/sftp-server", "\x1b[2J\u202ereceive", "x" * 100_000),
)


@CLIENTS
def test_attack_a_shell_another_command_or_another_customer_s_name_is_refused(relay: Relay, client: str) -> None:
    with ThreadPoolExecutor(4) as side:
        said = dict(zip(WORDS, side.map(lambda words: relay.call(client, words), WORDS), strict=True))
    for words, ran in said.items():
        assert (ran.code, ran.err) == (2, ""), words[:40]
        assert ran.out.startswith("acme: refused: "), words[:40]
        assert ran.out.endswith(" is none of receive, look, status\n"), words[:40]
        assert ran.out[:-1].isprintable(), words[:40]
        assert len(ran.out) < 400, words[:40]


@CLIENTS
def test_attack_no_command_is_no_shell_whatever_is_typed(relay: Relay, client: str) -> None:
    ran = relay.call(client, stdin=b"id\ncat /etc/passwd\nexit 7\n")
    assert (ran.code, ran.out) == (0, relay.works)


def test_attack_a_call_cannot_write_a_second_line_into_the_log(relay: Relay) -> None:
    relay.call("ssh", "rm -rf /\nacme: 5 recipients (+5 -0)")
    line = next(line for line in relay.host.log(until="rm -rf").splitlines() if "rm -rf" in line)
    assert line.endswith(f"acme key {relay.key} from {relay.host.address}: rm -rf /\\nacme: 5 recipients (+5 -0)")


@CLIENTS
def test_attack_the_key_opens_no_other_account(relay: Relay, client: str) -> None:
    argv = relay.operator.client(client, relay.host)
    for account in ("root", "acme", "daemon"):
        ran = relay.operator.call([*argv, f"{account}@{relay.host.address}", "id"])
        assert ran.code in (1, 255), account
        assert ran.out == ""


# ---- files


@pytest.mark.parametrize("program", ["scp", "scp -O", "pscp -scp", "pscp -sftp"])
def test_attack_no_file_comes_in_or_gets_out(relay: Relay, program: str, tmp_path: Path) -> None:
    name, *options = program.split()
    argv = [*relay.operator.client(name, relay.host), *options]
    (tmp_path / "evil").write_text("#!/bin/sh\n")
    into = relay.operator.call([*argv, str(tmp_path / "evil"), f"{relay.postern}:/tmp/evil"])
    out = relay.operator.call([*argv, f"{relay.postern}:/etc/passwd", str(tmp_path / "passwd")])
    assert 0 not in (into.code, out.code)
    assert not (relay.host.root / "tmp/evil").exists()
    assert not (tmp_path / "passwd").exists()


@pytest.mark.parametrize("program", ["sftp", "psftp"])
def test_attack_sftp_sees_no_file(relay: Relay, program: str, tmp_path: Path) -> None:
    (tmp_path / "batch").write_text("ls /\nget /etc/passwd\n")
    argv = relay.operator.client(program, relay.host)
    ran = relay.operator.call([*argv, "-b", str(tmp_path / "batch"), relay.postern], cwd=tmp_path)
    assert ran.code != 0
    assert "usr" not in ran.out
    assert not (tmp_path / "passwd").exists()


# ---- forwarding


@CLIENTS
def test_attack_minus_l_does_not_make_us_the_relay_itself_to_its_smtp(relay: Relay, client: str) -> None:
    port = free_port()
    with relay.upload_under_way(client, "-L", f"127.0.0.1:{port}:{relay.host.address}:25"):
        assert greeting(port) == b""


@CLIENTS
def test_attack_minus_r_does_not_make_the_relay_listen_for_us(relay: Relay, client: str) -> None:
    port = free_port()
    with relay.upload_under_way(client, "-R", f"{relay.host.address}:{port}:127.0.0.1:25"):
        # Both clients ask for the port before they send the command, which has come.
        assert f":{port} " not in relay.host.run("ss", "-Htln").stdout


@CLIENTS
def test_attack_minus_a_leaves_no_way_to_an_agent_there(relay: Relay, client: str, tmp_path: Path) -> None:
    with (
        ssh_agent(tmp_path / "agent") as path,
        relay.upload_under_way(client, "-A", environment={"SSH_AUTH_SOCK": str(path)}),
    ):
        assert relay.host.run("find", "/tmp", "/run", "-name", "agent.*").stdout == ""


def test_attack_minus_w_and_minus_d_lead_nowhere(relay: Relay) -> None:
    direct = relay.operator.call(
        [*relay.operator.client("ssh", relay.host), "-W", f"{relay.host.address}:25", relay.postern]
    )
    assert direct.code != 0
    assert "220" not in direct.out
    port = free_port()
    with relay.upload_under_way("ssh", "-D", f"127.0.0.1:{port}"):
        address = socket.inet_aton(relay.host.address)
        assert greeting(port, b"\4\1\0\x19" + address + b"\0")[:2] != b"\0\x5a"  # SOCKS 4: granted


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greeting(port: int, first: bytes = b"") -> bytes:
    """What comes through a tunnel, nothing if it is closed; the client may not listen yet."""
    for _ in range(50 * HANGS):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as tunnel:
                tunnel.sendall(first)
                return tunnel.recv(100)
        except ConnectionRefusedError:
            time.sleep(0.02)
        except ConnectionResetError:
            return b""
    pytest.fail("the client never listened there")


# ---- a terminal, an environment, another address


@pytest.mark.parametrize(("client", "option"), [("ssh", "-tt"), ("plink", "-t")])
def test_attack_there_is_no_terminal(relay: Relay, client: str, option: str) -> None:
    ran = relay.call(client, "id", more=(option,))
    assert ran.code in (2, 255)
    assert "uid=" not in ran.text
    assert {"ssh": "PTY allocation request failed", "plink": "Server refused to allocate pty"}[client] in ran.err


EVIL = {
    "PYTHONPATH": "/tmp/evil",
    "PYTHONHOME": "/tmp/evil",
    "PYTHONINSPECT": "1",
    "ENV": "/tmp/evil/json.py",
    "PATH": "/tmp/evil",
    "LD_LIBRARY_PATH": "/tmp/evil",
    "SSH_ORIGINAL_COMMAND": "receive bolt",
    "SSH_CONNECTION": "198.51.100.7 1 198.51.100.8 22",
}


@CLIENTS
def test_attack_an_environment_changes_nothing(relay: Relay, client: str) -> None:
    evil = relay.host.root / "tmp/evil"
    evil.mkdir(exist_ok=True)
    for name in ("json", "os", "sitecustomize"):
        (evil / f"{name}.py").write_text("print('evil')\n")
    if client == "ssh":
        more = ("-o", "SetEnv=" + " ".join(f'{name}="{value}"' for name, value in EVIL.items()))
    else:  # plink takes an environment from a saved session only
        session = relay.operator.home / ".putty" / "sessions" / "evil"
        session.parent.mkdir(parents=True)
        session.write_text("Environment=" + ",".join(f"{name}={value}" for name, value in EVIL.items()) + "\n")
        more = ("-load", "evil")
    before = len(relay.calls())
    ran = relay.call(client, "status", more=more)
    assert ran.code == 0
    assert ran.out.startswith("acme: 0 recipients")
    assert "evil" not in ran.text
    assert f"acme key {relay.key} from {relay.host.address}: status" in relay.calls()[before]


def test_attack_from_another_address_a_key_opens_nothing(relay: Relay) -> None:
    """Neither one of ours used from elsewhere, nor one used from here that is for elsewhere."""
    ran = relay.call("ssh", "status", more=("-b", OUTSIDE))
    assert (ran.code, ran.out) == (255, "")
    assert "Permission denied" in ran.err
    for client in ("ssh", "plink"):
        argv = relay.operator.client(client, relay.host, customer="bolt")
        ran = relay.operator.call([*argv, relay.postern, "status"])
        assert ran.code in (1, 255)
        assert ran.out == ""
