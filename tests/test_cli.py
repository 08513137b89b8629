"""The operator's command line: every form a call may have, and what a wrong one is told. No relay is needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from invoke import Collection

import completion
import tasks
from cli import GROUPS, Postern
from common.release import RELEASE
from console.options import read_text
from inventory.json_schema import schemas
from inventory.sources import Source
from lab import keys
from lab.operators import MARK, REPO, AtOnce, Operator, export

pytestmark = pytest.mark.slow  # each test reads the whole command line, and many start `inv` as a process
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB\n"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Somebody with one customer on a relay that is nowhere."""
    made = AtOnce(tmp_path)
    made.table("relays.toml#mx1", {"address": "192.0.2.1"})
    made.customer("acme", exclude=["administrator"])
    return made


def program(operator: Operator, code: str) -> str:
    """Run some Python in a process of its own, where cli.py can be imported."""
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=REPO, env=operator.environment, capture_output=True, text=True, check=True)
    return done.stdout


# ---- what is there


def test_a_core_flag_without_its_value_is_told_in_our_words(operator: Operator) -> None:
    said = operator.done("--print-completion-script", code=2).err
    assert said == "inv: --print-completion-script needs a value: bash, zsh, fish\n"


def test_nothing_is_proposed_for_all_where_there_is_no_such_option(operator: Operator) -> None:
    assert operator.done("refusals --all", code=2).err == "inv: refusals: no option '--all'; `inv refusals --help`\n"


def test_all_commands_are_listed_with_a_line_each_and_no_machinery_is_loaded_for_it(operator: Operator) -> None:
    code = "\n".join(
        (
            "import sys",
            "sys.argv = ['inv', '--list']",
            "import runpy",
            "try: runpy.run_path('cli.py', run_name='__main__')",
            "except SystemExit: pass",
            "print(sorted({'fabric', 'paramiko', 'pydantic', 'rich', 'jinja2', 'cryptography'} & set(sys.modules)))",
        )
    )
    *listed, loaded = program(operator, code).splitlines()
    for name in (
        "init",
        "check",
        "list",
        "trust",
        "provision",
        "sync",
        "parse",
        "review",
        "accept",
        "status",
        "rotate-key",
    ):
        assert any(line.split()[:1] == [name] for line in listed), name
    assert loaded == "[]"


@pytest.mark.parametrize("words", ["provision --help", "provision acme --help", "--help provision", "provision -h"])
def test_help_is_a_tasks_manual_wherever_it_is_asked_for_and_nothing_runs(operator: Operator, words: str) -> None:
    """Plain invoke takes `sync --help` for a customer named --help, and runs."""
    ran = operator.done(words)
    assert "Set up both ends for a customer" in ran.out
    assert "--removing" in ran.out
    assert "mx1" not in ran.text


@pytest.mark.parametrize("words", ["", "help", "--help", "--list"])
def test_all_commands_fit_a_screen_and_each_stands_in_one_group(operator: Operator, words: str) -> None:
    lines = operator.done(words).out.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    assert sorted(name for names in GROUPS.values() for name in names) == TASKS
    assert [name for name in TASKS if not any(line.startswith(f"  {name} ") for line in lines)] == []


def test_help_before_a_command_is_its_manual(operator: Operator) -> None:
    assert operator.done("help provision").out == operator.done("provision --help").out
    assert "no command 'provison'; did you mean 'provision'?" in operator.done("help provison", code=2).err


def test_it_says_which_release_it_is(operator: Operator) -> None:
    assert operator.done("--version").out == f"Postern {RELEASE}\n"


# ---- every form that help shows works

TASKS = sorted(Collection.from_module(tasks).task_names)
FORM = re.compile(r"^  (?:(-\w), )?(--[a-z-]+)(?: ([A-Z]+))?(?: |$)", re.MULTILINE)


class Understood(Postern):
    """What a call is taken for, and nothing is run."""

    def execute(self) -> None:
        """Keep the one task's arguments."""
        (self.call,) = self.tasks

    @classmethod
    def arguments(cls, *words: str) -> dict[str, object]:
        program = cls(name="Postern", binary="inv", version=RELEASE, namespace=Collection.from_module(tasks))
        program.run(["inv", *words])
        return {str(key): value for key, value in program.call.as_kwargs.items()}


@pytest.mark.parametrize("task", TASKS)
def test_each_option_of_a_task_works_as_its_help_shows_it(operator: Operator, task: str) -> None:
    help_ = operator.done(f"{task} --help").out
    for letter, long, value in FORM.findall(help_.partition("Options:")[2]):
        for flag in filter(None, (letter, long)):
            if flag != "-h" and long != "--help":
                taken = Understood.arguments(task, flag, *["x"] * bool(value))
                assert taken[long[2:].replace("-", "_") + "_" * (long in ("--all", "--list", "--from"))] in (
                    "x",
                    ["x"],
                    True,
                )


@pytest.mark.parametrize("task", TASKS)
def test_the_usage_and_the_example_of_a_task_are_taken(operator: Operator, task: str) -> None:
    lines = operator.done(f"{task} --help").out.splitlines()
    usage, example = lines[0], lines[-1]
    assert usage.startswith(f"Usage: inv {task}")
    names = re.findall(r" \[?([A-Z]+)\b", usage.partition(" --")[0])
    taken = [*Understood.arguments(task, *names).values()]
    assert all(name in taken for name in names)
    assert example.startswith(f"Example: inv {task}")
    Understood.arguments(*shlex.split(example)[2:])


