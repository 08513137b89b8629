"""What `ssh -G` says of a machine and what Fabric is handed of it: the real ssh, configurations as data."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.connection import _split_jump
from deploy.plan import HostError
from deploy.ssh_config import SshSays, ask_ssh
from deploy.ssh_login import Agent, KeyLogin
from lab.waiting import wait_until

CONFIGS = Path(__file__).parent / "ssh_config"
CASES = sorted(CONFIGS.glob("*.config"))


@pytest.fixture
def config(operator_home: Path) -> Path:
    path = operator_home / ".ssh/config"
    path.unlink()
    return path


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_fabric_is_handed_what_ssh_says(config: Path, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/sh")
    shutil.copy(case, config)
    shutil.copytree(CONFIGS / "conf.d", config.parent / "conf.d")
    wanted = json.loads(case.with_suffix(".json").read_text())
    asked = wanted.pop("asked", {})
    said = ask_where_ssh_knows_the_words("mx1", asked.get("user"), asked.get("port"))
    found = {**said.options.lookup("mx1"), "jumps": list(said.jumps)}
    assert {name: found.get(name) for name in wanted} == wanted


def ask_where_ssh_knows_the_words(address: str, user: str | None, port: int | None) -> SshSays:
    try:
        return ask_ssh(address, user, port, "root")
    except HostError as error:
        if "Unsupported Match attribute localnetwork" in str(error):
            pytest.skip("this ssh is older than 9.4 and knows no Match localnetwork")
        raise


def test_without_a_file_a_machine_is_reached_as_root_at_port_22(config: Path) -> None:
    options = ask_ssh("mx1", None, None, "root").options.lookup("mx1")
    assert (options["user"], options["port"], options["hostname"]) == ("root", "22", "mx1")


def test_a_file_ssh_cannot_read_is_named_with_the_line(config: Path) -> None:
    config.write_text("Host mx1\n    Porto 22\n")
    with pytest.raises(HostError, match=r"~/\.ssh/config cannot be understood: ~/\.ssh/config: line 2: .*porto"):
        ask_ssh("mx1", None, None, "root")


def test_without_ssh_a_sentence_says_what_to_install(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(config.parent))
    with pytest.raises(HostError, match=r"there is no program `ssh` here.*: install OpenSSH's client"):
        ask_ssh("mx1", None, None, "root")


def test_attack_an_address_that_looks_like_an_option_is_none(config: Path) -> None:
    with pytest.raises(HostError, match="cannot be understood"):
        ask_ssh(f"-oProxyCommand=touch {config}", None, None, "root")
    assert not config.exists()


def test_the_agent_of_the_machine_is_asked_not_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    monkeypatch.setenv("MINE", "/run/mine")
    said = [None, "none", "SSH_AUTH_SOCK", "$MINE", "/run/other"]
    logins = [KeyLogin({} if one is None else {"identityagent": one}, "root") for one in said]
    assert [login.agent_socket for login in logins] == ["/run/agent", "", "/run/agent", "/run/mine", "/run/other"]


def test_keys_that_a_file_names_are_tried_first_and_missing_files_skipped(tmp_path: Path) -> None:
    for name in ("first", "second"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(argv, check=True)
    named = [str(tmp_path / name) for name in ("second", "missing", "first")]
    login = KeyLogin({"identityfile": named, "identityagent": "none"}, "root")
    tried = [key.get_base64() for key in login.keys(Agent(login.agent_socket))]
    assert tried == [(tmp_path / f"{name}.pub").read_text().split()[1] for name in ("second", "first")]


PLAIN, SIGNED = "ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A key with a certificate beside it, as `ssh-keygen -s` makes one."""
    for name in ("authority", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    argv = [
        "ssh-keygen",
        "-q",
        "-I",
        "olga",
        "-n",
        "root",
        "-s",
        *map(str, (tmp_path / "authority", tmp_path / "key.pub")),
    ]
    subprocess.run(argv, check=True)
    return tmp_path / "key"


def tried(login: KeyLogin) -> list[str]:
    agent = Agent(login.agent_socket)
    try:
        return [key.public_blob.key_type if key.public_blob else key.get_name() for key in login.keys(agent)]
    finally:
        agent.close()


def test_a_key_is_tried_with_its_certificate_and_then_without(signed: Path) -> None:
    login = KeyLogin({"identityfile": [str(signed)], "identityagent": "none"}, "root")
    assert tried(login) == [SIGNED, PLAIN]


def test_a_certificate_beside_a_key_that_cannot_be_read_is_none(signed: Path) -> None:
    Path(f"{signed}-cert.pub").write_text("")
    login = KeyLogin({"identityfile": [str(signed)], "identityagent": "none"}, "root")
    assert tried(login) == [PLAIN]


def test_a_certificate_that_lies_elsewhere_is_for_its_own_key_alone(signed: Path, tmp_path: Path) -> None:
    elsewhere = Path(f"{signed}-cert.pub").rename(tmp_path / "signed")
    files = [str(tmp_path / "authority"), str(signed)]
    login = KeyLogin({"identityfile": [*files, str(elsewhere)], "identityagent": "none"}, "root")
    assert tried(login) == [PLAIN, SIGNED, PLAIN]


def test_a_certificate_is_used_with_a_key_that_an_agent_has(signed: Path, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists)
        elsewhere = Path(f"{signed}-cert.pub").rename(tmp_path / "signed")
        subprocess.run(["ssh-add", "-q", signed], env={"SSH_AUTH_SOCK": str(socket)}, check=True, capture_output=True)
        login = KeyLogin({"identityfile": [str(elsewhere)], "identityagent": str(socket)}, "root")
        assert tried(login) == [SIGNED, PLAIN]
        elsewhere.rename(f"{signed}-cert.pub")
        subprocess.run(["ssh-add", "-q", signed], env={"SSH_AUTH_SOCK": str(socket)}, check=True, capture_output=True)
        named = KeyLogin({"identityfile": [f"{signed}.pub"], "identityagent": str(socket)}, "root")
        assert sorted(set(tried(named))) == [PLAIN, SIGNED]
    finally:
        agent.terminate()
        agent.wait()


@pytest.mark.parametrize(
    ("jump", "parts"),
    [
        ("edge.example", ("edge.example", None, None)),
        ("alice@edge.example:2222", ("edge.example", "alice", 2222)),
        ("[127.77.0.1]", ("127.77.0.1", None, None)),
        ("[2001:db8::1]:23", ("2001:db8::1", None, 23)),
        ("a@b@edge", ("edge", "a@b", None)),
        ("ssh://edge:1", ("edge", None, 1)),
    ],
)
def test_a_hop_is_split_as_ssh_prints_it(jump: str, parts: tuple[str, str | None, int | None]) -> None:
    assert _split_jump(jump) == parts
