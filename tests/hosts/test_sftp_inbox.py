"""A customer whose client only copies files, VanDyke's vcp and vsh: an account that can write one file and do no more.

vcp speaks SFTP and is stood in for by sftp, vsh by ssh, with the customer's own RSA key.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.paths import DROPPED, Places
from lab.host import LabHost
from lab.operators import MARK, AtOnce, Operator, Ran, answers, export
from lab.waiting import HANGS
from receiver.outcome import Stopped
from receiver.upload import sftp_inbox
from receiver.upload.formats import BadExport
from tests.support.releases import releases

pytestmark = [pytest.mark.host, pytest.mark.story]

StartHost = Callable[..., LabHost]
PIECE = "etc/ssh/sshd_config.d/postern-acme.conf"
DROP = "var/lib/postern/drop/acme/exchusers.txt"


class Customer:
    """A customer's server as far as vcp and vsh are concerned."""

    def __init__(self, operator: Operator, host: LabHost, name: str) -> None:
        self.operator, self.host, self.name = operator, host, name
        self.folder = operator.home.parent / f"server-{name}"
        self.folder.mkdir()
        self.key = self.folder / "exchupdate-k1"
        keygen = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", name, "-f", str(self.key)]
        subprocess.run(keygen, check=True)
        operator.customer(name, exchange={"client": "securecrt"})

    @property
    def options(self) -> list[str]:
        unasked = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
        return ["-F", "none", "-i", str(self.key), *(word for option in unasked for word in ("-o", option))]

    @property
    def account(self) -> str:
        return f"postern-{self.name}@{self.host.address}"

    def sftp(self, *commands: str) -> Ran:
        """Have sftp do this in the drop; it ends at the first that fails."""
        argv = ["sftp", "-q", "-b", "-", *self.options, self.account]
        return self.operator.call(argv, stdin="\n".join(commands).encode(), cwd=self.folder)

    def copy(self, content: bytes) -> Ran:
        (self.folder / "upload.txt").write_bytes(content)
        return self.sftp("put upload.txt exchusers.txt")

    def call(self, *words: str, account: str = "postern") -> Ran:
        return self.operator.call(["ssh", "-T", *self.options, f"{account}@{self.host.address}", *words])

    def provision(self) -> Ran:
        return self.operator.done(f"provision {self.name}", "--public-key", f"{self.key}.pub")


@pytest.fixture
def relay(request: pytest.FixtureRequest, lab_host: StartHost, tmp_path: Path) -> tuple[LabHost, Operator]:
    host = lab_host(getattr(request, "param", "bookworm"))
    host.start_postfix()
    operator = AtOnce(tmp_path)
    operator.relay("mx1", host)
    return host, operator


@pytest.fixture
def acme(relay: tuple[LabHost, Operator]) -> Customer:
    host, operator = relay
    made = Customer(operator, host, "acme")
    made.provision()
    return made


@pytest.mark.parametrize("relay", releases("bookworm", "trixie", "forky"), indirect=True)
def test_a_list_that_is_copied_and_collected_is_in_the_table_and_the_drop_empty_for_the_next(acme: Customer) -> None:
    assert acme.copy(export("bob", "ann") + MARK).code == 0
    looked = acme.call("collect-look")
    assert looked.code == 3
    assert "acme: only looked: " in looked.out
    assert (acme.host.root / DROP).stat().st_size == 0
    again = acme.call("collect")
    assert again.code == 2
    assert "nothing was sent" in again.out

    acme.copy(export("bob", "ann") + MARK)
    held = acme.call("collect")
    assert held.code == 3
    assert "held; 2 added" in held.out
    acme.operator.accept("acme", "--first 2")
    acme.copy(export("bob", "ann", "carol") + MARK)
    assert acme.call("collect").code == 0
    assert answers(acme.host, "carol@acme.example", "nobody@acme.example") == {
        "carol@acme.example": "250",
        "nobody@acme.example": "550",
    }
    again = acme.operator.done("provision acme")
    assert again.out.splitlines()[0] == "mx1: nothing to change (1 connection, 1 remote command)"
    assert acme.host.run("rebuild-relay-recips", "--check").stdout == ""


