"""The demo: a real relay in a private root, a customer, a list, and what SMTP says at each step, on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import keys, roots
from lab.host import LabHost

REPO = Path(__file__).parent.parent
PEOPLE = ("ceo", "anna.schmidt", "bob", "carol", "dave", "o'hara")
HEADER = "Obj-Class\tE-mail addresses\tSecondary-Proxy-Addresses"
PLINK = re.compile(r"^plink (?P<words>-batch .*) (?P<receive>receive(?: kit=[0-9]+)?) <", re.MULTILINE)


class _WrongError(Exception):
    """The demo did not go as it should."""


def demo(keep: bool) -> int:
    """Run it; gives 0 when everything answered as it should, else 5."""
    roots.install_needed(say=_say)
    if reason := roots.missing():
        _say(reason)
        return 2
    began = time.monotonic()
    with LabHost("bookworm", say=_say) as relay, tempfile.TemporaryDirectory(prefix="postern-demo-") as folder:
        stage = _Stage(relay, Path(folder))
        try:
            stage.play()
        except _WrongError as error:
            _say(f"the demo did NOT go as it should: {error}")
            return 5
        _say(f"all of it as it should be, in {time.monotonic() - began:.0f} s")
        _say("with relays of your own, `./inv report` writes a page that shows all this with charts: docs/report.png")
        if keep:
            stage.wait()
    return 0


class _Stage:
    """The relay, and an operator's machine in a folder: a HOME, an inventory, a kit."""

    def __init__(self, relay: LabHost, folder: Path) -> None:
        self.relay = relay
        self.kit = folder / "kits" / "demo"
        self.environment = {**os.environ, "HOME": str(folder), "POSTERN_INVENTORY": str(folder / "inventory")}
        relay.start_postfix()
        _write(folder / ".ssh" / "config", f"Host {relay.address}\n  User root\n  IdentityFile {keys.admin_key()}\n")
        _write(folder / "inventory" / "relays.toml", f'[mx1]\naddress = "{relay.address}"\n')
        customer = (REPO / "inventory" / "customers" / "demo.toml").read_text("utf-8")
        customer = customer.replace("relay:[203.0.113.25]:25", relay.start_sink())
        customer = customer.replace('"198.51.100.7"', '"127.0.0.0/8"')
        _write(folder / "inventory" / "customers" / "demo.toml", customer)

    def play(self) -> None:
        """Run the demo, from an empty relay to one that refuses unlisted addresses."""
        with _step(f"A relay: Debian 12, Postfix, sshd on {self.relay.address}. Its host keys are pinned first."):
            self.inv("trust mx1 --yes")
        with _step("A customer, Demo Ltd, is set up on it, and the kit for its Exchange server is written."):
            self.inv("provision demo")
        with _step("Set up again: nothing to change, one connection, one remote command."):
            self.inv("provision demo", says="nothing to change (1 connection, 1 remote command)")
        with _step("Before a first list has been accepted nobody is refused."):
            self.ask(bob="250", nobody="250")
        with _step(
            "The Exchange server sends its first export through its key, with a line of runexport.bat. It is held."
        ):
            self.upload(_export(PEOPLE), code=3)
            self.inv("review demo")
            self.ask(bob="250", nobody="250")
        with _step("Somebody has looked, and accepts it by the numbers and the hash of that review."):
            self.inv(self.accept_command())
            self.ask(bob="250", nobody="550", postmaster="250")
            self.inv("verify demo")
        with _step(
            "Later an export comes that lacks nearly everybody. It is held: what it adds is taken, nobody goes."
        ):
            self.upload(_export(("ceo", "newcomer")), code=3)
            self.ask(bob="250", newcomer="250", nobody="550")
            self.inv("status demo", code=1)
        with _step("The key can do nothing else."):
            self.plink("id", code=2)

    def inv(self, words: str, code: int = 0, says: str = "") -> None:
        """Run one of Postern's own commands."""
        self._run([str(REPO / "inv"), *words.split()], f"./inv {words}", code, says=says)

    def accept_command(self) -> str:
        """Return the command that takes the list that is held, as the review has just ended with it."""
        said = subprocess.run(
            [str(REPO / "inv"), "review", "demo", "--json"], stdout=subprocess.PIPE, env=self.environment, check=True
        )
        return str(json.loads(said.stdout)["mx1"]["command"])

    def upload(self, export: bytes, code: int) -> None:
        """Do what runexport.bat does after ADMIN.EXE has ended."""
        mark = (self.kit / "endmark.txt").read_bytes()
        self.plink("receive", code, export + mark)

    def plink(self, verb: str, code: int, stdin: bytes = b"") -> None:
        """Call the relay with the batch's own line, or with another verb than `receive` at its end."""
        line = PLINK.search((self.kit / "runexport.bat").read_text("ascii"))
        if line is None:
            raise _WrongError("runexport.bat has no line that begins with plink")
        said = line["receive"] if verb == "receive" else verb
        words = [*line["words"].split(), *said.split()]
        self._run(["plink", *words], f"plink {' '.join(words[:6])} ... {said}", code, stdin, cwd=self.kit)

    def ask(self, **expected: str) -> None:
        """Print what the relay answers to each recipient over SMTP."""
        for local, code in expected.items():
            answer = self.relay.ask(f"{local}@demo.example", from_address="127.0.0.1")
            print(f"    RCPT TO:<{local}@demo.example>  ->  {answer}")
            if not answer.startswith(code):
                raise _WrongError(f"{local}@demo.example should have got {code}")

    def wait(self) -> None:
        """Leave the relay running until Ctrl-D."""
        _say(f"the relay runs on until you press Ctrl-D: ssh -i {keys.admin_key()} root@{self.relay.address}")
        sys.stdin.read()

    def _run(
        self, argv: list[str], shown: str, code: int, stdin: bytes = b"", cwd: Path | None = None, says: str = ""
    ) -> None:
        print(f"    $ {shown}", flush=True)
        done = subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment, cwd=cwd
        )
        text = done.stdout.decode("utf-8", "replace")
        print("".join(f"    {line}\n" for line in text.splitlines()), end="", flush=True)
        if done.returncode != code or says not in text:
            raise _WrongError(f"`{shown}` should have ended with {code} {says}, and ended with {done.returncode}")


@contextmanager
def _step(title: str) -> Iterator[None]:
    print(f"\n{title}\n", flush=True)
    yield


def _export(people: tuple[str, ...]) -> bytes:
    """Return an export as ADMIN.EXE of Exchange 5.5 writes it: tab between columns, % between values."""
    rows = [
        f"Mailbox\tSMTP:{one}@demo.example%X400:c=US;a= ;p=Demo;s={one};\tsmtp:{one}@demo.co.example" for one in people
    ]
    return "".join(f"{row}\r\n" for row in (HEADER, *rows)).encode("ascii")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text, "utf-8")


def _say(line: str) -> None:
    print(f"demo: {line}", flush=True)