@pytest.mark.parametrize("task", TASKS)
def test_help_fits_a_screen_and_has_none_of_invoke_s_own_options(operator: Operator, task: str) -> None:
    lines = operator.done(f"{task} --help").out.splitlines()
    assert len(lines) <= 45
    assert all(len(line) <= 80 for line in lines)
    assert "core-opts" not in lines[0]


def test_a_letter_means_one_option_in_every_task() -> None:
    meanings: dict[str, set[str]] = {}
    for context in Collection.from_module(tasks).to_contexts():
        for letter, long in context.flags.aliases.items():
            meanings.setdefault(letter, set()).add(long)
    assert meanings == {"-c": {"--customer"}, "-j": {"--json"}, "-n": {"--dry-run"}}


SEEN = {
    "status -c acme": {"customer": "acme"},
    "provision --customer acme": {"customer": "acme"},
    "provision --customer=acme --dry": {"customer": "acme"},
    "trust --name mx1": {"name": "mx1"},
    "parse --file X --customer acme": {"file": "X", "customer": "acme"},
    "parse --customer acme X": {"file": "X", "customer": "acme"},
    "accept --removing 1 -c acme": {"customer": "acme", "removing": "1"},
}


@pytest.mark.parametrize("words", SEEN)
def test_a_name_is_taken_with_its_option_as_well(words: str) -> None:
    assert Understood.arguments(*words.split()).items() >= SEEN[words].items()


# ---- completion

COMPLETED = {
    ("stat",): ["status"],
    ("status", ""): ["acme"],
    ("status", "-c", "a"): ["acme"],
    ("status", "acme", ""): [],
    ("trust", ""): ["acme", "mx1"],
    ("retire", "acme", "--relay", ""): ["mx1"],
    ("retire", "--relay", "mx1", ""): ["acme"],
    ("provision", "acme", "--dr"): ["--dry-run"],
    ("status", "demo,a"): ["demo,acme"],
    ("parse", ""): [],
    ("parse", "export.txt", "--customer", ""): ["acme"],
    ("nonsense", ""): [],
    ("init", "bolt", "--source", "p"): ["powershell"],
    ("schema", "r"): ["relays"],
    ("help", "rot"): ["rotate-key"],
    ("--print-completion-script", "z"): ["zsh"],
}


@pytest.mark.parametrize("words", COMPLETED)
def test_what_a_shell_offers_after_these_words(
    operator: Operator, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTERN_INVENTORY", str(operator.inventory))
    assert completion.candidates(["inv", *words]) == COMPLETED[words]


def test_completion_offers_each_source_and_each_schema() -> None:
    assert completion.CHOICES["--source"] == get_args(Source)
    assert completion.CHOICES["--kind"] == tuple(schemas())


def test_completion_knows_every_task_and_option_that_invoke_does() -> None:
    for context in Collection.from_module(tasks).to_contexts():
        offered = completion.candidates(["inv", str(context.name), "--"])
        assert {*offered} == {"--help", *(flag for flag in context.flags if flag.startswith("--"))}
    assert {*completion.candidates(["inv", ""])} == {*TASKS, "--help", "--list", "--version"}


def test_completion_in_an_inventory_with_faults_offers_what_can_be_read(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTERN_INVENTORY", str(operator.inventory))
    (operator.inventory / "relays.toml").write_text("[mx1")
    assert completion.candidates(["inv", "trust", ""]) == ["acme"]


def test_completion_loads_neither_invoke_nor_the_inventory_s_checks(operator: Operator) -> None:
    code = "import sys, completion; completion.candidates(['inv', 'status', '']); print(*sys.modules)"
    assert not {"invoke", "pydantic", "tasks"} & {*program(operator, code).split()}


def test_bash_completes_a_customer_through_the_script_it_is_given(operator: Operator) -> None:
    lines = (
        f"source <({REPO}/inv --print-completion-script bash)",
        "COMP_WORDS=(inv status a) COMP_CWORD=2",
        "_postern",
        'echo "${COMPREPLY[@]}"',
    )
    done = subprocess.run(["bash", "-c", "\n".join(lines)], env=operator.environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("acme\n", "")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here; ./inv test --long installs it")
def test_fish_completes_customers_and_options_through_its_script(operator: Operator, tmp_path: Path) -> None:
    """An option among the candidates must not be taken for one of the program that prints them."""
    (tmp_path / "inv").symlink_to(REPO / "inv")
    asked = ("inv status a", "inv provision acme --d", "inv init bolt --source p")
    lines = [f"{REPO}/inv --print-completion-script fish | source", *(f"complete -C '{each}'" for each in asked)]
    environment = {**operator.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["fish", "-N", "-c", "\n".join(lines)], env=environment, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["acme", "--diff", "--downgrade", "--dry-run", "powershell"], "")


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_completion_script_is_one_its_shell_can_read(operator: Operator, shell: str, tmp_path: Path) -> None:
    written = operator.done(f"--print-completion-script {shell}").out
    assert f"'{REPO}/inv' --complete -- " in written
    if program_ := shutil.which(shell):
        (tmp_path / "script").write_text(written)
        subprocess.run([program_, "-n", str(tmp_path / "script")], check=True)


def test_a_shell_without_a_completion_is_told_which_have_one(operator: Operator) -> None:
    assert "there is one for bash, zsh, fish" in operator.done("--print-completion-script tcsh", code=2).err


# ---- the wrapper


def test_a_failed_install_is_said_in_a_sentence_and_tried_again_by_the_next_call(tmp_path: Path) -> None:
    for name in ("inv", "requirements.lock"):
        shutil.copy(REPO / name, tmp_path)
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\n[ "$2" != pip ] || { echo "ERROR: No matching distribution" >&2; exit 1; }\n'
        '[ "$2" != venv ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }\n'
    )
    python.chmod(0o755)
    for _ in range(2):
        environment = {"PATH": f"{python.parent}:/usr/bin:/bin"}
        done = subprocess.run([tmp_path / "inv", "check"], env=environment, text=True, capture_output=True)
        assert done.returncode == 4
        assert done.stderr.splitlines()[1:] == [
            "ERROR: No matching distribution",
            "inv: pip could not install what requirements.lock names, and says above why; the next call tries again",
        ]


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_to_inv_works_and_a_link_to_that_link(operator: Operator, tmp_path: Path, relative: bool) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "first").symlink_to(os.path.relpath(REPO / "inv", bin_) if relative else REPO / "inv")
    (bin_ / "inv").symlink_to("first")
    done = subprocess.run(
        ["inv", "--version"], env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}"}, text=True, capture_output=True
    )
    assert done.stdout == f"Postern {RELEASE}\n"