def test_a_list_that_is_still_being_copied_is_refused_and_taken_once_it_is_whole(acme: Customer) -> None:
    whole = export("bob") + MARK
    acme.copy(whole[:-20])
    cut = acme.call("collect")
    assert cut.code == 2
    assert "the end mark is missing" in cut.out
    assert (acme.host.root / DROP).read_bytes() == whole[:-20]  # its writer may go on
    acme.copy(whole)
    assert acme.call("collect").code == 3


def test_a_longer_list_before_leaves_nothing_in_a_shorter_one(acme: Customer) -> None:
    acme.copy(export(*(f"user{number}" for number in range(500))))
    acme.copy(export("bob") + MARK)
    assert "held; 1 added" in acme.call("collect").out


def test_of_two_lists_that_are_written_at_once_one_is_taken_or_none_and_never_a_mixture(tmp_path: Path) -> None:
    places = Places(str(tmp_path / "etc"), str(tmp_path / "var"))
    for folder in (places.run, places.drop("acme")):
        Path(folder).mkdir(parents=True)
    file = Path(places.drop("acme")) / DROPPED
    # long enough that one is written anew while it is read, and alike enough that nothing else would tell
    lists = [b"".join(b"Mailbox\tSMTP:%c%06d@acme.example\t\r\n" % (one, n) for n in range(200_000)) for one in b"ab"]
    over = threading.Event()

    def write() -> None:
        for content in itertools.cycle(lists):
            with file.open("wb", buffering=0) as out:  # as sftp-server does: emptied first
                out.write(content + MARK)
            if over.wait(0.01):
                return

    writer = threading.Thread(target=write)
    writer.start()
    came: Counter[str] = Counter()
    end = time.monotonic() + HANGS
    while time.monotonic() < end and not (came["list"] > 3 and came["Busy"] > 3):
        try:
            came["list" if sftp_inbox.read_inbox(places, "acme", 64) in lists else "mixture"] += 1
        except (BadExport, Stopped) as error:
            came[type(error).__name__] += 1
    over.set()
    writer.join()
    assert came["mixture"] == 0, came
    assert came["list"] > 0, came
    assert came["Busy"] > 0, came


# ---- what the account may not


