from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each test runs the parser as a process of its own
REPO = Path(__file__).resolve().parent.parent.parent
SAMPLES = REPO / "tests" / "exports" / "exchange-5.5"
RECIPE = (SAMPLES / "as-in-the-recipe.txt").read_bytes()
LAUNCHER = """
import sys; sys.path.insert(0, {place!r}); sys.dont_write_bytecode = True
from receiver.parse_cli import main; sys.exit(main())
"""


class Parsed:
    """Run `parse-exchange-users ARGUMENTS < EXPORT`."""

    def __init__(self, export: bytes, *arguments: str) -> None:
        launcher = LAUNCHER.format(place=str(REPO))
        done = subprocess.run(
            [sys.executable, "-I", "-c", launcher, *arguments], input=export, capture_output=True, check=False
        )
        self.code, self.out, self.err = done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_recipes_own_call_gives_the_recipes_table(tmp_path: Path) -> None:
    exclude = tmp_path / "exclude-users.txt"
    exclude.write_text("# not for strangers\n\nall-staff\n  EVERYBODY@acme.example  \n")
    parsed = Parsed(RECIPE, "--domain=acme.example", "--domain", "acme.co.example", f"--exclude={exclude}")
    assert parsed.out == (
        "anna@acme.example OK\n"
        "jobs@acme.example OK\n"
        "sgardiner@acme.co.example OK\n"
        "steve.gardiner@acme.example OK\n"
        "steveg@acme.example OK\n"
    )
    assert parsed.err == (
        "parse-exchange-users: 5 recipients; left out 9: 6 not internet, 2 excluded, 1 other domain\n"
    )
    assert parsed.code == 0


def test_without_a_domain_every_domain_is_taken() -> None:
    parsed = Parsed(RECIPE)
    assert "page-consultant@pager.example OK\n" in parsed.out
    assert "other domain" not in parsed.err


def test_the_end_mark_may_be_there_and_is_no_row() -> None:
    assert Parsed(RECIPE + b"#postern end\r\n").out == Parsed(RECIPE).out


@pytest.mark.parametrize("domain", ["müller.example", "MÜLLER.example", "xn--mller-kva.example"])
def test_an_internationalised_domain_may_be_given_in_either_form(domain: str) -> None:
    parsed = Parsed((SAMPLES / "utf-8.txt").read_bytes(), "--domain", domain)
    assert parsed.out == "info@xn--mller-kva.example OK\npost@xn--mller-kva.example OK\n"


def test_a_table_holds_utf_8_whatever_the_export_is_written_in() -> None:
    parsed = Parsed((SAMPLES / "ansi.txt").read_bytes(), "--domain", "acme.example")
    assert parsed.out == "jörg@acme.example OK\nmueller@acme.example OK\n"


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        ("cut-off-in-a-row", "line 3: the last row is not whole"),
        ("header-only", "line 1: there is no row below the header"),
        ("microsoft-default-columns", "line 1: ADMIN fell back to its default columns"),
        ("nothing", "the export is empty"),
    ],
)
def test_a_failed_or_cut_off_export_gives_no_table_that_would_wipe_the_list(sample: str, why: str) -> None:
    parsed = Parsed((SAMPLES / f"{sample}.txt").read_bytes())
    assert (parsed.code, parsed.out) == (2, "")
    assert parsed.err.startswith(f"parse-exchange-users: {why}")


def test_an_export_without_an_address_of_ours_gives_no_empty_table_as_that_rejects_all_mail() -> None:
    parsed = Parsed(RECIPE, "--domain", "bolt.example")
    assert (parsed.code, parsed.out) == (2, "")
    assert parsed.err == (
        "parse-exchange-users: no recipient is in it (left out 15: 9 other domain, 6 not internet): "
        "with such a table all mail is rejected\n"
    )


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--domain", "anna@acme.example"], "is not a domain; give it without @"),
        (["--domain="], "is not a domain"),
        (["--exclude", "/no/such/file"], "/no/such/file cannot be read"),
        (["--exclude"], "expected one argument"),
        (["--dom", "acme.example"], "unrecognized arguments"),
        (["exchusers.txt"], "unrecognized arguments"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(arguments: list[str], why: str) -> None:
    parsed = Parsed(RECIPE, *arguments)
    assert (parsed.code, parsed.out) == (2, "")
    assert why in parsed.err
    assert "Traceback" not in parsed.err


def test_an_exclusion_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    exclude = tmp_path / "exclude-users.txt"
    exclude.write_bytes(b"m\xfcller\n")
    parsed = Parsed(RECIPE, "--exclude", str(exclude))
    assert (parsed.code, parsed.out) == (2, "")
    assert f"{exclude} cannot be read" in parsed.err


def test_an_exclusion_file_from_windows_is_read_without_its_mark(tmp_path: Path) -> None:
    exclude = tmp_path / "exclude-users.txt"
    exclude.write_bytes("\ufeffanna\r\nmüller\r\n".encode())
    assert "anna@acme.example" not in Parsed(RECIPE, "--exclude", str(exclude)).out


def test_a_full_disk_is_no_success_so_that_make_does_not_build_from_half_a_table() -> None:
    with Path("/dev/full").open("wb") as full:
        parsing = subprocess.run(
            [sys.executable, "-I", "-c", LAUNCHER.format(place=str(REPO))],
            input=RECIPE,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert parsing.returncode == 4
    assert parsing.stderr == b"parse-exchange-users: stdout: No space left on device; the table is not whole\n"


def test_an_address_listed_twice_is_one_line_of_the_table() -> None:
    parsed = Parsed((SAMPLES / "same-address-twice.txt").read_bytes())
    assert (parsed.out, parsed.code) == ("anna@acme.example OK\n", 0)


def test_help_is_its_manual() -> None:
    parsed = Parsed(b"", "--help")
    assert parsed.code == 0
    for word in ("--domain D", "--exclude FILE", "`address OK`"):
        assert word in parsed.out


def test_a_reader_that_has_seen_enough_ends_it_without_a_traceback() -> None:
    rows = b"".join(b"Mailbox\tSMTP:user%d@acme.example\t\r\n" % number for number in range(20_000))
    parsing = subprocess.Popen(
        [sys.executable, "-I", "-c", LAUNCHER.format(place=str(REPO))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert parsing.stdin
    assert parsing.stdout
    assert parsing.stderr
    parsing.stdin.write(RECIPE + rows)
    parsing.stdin.close()
    assert parsing.stdout.readline() == b"all-staff@acme.example OK\n"
    parsing.stdout.close()
    assert b"Traceback" not in parsing.stderr.read()
    parsing.stderr.close()
    parsing.wait()
