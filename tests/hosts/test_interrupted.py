"""Provisioning that is killed at some moment, or meets another one: the next run ends as if nothing had been."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.host import LabHost
from lab.operators import Operator, answers, export

pytestmark = pytest.mark.host

StartHost = Callable[..., LabHost]
OK = {"anybody@acme.example": "250"}
NOTHING = "mx1: nothing to change (1 connection, 1 remote command)"
OURS = (
    *("etc/postern", "usr/local", "etc/sudoers.d", "etc/cron.d", "etc/postfix"),
    *("var/lib/postern", "etc/passwd", "etc/shadow", "etc/group"),
)
BUILT = re.compile(
    r"/tables/[^/]*\.db |/built\.json|/\.holder|/\.lock|\.db$|/__pycache__"
)  # hold times, or what is in others


def set_up(host: LabHost, folder: Path) -> Operator:
    host.start_postfix()
    operator = Operator(folder)
    operator.relay("mx1", host)
    operator.customer("acme")
    return operator


def state(host: LabHost) -> dict[str, str]:
    """All that provisioning writes, by name: what each file says, without what differs from host to host."""
    listed = host.run("find", *(f"/{one}" for one in OURS), "-printf", "%y %m %u %p %l\n").stdout.splitlines()
    files = [line.split(" ", 3)[3].rstrip() for line in listed if line.startswith("f") and not BUILT.search(line)]
    texts = host.run("sh", "-c", 'for f; do echo "@@@ $f"; cat "$f"; done', "sh", *files).stdout.split("@@@ ")[1:]
    alike = [_alike(one, host) for one in (*listed, *texts) if not BUILT.search(one.partition("\n")[0])]
    # What is new in main.cf comes in any order.
    return {one.partition("\n")[0]: "\n".join(sorted(one.splitlines())) for one in alike}


def _alike(text: str, host: LabHost) -> str:
    """Keys, names drawn by lot, and the host's own name and address differ from one host to the next."""
    text = re.sub(r"postern-[0-9a-f]{12}", "postern-LOT", text)
    text = re.sub(r"AAAA[\w+/=]{20,}", "KEY", text).replace(host.name, "HOST").replace(host.address, "ADDRESS")
    return re.sub(rf"\b{host.name.partition('.')[0]}\b", "HOST", text)


Moment = Callable[[LabHost, Operator], bool]

MOMENTS: dict[str, Moment] = {
    "the key is placed": lambda _, operator: any(operator.kits.glob("acme/*.ppk")),
    "the key is recorded": lambda _, operator: operator.public_keys() == ["k1"],
    "the account is there": lambda host, _: (host.root / "var/lib/postern").exists(),
    "main.cf is being proved": lambda host, _: (host.root / "etc/postern/main.cf.pending").exists(),
}
KILLS = [
    ("operator", "the key is recorded"),
    ("agent", "main.cf is being proved"),
    pytest.param("operator", "the key is placed", marks=pytest.mark.long),
    pytest.param("operator", "main.cf is being proved", marks=pytest.mark.long),
    pytest.param("agent", "the account is there", marks=pytest.mark.long),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with LabHost("bookworm") as host:
        set_up(host, tmp_path_factory.mktemp("operator")).done("provision acme")
        return state(host)


def was_killed(host: LabHost, operator: Operator, victim: str, has_come: Moment) -> bool:
    """Kill a provision, or what it runs on the relay, as soon as the moment has come; False: it was over before."""
    run = operator.start("provision acme")
    while not has_come(host, operator) and run.poll() is None:
        time.sleep(0.001)
    if victim == "agent":
        host.run("sh", "-c", "kill -9 $(pgrep -f '[r]emote.main')", check=False)
    else:
        run.kill()
    _, err = run.communicate()
    assert run.returncode in (0, 4 if victim == "agent" else -signal.SIGKILL), err
    if run.returncode == 4:
        assert "run it again: the next run finishes what was begun" in err
    return run.returncode != 0


@pytest.mark.parametrize(("victim", "moment"), KILLS)
def test_killed_at_any_moment_the_next_run_ends_as_an_undisturbed_one(
    lab_host: StartHost, tmp_path: Path, undisturbed: dict[str, str], victim: str, moment: str
) -> None:
    for attempt in range(20):  # on a busy machine a moment may pass before it is seen
        host = lab_host("bookworm")
        (home := tmp_path / str(attempt)).mkdir()
        operator = set_up(host, home)
        if was_killed(host, operator, victim, MOMENTS[moment]):
            break
    else:
        pytest.fail("it was over each time before it could be killed")

    operator.done("provision acme")
    again = operator.done("provision acme")
    assert again.out.startswith(NOTHING)
    assert operator.public_keys() == ["k1"]
    assert state(host) == undisturbed
    assert answers(host, *OK) == OK
    assert operator.upload(export("bob")).code == 3


def together(*operators: Operator, words: str) -> list[int]:
    """Run the same from several machines at once; the exit codes."""
    runs = [operator.start(words) for operator in operators]
    said = [run.communicate()[1] for run in runs]
    assert not any("Traceback" in text for text in said), said
    return [run.returncode for run in runs]


def test_two_checkouts_that_know_nothing_of_each_other_provision_one_relay_at_once(
    lab_host: StartHost, tmp_path: Path
) -> None:
    host = lab_host("bookworm")
    anna, bert = set_up(host, tmp_path / "anna"), Operator(tmp_path / "bert")
    bert.relay("mx1", host)
    bert.customer("bolt")
    assert together(anna, bert, words="provision --all") == [0, 0]
    for operator, customer in ((anna, "acme"), (bert, "bolt")):
        assert operator.done(f"provision {customer}").out.startswith(NOTHING)
        assert operator.upload(export("bob", domain=f"{customer}.example"), customer=customer).code == 3
        operator.accept(customer, "--first 1")
    wanted = {"bob@acme.example": "250", "x@acme.example": "550", "bob@bolt.example": "250", "x@bolt.example": "550"}
    assert answers(host, *wanted) == wanted


@pytest.mark.long
def test_two_checkouts_that_make_a_customer_s_first_key_at_once_never_replace_each_other_s(
    lab_host: StartHost, tmp_path: Path
) -> None:
    host = lab_host("bookworm")
    anna, bert = set_up(host, tmp_path / "anna"), Operator(tmp_path / "bert")
    bert.relay("mx1", host)
    bert.customer("acme")
    codes = together(anna, bert, words="provision acme")
    assert sorted(codes) in ([0, 2], [0, 75])  # by when the second looks
    first, second = (anna, bert) if codes[0] == 0 else (bert, anna)
    assert "mx1: would remove key:k1" in second.done("provision acme", code=2).err
    assert first.upload(export("bob")).code == 3
    if second.public_keys():  # it looked before the first was done, and made a key that opens nothing
        assert second.upload(export("bob")).code not in (0, 3)
    else:
        assert not second.kits.exists()
    assert first.done("provision acme").out.startswith(NOTHING)