ATTACKS = {
    "put a second file": "put upload.txt other.txt",
    "put one above": "put upload.txt ../other.txt",
    "put one at an absolute path": "put upload.txt /etc/cron.d/evil",
    "put one beside its folder": "put upload.txt /var/lib/postern/drop/bolt/exchusers.txt",
    "lay a link": "ln -s /etc/passwd link",
    "lay a hard link": "ln exchusers.txt again",
    "rename the file": "rename exchusers.txt gone",
    "remove the file": "rm exchusers.txt",
    "make a folder": "mkdir folder",
    "make the file its own": "chmod 777 exchusers.txt",
    "read what lies there": "get exchusers.txt copy.txt",
    "list what lies there": "ls",
    "read a file of the relay": "get /etc/passwd copy.txt",
}


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A relay with two such customers, and one of them."""
    with LabHost("bookworm") as host:
        host.start_postfix()
        operator = AtOnce(tmp_path_factory.mktemp("operator"))
        operator.relay("mx1", host)
        acme, bolt = Customer(operator, host, "acme"), Customer(operator, host, "bolt")
        acme.provision()
        bolt.provision()
        bolt.copy(b"bolt's own")
        acme.copy(b"acme's own")
        yield acme


def lying_there(host: LabHost) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted((host.root / "var/lib/postern/drop").rglob("*")):
        there = path.lstat()
        found[str(path)] = (there.st_mode, there.st_uid, path.read_bytes() if path.is_file() else b"")
    return found


def test_attack_its_account_tries_all_that_sftp_can_do_and_may_nothing_but_write_its_file(attacked: Customer) -> None:
    before = lying_there(attacked.host)
    for attack, command in ATTACKS.items():
        ran = attacked.sftp(f"-{command}", "put upload.txt exchusers.txt")
        assert ran.code == 0, attack  # it has been connected, and the attack is not what ended it
        assert re.search("denied|Couldn't|does not support|failure|No such file|not found", ran.err, re.IGNORECASE), (
            attack,
            ran.text,
        )
        assert lying_there(attacked.host) == before, attack
    assert not (attacked.host.root / "etc/cron.d/evil").exists()
    assert not (attacked.folder / "copy.txt").exists() or not (attacked.folder / "copy.txt").read_bytes()


def test_attack_its_account_asks_for_a_program_and_gets_none(attacked: Customer) -> None:
    for command in ("", "sh", "/usr/local/sbin/postern-receive bolt k1", "receive", "scp -t /tmp"):
        ran = attacked.call(*command.split(), account="postern-acme")
        assert ran.code != 0
        assert "sftp connections only" in ran.text


@pytest.mark.parametrize(
    "option", [["-L", "127.0.0.1:0:127.0.0.1:25"], ["-R", "0:127.0.0.1:25"], ["-W", "127.0.0.1:25"], ["-tt"]]
)
def test_attack_its_account_wants_to_forward_or_a_terminal(option: list[str], attacked: Customer) -> None:
    exits = ["-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=5"]
    argv = ["ssh", *option, *exits, *attacked.options, attacked.account]
    ran = attacked.operator.call(argv if "-W" in option else [*argv, "sh"])
    assert ran.code != 0
    assert "220 " not in ran.out  # what Postfix would say


def test_attack_another_customer_s_key_does_not_open_its_account_nor_its_key_a_shell(attacked: Customer) -> None:
    other = attacked.operator.home.parent / "server-bolt" / "exchupdate-k1"
    argv = ["ssh", "-T", *("-F", "none", "-i", str(other), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no")]
    ran = attacked.operator.call([*argv, attacked.account])
    assert ran.code == 255
    assert "Permission denied" in ran.err
    assert "none of receive, look, status" in attacked.call("sh").text


def test_attack_a_customer_without_a_drop_asks_to_collect(attacked: Customer) -> None:
    host, operator = attacked.host, attacked.operator
    operator.customer("cole")
    operator.done("provision cole")
    for verb in ("collect", "collect-look"):
        ran = operator.call([*operator.client("ssh", host, "cole"), f"postern@{host.address}", verb])
        assert ran.code == 2
        assert ran.out == f"cole: refused: {verb} is none of receive, look, status\n"
    assert not (host.root / "var/lib/postern/drop/cole").exists()


# ---- attacks by who has taken over the upload account: what SFTP would not let him do is done there


def test_attack_something_else_in_the_file_s_place_is_not_read_and_the_build_puts_it_right(
    attacked: Customer,
) -> None:
    host, secret, drop = attacked.host, attacked.host.root / "etc/secret", attacked.host.root / DROP
    secret.write_bytes(export("evil") + MARK)
    kinds: dict[str, Callable[[], None]] = {
        "link": lambda: drop.symlink_to("/etc/secret"),
        "fifo": lambda: os.mkfifo(drop),
        "hard link": lambda: os.link(secret, drop),
    }
    for kind, make in kinds.items():
        drop.unlink()
        make()
        ran = attacked.call("collect")
        assert ran.code == 4, (kind, ran.text)
        assert "provision this relay again" in ran.out
        assert "drop/acme" in host.run("rebuild-relay-recips", "--check").stdout, kind
        host.run("rebuild-relay-recips")
        assert host.run("rebuild-relay-recips", "--check").stdout == ""
    assert attacked.copy(export("bob") + MARK).code == 0
    assert attacked.call("collect").code == 3
    assert secret.read_bytes() == export("evil") + MARK


def test_attack_a_file_larger_than_an_export_is_refused_and_sshd_itself_stops_it_where_pam_does(
    lab_host: StartHost, tmp_path: Path
) -> None:
    host = lab_host("bookworm", sshd=["UsePAM yes"])
    host.start_postfix()
    operator = AtOnce(tmp_path)
    operator.relay("mx1", host)
    acme = Customer(operator, host, "acme")
    operator.customer("acme", exchange={"client": "securecrt"}, guard={"max_megabytes": 1})
    acme.provision()
    assert acme.copy(b"x" * (3 << 20)).code != 0
    assert (host.root / DROP).stat().st_size <= 2 << 20
    ran = acme.call("collect")
    assert ran.code == 2
    assert "larger than 1 MB" in ran.out


# ---- the piece of sshd's configuration


def test_what_confines_it_goes_with_the_client_and_nothing_of_it_stays(acme: Customer) -> None:
    host, operator = acme.host, acme.operator
    assert (host.root / PIECE).exists()
    operator.customer("acme")
    ran = operator.done("provision acme")
    assert "account postern-acme" in ran.out
    assert not (host.root / PIECE).exists()
    assert not (host.root / "etc/security/limits.d/postern-acme.conf").exists()
    assert "postern-acme" not in (host.root / "etc/passwd").read_text()
    assert list((host.root / "var/lib/postern/drop").iterdir()) == []
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")
    assert acme.sftp("put upload.txt exchusers.txt").code == 255
    assert acme.call("status").code == 0


def test_what_confines_it_goes_when_the_customer_goes(acme: Customer) -> None:
    host = acme.host
    acme.operator.done("retire acme --yes")
    assert not (host.root / PIECE).exists()
    assert "postern-acme" not in (host.root / "etc/passwd").read_text()
    assert list((host.root / "var/lib/postern/drop").iterdir()) == []
    assert host.run("sshd", "-t", check=False).returncode == 0


def test_a_relay_whose_sshd_config_reads_no_pieces_is_refused_with_the_line_that_helps(
    relay: tuple[LabHost, Operator],
) -> None:
    host, operator = relay
    acme = Customer(operator, host, "acme")
    config = host.root / "etc/ssh/sshd_config"
    config.write_text(config.read_text().replace("Include", "#Include"))
    ran = operator.done("provision acme", "--public-key", f"{acme.key}.pub", code=2)
    assert "add, as the first line, Include /etc/ssh/sshd_config.d/*.conf" in ran.err
    assert not (host.root / "etc/postern").exists()


def test_a_relay_that_lets_only_some_in_is_told_whom_to_add(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    acme = Customer(operator, host, "acme")
    (host.root / "etc/ssh/sshd_config.d/own.conf").write_text("AllowUsers root postern\n")
    ran = operator.done("provision acme", "--public-key", f"{acme.key}.pub", code=2)
    assert "sshd says AllowUsers root postern: add postern-acme" in ran.err


def test_a_match_block_that_overrules_ours_is_told_and_the_piece_is_taken_back(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    acme = Customer(operator, host, "acme")
    own = host.root / "etc/ssh/sshd_config.d/a.conf"
    own.write_text("Match User *,!root,!postern\n    ForceCommand /bin/false\n")
    ran = operator.done("provision acme", "--public-key", f"{acme.key}.pub", code=4)
    assert "another Match block comes first" in ran.err
    assert not (host.root / PIECE).exists()
    assert host.run("sshd", "-t", check=False).returncode == 0
    own.unlink()
    operator.done("provision acme")
    assert acme.copy(export("bob") + MARK).code == 0


def test_an_sshd_that_would_not_start_again_anyway_is_told_and_left_alone(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    acme = Customer(operator, host, "acme")
    acme.provision()
    (host.root / PIECE).unlink()
    (host.root / "etc/ssh/sshd_config.d/z.conf").write_text("Nonsense yes\n")
    ran = operator.done("provision acme", code=2)
    assert "Nonsense" in ran.err
    assert not (host.root / PIECE).exists()


def test_a_run_that_was_killed_before_the_reload_is_finished_by_the_next(acme: Customer) -> None:
    host, operator = acme.host, acme.operator
    note = host.root / "etc/postern/sshd.pending"
    note.write_text('{"path": "/etc/ssh/sshd_config.d/postern-acme.conf", "content": null}')
    ran = operator.done("provision acme --diff")
    assert "in force" in ran.out
    assert not note.exists()
    assert operator.done("provision acme").out.startswith("mx1: nothing to change")


# ---- keys


def test_a_client_that_makes_its_own_key_is_given_none(relay: tuple[LabHost, Operator]) -> None:
    host, operator = relay
    acme = Customer(operator, host, "acme")
    dry = operator.done("provision acme --dry-run", code=6)
    assert "acme: its key is made by its own client, and taken with --public-key FILE" in dry.out
    ran = operator.done("provision acme", code=2)
    assert "acme: client securecrt makes its own key: --public-key FILE takes the public half" in ran.err
    assert operator.public_keys() == []
    assert not (host.root / PIECE).exists()
    acme.provision()
    assert acme.call().out == "acme: key k1 works; it may receive, look and ask for status\n"
