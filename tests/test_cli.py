"""The operator's command line: every form a call may have, and what a wrong one is told. No relay is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from common.release import RELEASE
from lab.operators import MARK, REPO, AtOnce, Operator, export

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


def test_it_says_which_release_it_is(operator: Operator) -> None:
    assert operator.done("--version").out == f"Postern {RELEASE}\n"


# ---- a call that is wrong ends with 2, and says what is wrong

WRONG = {
    "provison acme": "no task 'provison'; did you mean 'provision'?",
    "provision acme --dryrun": "no option '--dryrun'; did you mean '--dry-run'?",
    "provision acme bolt": "one name was expected, and 2 came",
    "--dry check": "check: no option '--dry-run'",
    "check acme": "no name was expected, and 1 came",
    "provision": "which customer? Name one, or say --all",
    "provision acme --all": "either 'acme' or --all, not both",
    "provision acmee": "no customer 'acmee' in inventory/customers; did you mean 'acme'?",
    "sync acmee --export-file x": "no customer 'acmee' in inventory/customers; did you mean 'acme'?",
    "status acmee": "did you mean 'acme'?",
    "verify": "which customer?",
    "trust mxx1": "no relay 'mxx1' in inventory/relays.toml; did you mean 'mx1'?",
    "trust": "no relay ''",
    "provision acme --removing": "--removing needs a value",
    "provision --all --kit-dir /tmp/x": "--kit-dir and --public-key are for one customer",
    "provision acme --public-key /nowhere/key.pub": "/nowhere/key.pub: No such file",
    "sync acme": "--export-file FILE takes an export",
    "sync acme --export-file /nowhere/export.txt": "/nowhere/export.txt: No such file",
    "parse /nowhere/export.txt --customer acme": "/nowhere/export.txt: No such file",
    "parse export.txt": "which customer's? --customer CUSTOMER",
    "accept acme": "name one number, as `inv review acme` says",
    "accept acme --removing some": "name one number",
    "accept acme --removing 1 --adding 1": "name one number",
    "accept acme --removing 1": "name the list, as the command that `inv review acme` prints does: --list HASH",
    "accept acme --removing 1 --list 0123456789ab": "all of it",
    "rotate-key": "which customer? Name one, or say --all",
    "rotate-key acmee": "did you mean 'acme'?",
    "rotate-key acme --all": "either 'acme' or --all, not both",
    "rotate-key acme": "acme has no key yet: `inv provision acme` makes its first",
    "rotate-key acme --finish --undo": "either --finish or --undo, not both",
    "rotate-key acme --force": "--force goes with --finish or --undo",
    "rotate-key --due --kit-dir /tmp/x": "--public-key and --kit-dir are for one customer",
    "rotate-key acme --finish --public-key x": "--public-key brings a new key in, --finish and --undo do not",
    "init acme": "acme.toml is there already",
    "init ../acme": "cannot be an id",
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


@pytest.mark.parametrize("words", ["provision acmee", "check", "provison"])
def test_the_process_ends_with_the_code_and_no_traceback(operator: Operator, words: str) -> None:
    operator.customer("bolt", colour="blue")
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


# ---- what needs no relay


def test_a_customer_is_written_down_checked_and_listed(operator: Operator) -> None:
    operator.done("init bolt")
    written = operator.inventory / "customers" / "bolt.toml"
    assert "# " in written.read_text()
    written.unlink()
    operator.customer("bolt", domains=["bolt.example", "müller.example"])
    assert operator.done("check").out == f"{operator.inventory}: 2 customers, 3 domains, 1 relays: no fault\n"
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
    assert ran.err == "1 recipients; left out 5: 3 not internet, 1 excluded, 1 other domain\n"


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


@pytest.mark.slow
@pytest.mark.parametrize("words", ["list", "check", "init carol", "status acmee"])
def test_plain_invoke_works_from_the_same_tasks(operator: Operator, words: str) -> None:
    argv = [sys.executable, "-m", "invoke", *words.split()]
    done = subprocess.run(argv, cwd=REPO, env=operator.environment, capture_output=True, text=True)
    assert done.returncode == (2 if "acmee" in words else 0), done.stderr
    assert "Traceback" not in done.stderr


def test_a_relay_whose_host_keys_nobody_has_looked_at_is_not_connected_to(operator: Operator) -> None:
    ran = operator.done("provision acme", code=4)
    assert "mx1: no host key is pinned for it yet: `inv trust mx1` shows and records them" in ran.err
    assert operator.public_keys() == []
    assert not operator.kits.exists()


def test_two_tiers_of_the_tests_at_once_are_refused(operator: Operator) -> None:
    ran = operator.run("test --fast --long")
    assert ran.code == 2
    assert "--fast and --long are two runs" in ran.err