# ---- pipes, full disks, Ctrl-C


@pytest.mark.parametrize("words", ["list", "check", "status --json", "--list"])
def test_output_to_a_full_disk_is_one_sentence_and_4(operator: Operator, words: str) -> None:
    argv = [sys.executable, str(REPO / "cli.py"), *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, env=operator.environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr.splitlines()[-1:] == [
        "inv: what was to be printed could not be written: No space left on device"
    ]
    assert "Traceback" not in done.stderr
    assert done.returncode == 4


def test_a_closed_stdout_is_no_fault(operator: Operator) -> None:
    argv = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, str(REPO / "cli.py"), "check"]
    done = subprocess.run(argv, env=operator.environment, stderr=subprocess.PIPE, text=True)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_a_relay_says_nothing_ends_with_a_sentence(operator: Operator, presses: int) -> None:
    """The first waits until the relay has answered or is given up, and says so; the second ends it at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        operator.table("relays.toml", {"mx1": {"address": "127.0.0.1", "port": port, "uploads": "mx1.example"}})
        public = keys.admin_key().with_suffix(".pub").read_text()
        (operator.inventory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        process = operator.start("status")
        assert process.stderr is not None
        called, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        assert "Ctrl-C again stops at once" in process.stderr.readline()
        if presses == 2:
            process.send_signal(signal.SIGINT)
        silent.close()  # a second try would wait there for a greeting
        called.close()
        err = process.stderr.read()  # communicate() would miss what readline() has read ahead
        process.wait()
    assert "Traceback" not in err
    assert process.returncode == (130 if presses == 1 else -signal.SIGINT)
    assert ("stopped; run the same again" in err) == (presses == 1)


# ---- a call that is wrong ends with 2, and says what is wrong

WRONG = {
    "provison acme": "no command 'provison'; did you mean 'provision'?",
    "provision acme --dryrun": "no option '--dryrun'; did you mean '--dry-run'?",
    "provision acme bolt": "one name was expected, and 2 came",
    "--dry check": "check has no dry run",
    "check --dry": "check has no dry run",
    "status acme -c acme": "no other name was expected, and 1 came",
    "rotate-key acme -d": "no option '-d'",
    "status --echo": "no option '--echo'",
    "check acme": "check takes no name, it looks at every file; `inv check --help`",
    "provision": "which customer? Name one, or say --all",
    "provision acme --all": "either 'acme' or --all, not both",
    "provision acmee": "no customer 'acmee' in customers/ of the inventory; did you mean 'acme'?",
    "sync acmee --export-file x": "no customer 'acmee' in customers/ of the inventory; did you mean 'acme'?",
    "status acmee": "did you mean 'acme'?",
    "verify": "which customer? Name one, or say --all",
    "review": "which customer? Name one, or say --all",
    "history": "which customer? Name one, or say --all",
    "review acme --all": "either 'acme' or --all, not both",
    "history --all --diff 1": "--diff is of one customer's lists",
    "trust mxx1": "no relay 'mxx1' in relays.toml of the inventory; did you mean 'mx1'?",
    "trust": "which machine? Name a relay",
    "provision acme --removing": "--removing needs a value",
    "provision --all --kit-dir /tmp/x": "--kit-dir and --public-key are for one customer",
    "provision acme --public-key /nowhere/key.pub": "/nowhere/key.pub: No such file",
    **dict.fromkeys(
        ("sync", "accept", "rollback", "adopt", "rehearse", "resume", "open", "refusals", "retire"),
        "which customer? Name one; `inv list` shows them",
    ),
    "trust acme": "acme's server takes a kit and is not reached over SSH (reach in customers/acme.toml)",
    "report --out /dev/null": "/dev/null: is a file; --out names the folder that the page is written into",
    "sync acme": "--export-file FILE takes an export",
    "sync acme --export-file /nowhere/export.txt": "/nowhere/export.txt: No such file",
    "parse /nowhere/export.txt --customer acme": "/nowhere/export.txt: No such file",
    "parse export.txt": "which customer's? --customer CUSTOMER",
    "accept acme": "name the list, as the command that `inv review acme` prints does: --list HASH",
    "accept acme --removing some": "--removing some: a number, as `inv review acme` says",
    "accept acme --although-mail -1": "--although-mail -1: a number",
    "accept acme --removing 1 --adding 1": "name the list",
    "accept acme --removing 1": "name the list, as the command that `inv review acme` prints does: --list HASH",
    "accept acme --removing 1 --list 0123456789ab": "all of it",
    "rollback acme --to last": "--to last: a number, as in `inv history acme`",
    "rollback acme --to 1 --entry 0123456789ab": "--entry brings back whom one upload removed: name one of them",
    "review acme,acmee": "did you mean 'acme'?",
    "verify acme,acmee": "did you mean 'acme'?",
    "rotate-key": "which customer? Name one, or say --all",
    "rotate-key acmee": "did you mean 'acme'?",
    "rotate-key acme --all": "either 'acme' or --all, not both",
    "rotate-key acme": "acme has no key yet: `inv provision acme` makes its first",
    "rotate-key acme --finish --undo": "either --finish or --undo, not both",
    "rotate-key acme --force": "--force goes with --finish or --undo",
    "rotate-key --due --kit-dir /tmp/x": "--public-key and --kit-dir are for one customer",
    "rotate-key acme --finish --public-key x": "--public-key begins a rotation; it does not go with --finish or --undo",
    "init acme": "acme.toml is there already",
    "init ../acme": "cannot be an id",
    "init": "which customer? Name the new one's id, or say --from FILE.csv",
    "init bolt --from x.csv": "either 'bolt' or --from x.csv, not both",
    "init bolt --source powershel": "no source 'powershel'; did you mean 'powershell'?",
    "init bolt --relay mx": "bolt: no relay 'mx' in relays.toml; did you mean 'mx1'?",
    "init bolt --next-hop relay[203.0.113.25]": "bolt: next_hop 'relay[203.0.113.25]' ",
    "verify acme, bolt": "one name, several without blanks, was expected, and 2 came",
    "accept acme bolt": "one name was expected, and 2 came",
    "init --from /nowhere/x.csv": "/nowhere/x.csv: No such file",
    "init Acme": "cannot be an id",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_call_ends_with_2_and_says_what_would_help(operator: Operator, words: str) -> None:
    ran = operator.done(words, code=2)
    assert WRONG[words] in ran.err
    assert ran.out == ""
    assert len(ran.err.splitlines()) == 1


def test_an_inventory_that_is_not_there_is_named_with_the_variable_that_names_it(operator: Operator) -> None:
    operator.inventory = Path("/nowhere")
    ran = operator.done("list", code=2)
    assert ran.err == "/nowhere: no such directory; POSTERN_INVENTORY names the one that holds relays.toml\n"


@pytest.mark.parametrize("words", ["check", "provision acme", "status", "provision --all --dry-run"])
def test_a_customer_file_with_five_faults_is_told_in_five_lines(operator: Operator, words: str) -> None:
    operator.customer(
        "acme",
        domains=["acme"],
        relays=["mx2"],
        colour="blue",
        canaries=["ceo"],
        exchange={"server": 'NT%SERVER" & del *'},
    )
    faults = operator.done(words, code=2).err.splitlines()
    assert sorted(fault.split(": ")[:2] for fault in faults) == [
        ["customers/acme.toml", key] for key in ("canaries", "colour", "domains", "exchange.server", "relays")
    ]


ALL = ("review --all", "history --all", "verify --all")


@pytest.mark.parametrize("words", ALL)
def test_a_relay_that_is_not_reached_is_one_line_for_all_its_customers(operator: Operator, words: str) -> None:
    operator.customer("bolt")
    ran = operator.done(words, code=4)
    assert ran.err.count("mx1: no host key is pinned for it yet") == 1


FOR_ONE = (
    "provision bolt",
    "status bolt",
    "history bolt,bolt",
    "resume bolt",
    "sync bolt --export-file /dev/null",
    "rollback bolt",
    "review bolt",
    "verify bolt",
    "retire bolt --yes",
    "trust mx1 --yes",
)


@pytest.mark.parametrize("words", FOR_ONE)
def test_one_customer_s_fault_is_a_line_in_a_command_for_another(operator: Operator, words: str) -> None:
    """An emergency must not wait until somebody has mended a file that has nothing to do with it."""
    operator.table("relays.toml#mx9", {"address": "127.77.255.254", "port": 1})
    operator.customer("bolt", relays=["mx9"])
    operator.customer("acme", colour="blue", domains=["acme"])
    ran = operator.done(words.replace("mx1", "mx9"), code=1 if words.startswith("status") else 4)
    assert "the inventory has faults elsewhere, in customers/acme.toml; `inv check` names each\n" in ran.err
    assert "colour" not in ran.err


def test_several_customers_and_relays_are_named_with_commas(operator: Operator) -> None:
    operator.table("relays.toml#mx9", {"address": "127.77.255.254", "port": 1})
    operator.customer("bolt", relays=["mx9"])
    operator.customer("cork", relays=["mx1", "mx9"])
    assert "2 relays: 2 not reached (mx1, mx9)" in operator.done("provision acme,bolt --dry-run", code=4).out
    assert "mx1" not in operator.done("verify acme,cork --relay mx9", code=4).text
    assert "mx1" not in operator.done("status acme,cork --relay mx9", code=1).text
    assert "(relay)\tmx9\t" in operator.done("status cork --relay ,", code=1).out, "no name is no choice"
    assert "none of these customers is on mx9" in operator.done("verify acme --relay mx9", code=2).err
    assert "did you mean 'mx9'" in operator.done("history cork --relay mx99", code=2).err
    assert "one customer at a time" in operator.done("rollback acme,bolt", code=2).err
    assert "did you mean 'cork'" in operator.done("resume acme,corc", code=2).err


@pytest.mark.parametrize("words", ["list", "status", "review --all", "verify --all", "provision --all", "kits"])
def test_where_there_is_no_customer_yet_one_sentence_names_init(operator: Operator, words: str) -> None:
    (operator.inventory / "customers" / "acme.toml").unlink()
    ran = operator.done(words)
    assert ran.err == "no customer is written down yet: `inv init ID` writes a file for the first one\n"
    assert "0 relays: " not in ran.out


FOR_ALL = {  # with what it ends where nothing is wrong with a file, and what it says of those whose files are right
    "list": (0, "acme"),
    "status": (1, "mx1"),
    "report": (4, "mx1"),
    "kits": (4, "acme"),
    "provision --all": (4, "mx1"),
    "provision --all --dry-run": (4, "mx1"),
    "rotate-key --due": (0, "no key is due"),
    "review --all": (4, "mx1"),
    "history --all": (4, "mx1"),
    "verify --all": (4, "mx1"),
    "find anna": (4, "mx1"),
}


@pytest.mark.parametrize("words", FOR_ALL)
def test_a_command_for_all_goes_on_without_the_customer_whose_file_has_faults(operator: Operator, words: str) -> None:
    """Waiting for a new customer's data takes days, in which another's list may be held."""
    code, said = FOR_ALL[words]
    assert said in operator.done(words, code=code).text
    operator.customer("bolt", colour="blue")
    (operator.inventory / "customers" / "notes").write_text("x")
    ran = operator.done(words, code=code if code == 4 else 2)
    first, second, *_ = sorted(ran.err.splitlines()[:2])
    assert first.startswith("customers/bolt.toml: colour: no such key")
    assert second.startswith("customers/notes: no customer's file")
    assert said in ran.text


def test_check_wants_every_file_right(operator: Operator) -> None:
    operator.customer("bolt", colour="blue")
    assert "customers/bolt.toml: colour: no such key" in operator.done("check", code=2).err


def test_check_says_once_which_files_are_editors_backups(operator: Operator) -> None:
    for name in ("acme.toml~", "acme.toml.bak"):
        (operator.inventory / "customers" / name).write_text("x")
    said = "customers/: editors' backups, which are no customers: acme.toml.bak, acme.toml~\n"
    assert operator.done("check").err == said


@pytest.mark.parametrize("words", ["provision acmee", "check", "provison"])
def test_the_process_ends_with_the_code_and_no_traceback(operator: Operator, words: str) -> None:
    operator.customer("acme" if words == "check" else "bolt", colour="blue")
    operator.customer("bolt")
    process = operator.start(words)
    _, err = process.communicate()
    assert process.returncode == 2
    assert len(err.splitlines()) == 1


def test_a_private_key_given_for_a_public_one_is_refused_and_never_shown(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(PRIVATE)
    ran = operator.done(f"provision acme --public-key {tmp_path / 'key'}", code=2)
    assert f"{tmp_path / 'key'}: this is a PRIVATE key" in ran.err
    assert "b3Bl" not in ran.text
    assert operator.public_keys() == []


# ---- init

FILLED = {
    "exchange-5.5": {"server": "NTSERVER", "basepoint": "/o=Acme"},
    "csvde": {"server": "DC1"},
    "powershell": {"server": "EX1"},
}


@pytest.mark.parametrize("source", FILLED)
def test_a_table_of_customers_becomes_files_that_need_nothing_more(
    operator: Operator, tmp_path: Path, source: str
) -> None:
    columns = {
        "name": "Bolt & Söhne",
        "domains": "bolt.example bolt.co.example",
        "relays": "mx1",
        **FILLED[source],
        "next_hop": "relay:[203.0.113.25]:25",
        "addresses": "198.51.100.7",
        "timezone": "Europe/Berlin",
        "source": source,
    }
    carol = {**columns, "name": "Carol", "domains": "carol.example"}
    rows = [["id", *columns], ["bolt", *columns.values()], ["carol", *carol.values()]]
    (tmp_path / "new.csv").write_text("\n".join(";".join(row) for row in rows))
    said = operator.done(f"init --from {tmp_path / 'new.csv'}").out
    assert said == f"2 files in {operator.inventory / 'customers'} written: next `inv check`\n"
    assert "3 customers, 4 domains" in operator.done("check").out
    (bolt,) = (one for one in json.loads(operator.done("list --json").out) if one["id"] == "bolt")
    assert (bolt["name"], bolt["exchange"]["source"]) == ("Bolt & Söhne", source)


def test_a_table_with_one_wrong_row_writes_no_file(operator: Operator, tmp_path: Path) -> None:
    wrong = {
        "id,domain\nbolt,x.example\n": "no column 'domain' is known; did you mean 'domains'?",
        "name\nbolt\n": "the first line must name the columns, id among them",
        "id,name\nbolt,Bolt\ncarol\n": "line 3: has fewer or more cells",
        "id\nbolt\nCarol\n": "'Carol' cannot be an id",
        "id\nbolt\nbolt\n": "bolt stands there twice",
        "id\nbolt\nacme\n": "acme.toml is there already",
        "id,relays\nbolt,mx1\ncarol,mx7\n": "carol: no relay 'mx7'",
        "": "the first line must name the columns",
    }
    for text, said in wrong.items():
        (tmp_path / "new.csv").write_text(text)
        assert said in operator.done(f"init --from {tmp_path / 'new.csv'}", code=2).err
        assert [path.name for path in (operator.inventory / "customers").iterdir()] == ["acme.toml"]


SPREADSHEETS = {
    "a line of its separator": "sep=;\r\nid;name;domains;relays\r\nbolt;Bolt;bolt.example bolt.co.example;mx1\r\n",
    "tabs": "id\tname\tdomains\trelays\nbolt\tBolt\tbolt.example bolt.co.example\tmx1\n",
    "empty rows and columns": "id,name,domains,relays,,\nbolt,Bolt,bolt.example bolt.co.example,mx1,,\n,,,,,\n",
    "columns by hand": "\ufeffId , Name,DOMAINS,relays\nbolt,Bolt,bolt.example bolt.co.example,mx1\n",
    "lists with commas": 'id,name,domains,relays\nbolt,Bolt,"bolt.example, bolt.co.example;",mx1\n',
    "line ends of an old Mac": "id,name,domains,relays\rbolt,Bolt,bolt.example bolt.co.example,mx1\r",
}


def test_a_table_in_unicode_text_is_taken_and_one_of_a_code_page_refused(operator: Operator, tmp_path: Path) -> None:
    text = SPREADSHEETS["tabs"].replace("Bolt\t", "Bölt\t")
    (tmp_path / "new.csv").write_bytes(text.encode("cp1252"))
    said = operator.done(f"init --from {tmp_path / 'new.csv'}", code=2).err
    assert "new.csv: is neither UTF-8 nor UTF-16; save it as CSV in UTF-8" in said
    (tmp_path / "new.csv").write_bytes(text.encode("utf-16"))
    operator.done(f"init --from {tmp_path / 'new.csv'}")
    assert 'name = "Bölt"' in (operator.inventory / "customers/bolt.toml").read_text()


def test_people_to_adopt_of_a_file_without_an_address_are_refused(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "people").write_text("anna\nbob OK\n")
    said = operator.done(f"adopt acme --from {tmp_path / 'people'}", code=2).err
    assert "people: has no address in it: one a line is wanted" in said
    (tmp_path / "people").write_bytes("anna@acme.example\r\n".encode("utf-16"))
    assert read_text(str(tmp_path / "people"), "replace") == "anna@acme.example\r\n"


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_a_table_is_taken_as_spreadsheets_save_it(operator: Operator, tmp_path: Path, kind: str) -> None:
    (tmp_path / "new.csv").write_text(SPREADSHEETS[kind], newline="")
    operator.done(f"init --from {tmp_path / 'new.csv'}")
    written = (operator.inventory / "customers/bolt.toml").read_text()
    assert 'name = "Bolt"' in written
    assert 'domains = ["bolt.example", "bolt.co.example"]' in written


def test_all_faults_of_a_table_are_named_at_once_with_their_lines(operator: Operator, tmp_path: Path) -> None:
    rows = ("id,domains,relays,source", "Bolt,bolt.example,mx1,", "carol,bolt.example x..y,mx7,csv", "carol,,mx1,")
    (tmp_path / "new.csv").write_text("\n".join(rows))
    said = operator.done(f"init --from {tmp_path / 'new.csv'}", code=2).err
    for fault in (
        "new.csv: line 2: 'Bolt' cannot be an id",
        "new.csv: line 3: carol: no source 'csv'; did you mean 'csvde'?",
        "new.csv: line 3: carol: no relay 'mx7'",
        "new.csv: line 3: carol: domain 'x..y'",
        "new.csv: line 3: bolt.example stands there twice, first in line 2",
        "new.csv: line 4: carol stands there twice, first in line 3",
    ):
        assert fault in said


def test_a_disk_that_fills_up_leaves_no_file_of_a_table(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id\nbolt\ncarol\n")
    (operator.inventory / "customers" / "carol.toml").symlink_to(tmp_path / "nowhere" / "carol.toml")
    assert "carol.toml" in operator.done(f"init --from {tmp_path / 'new.csv'}", code=4).err
    assert not (operator.inventory / "customers" / "bolt.toml").exists()


def test_what_init_writes_names_a_schema_that_is_there(operator: Operator) -> None:
    operator.done("init bolt")
    first, *_ = (operator.inventory / "customers" / "bolt.toml").read_text().splitlines()
    assert first == "#:schema ../schema/customer.json"
    there = json.loads((operator.inventory / "schema" / "customer.json").read_text())
    assert there == json.loads(operator.done("schema").out) == json.loads(operator.done("schema customer").out)
    assert "did you mean 'relays'" in operator.done("schema relay", code=2).err
    assert operator.done("schema --write").out == "nothing to change\n"


# ---- who the provider is


def test_a_provider_without_a_way_to_reach_it_is_a_fault_that_stops_no_customer(operator: Operator) -> None:
    (operator.inventory / "provider.toml").write_text('[provider]\nname = "Mail & Co"\n[shop]\n')
    assert "provider.toml: shop: no such table" in operator.done("check", code=2).err
    (operator.inventory / "provider.toml").write_text('[provider]\nname = "M\u00fcller"\n')
    said = operator.done("check", code=2).err
    assert "provider.toml: provider.contact: must be given" in said
    assert "provider.toml: provider.name: 'M\u00fcller' must be plain ASCII" in said
    assert "faults elsewhere, in provider.toml" in operator.done("verify acme", code=4).err


ODD_PROVIDERS = {
    "[stroe]\n": "provider.toml: stroe: no such table; did you mean 'store'?; there are provider, store",
    'name = "Mail"\n': "provider.toml: name: stands outside a table; write it below [provider] or [store]",
    'provider = "Mail"\n': "provider.toml: provider: stands outside a table; write it below [provider] or [store]",
    '[provider]\nname = "Mail"\ncontact = "x"\nphone = "1"\n': "provider.toml: provider.phone: no such key",
    '[store]\nurll = "x"\n': "provider.toml: store.urll: no such key; did you mean 'url'?",
    "[store\n": "provider.toml: is not TOML",
}
EMERGENCIES = ("open acme", "rollback acme", "rollback acme --entry 0123456789ab", "review acme", "resume acme")


@pytest.mark.parametrize("text", ODD_PROVIDERS)
def test_a_fault_in_provider_toml_stops_what_writes_kits_and_relays_and_no_emergency(
    operator: Operator, text: str
) -> None:
    """A kit would lose who "we" are, and a relay its part in the store; lists have to do with neither."""
    operator.table("relays.toml#mx9", {"address": "127.77.255.254", "port": 1})
    operator.customer("acme", relays=["mx9"])
    (operator.inventory / "provider.toml").write_text(text)
    for words in ("check", "provision acme", "provision acme --dry-run", "provision --all", "store"):
        assert ODD_PROVIDERS[text] in operator.done(words, code=2).err
    for words in EMERGENCIES:
        said = operator.done(words, code=4).err
        assert "the inventory has faults elsewhere, in provider.toml; `inv check` names each\n" in said


def test_init_writes_what_is_known_already(operator: Operator) -> None:
    operator.done("init bolt --source ldap --domain bolt.example --relay mx1 --next-hop relay:[192.0.2.9]:25")
    written = (operator.inventory / "customers" / "bolt.toml").read_text()
    for line in ('source = "ldap"', 'domains = ["bolt.example"]', 'next_hop = "relay:[192.0.2.9]:25"'):
        assert f"\n{line}\n" in written
    assert "\nserver = " not in written


def test_init_says_that_a_customer_has_no_relay_where_none_is_written_down(operator: Operator) -> None:
    (operator.inventory / "relays.toml").unlink()
    assert "relays.toml has none yet" in operator.done("init bolt").err


@pytest.mark.parametrize("words", ["init bolt", "init bolt --relay mx1"])
def test_init_names_a_relays_toml_that_is_not_toml(operator: Operator, words: str) -> None:
    (operator.inventory / "relays.toml").write_text("[mx1]\n\n[mx1]\n")
    assert operator.done(words, code=2).err.startswith("relays.toml: is not TOML: ")
    assert not (operator.inventory / "customers" / "bolt.toml").exists()
    operator.done("schema --write")


UNFILLED = {
    "ldap": ("canaries", "exchange.ldap.servers", "exchange.ldap.base", "exchange.ldap.bind_dn"),
    "exchange-online": ("canaries", *(f"exchange.online.{key}" for key in ("organization", "app_id", "thumbprint"))),
}


@pytest.mark.parametrize("source", UNFILLED)
def test_a_new_file_has_all_that_its_source_needs_to_be_filled_in(operator: Operator, source: str) -> None:
    operator.done(f"init bolt --source {source} --domain bolt.example")
    said = operator.done("check", code=2).err.splitlines()
    for key in UNFILLED[source]:
        (line,) = (one for one in said if one.startswith(f"customers/bolt.toml: {key}: "))
        assert "is still what `inv init` wrote there" in line


def test_a_customer_that_is_retired_is_not_taken_for_a_typo(operator: Operator) -> None:
    retired = operator.inventory / "customers" / "retired" / "acma.toml"
    retired.parent.mkdir()
    retired.touch()
    said = operator.done("status acma", code=2).err
    assert said == "customer 'acma' is retired; its file is in customers/retired of the inventory\n"


def test_init_writes_nothing_into_the_demo_s_inventory(operator: Operator) -> None:
    environment = {name: value for name, value in operator.environment.items() if name != "POSTERN_INVENTORY"}
    argv = [sys.executable, "cli.py", "init", "acme"]
    done = subprocess.run(argv, cwd=REPO, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "POSTERN_INVENTORY is not set" in done.stderr
    assert not (REPO / "inventory" / "customers" / "acme.toml").exists()


# ---- what needs no relay


def test_a_customer_is_written_down_checked_and_listed(operator: Operator) -> None:
    operator.done("init bolt")
    written = operator.inventory / "customers" / "bolt.toml"
    assert "# " in written.read_text()
    written.unlink()
    operator.customer("bolt", domains=["bolt.example", "müller.example"])
    assert operator.done("check").out == f"{operator.inventory}: 2 customers, 3 domains, 1 relay: no fault\n"
    columns, *rows = (line.split("\t") for line in operator.done("list").out.splitlines())
    assert columns == ["customer", "name", "domains", "relays", "source"]
    assert [row[0] for row in rows] == ["acme", "bolt"]
    assert json.loads(operator.done("list --json").out)[0]["id"] == "acme"


@pytest.mark.parametrize("mark", [b"", MARK])
def test_the_parsing_step_by_itself_gives_a_table_and_its_reasons_apart(
    operator: Operator, tmp_path: Path, mark: bytes
) -> None:
    (tmp_path / "export.txt").write_bytes(export("bob", "administrator", "anna@elsewhere.example") + mark)
    ran = operator.done(f"parse {tmp_path / 'export.txt'} --customer acme")
    assert ran.out == "bob@acme.example OK\n"
    assert ran.err == "1 recipient; left out 5: 3 not internet, 1 excluded, 1 other domain\n"


def test_whom_the_parsing_step_leaves_out_in_a_domain_of_ours_it_names(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_bytes(export("bob") + b"Mailbox\tSMTP:An<Na@ACME.example\t\r\n")
    named = operator.done(f"parse {tmp_path / 'export.txt'} --customer acme").err
    assert named.splitlines()[1] == "  left out: SMTP:An<Na@ACME.example (not an address)"
    told = json.loads(operator.done(f"parse {tmp_path / 'export.txt'} --customer acme --json").out)
    assert told["recipients"] == ["bob@acme.example"]
    assert told["named"] == [{"value": "SMTP:An<Na@ACME.example", "reason": "not an address"}]


def test_the_parsing_step_needs_no_more_memory_than_a_relay_gives_it(operator: Operator, tmp_path: Path) -> None:
    """Fifty megabytes of tabs would be a list of fifty million cells."""
    (tmp_path / "export.txt").write_bytes(export("bob") + b"Mailbox\t" + b"\t" * (50 << 20) + b"\r\n")
    ran = operator.done(f"parse {tmp_path / 'export.txt'} --customer acme", code=4)
    assert "needs more memory than max_megabytes allows for" in ran.err
    (tmp_path / "export.txt").write_bytes(export("bob") + b" " * (64 << 20))
    assert "larger than 64 MB" in operator.done(f"parse {tmp_path / 'export.txt'} --customer acme", code=2).err


def test_an_export_that_cannot_be_read_is_refused_with_its_line(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_bytes(export("bob", "anna")[:-1] + b"\0\r\n")
    ran = operator.done(f"parse {tmp_path / 'export.txt'} --customer acme", code=2)
    assert ran.out == ""
    assert "line 3" in ran.err


def test_a_reader_that_has_seen_enough_ends_it_without_a_traceback(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "export.txt").write_bytes(export(*(f"somebody.else.{number}" for number in range(10_000))))
    shell = f'"{sys.executable}" "{REPO}/cli.py" parse "{tmp_path}/export.txt" --customer acme | head -1'
    done = subprocess.run(["sh", "-c", shell], env=operator.environment, capture_output=True, text=True)
    assert done.stdout == "somebody.else.0@acme.example OK\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("words", ["list", "check", "init carol", "status acmee"])
def test_plain_invoke_works_from_the_same_tasks(operator: Operator, words: str) -> None:
    argv = [sys.executable, "-m", "invoke", *words.split()]
    done = subprocess.run(argv, cwd=REPO, env=operator.environment, capture_output=True, text=True)
    assert done.returncode == (2 if "acmee" in words else 0), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("words", "said"), [("--dry check", "check has no dry run"), ("-R provision", "no customer")])
def test_plain_invoke_s_dry_is_a_dry_run_or_is_refused(operator: Operator, words: str, said: str) -> None:
    argv = [sys.executable, "-m", "invoke", *words.split(), *["acmee"] * ("provision" in words)]
    done = subprocess.run(argv, cwd=REPO, env=operator.environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_relay_whose_host_keys_nobody_has_looked_at_is_not_connected_to(operator: Operator) -> None:
    ran = operator.done("provision acme", code=4)
    assert "mx1: no host key is pinned for it yet: `inv trust mx1` shows and records them" in ran.err
    assert operator.public_keys() == []
    assert not operator.kits.exists()


def test_two_tiers_of_the_tests_at_once_are_refused(operator: Operator) -> None:
    ran = operator.run("test --fast --long")
    assert ran.code == 2
    assert "--fast and --long are two runs" in ran.err
