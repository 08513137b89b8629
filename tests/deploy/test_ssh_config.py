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

CONFIGS = Path(__file__).parent / "ssh_config"
CASES = sorted(CONFIGS.glob("*.config"))


@pytest.fixture
def config(operator_home: Path) -> Path:
    path = operator_home / ".ssh/config"
    path.unlink()
    return path


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_fabric_is_handed_what_ssh_says(config: Path, case: Path) -> None:
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
