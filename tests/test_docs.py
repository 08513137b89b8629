"""What README and docs name is there: paths, links, commands with their options, and messages word by word."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from invoke import Collection

import tasks
from deploy.remote_session import sent_modules
from roles.relay import LAUNCHERS

REPO = Path(__file__).parent.parent
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", REPO / "SECURITY.md", *sorted((REPO / "docs").rglob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(\S.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[ ./])inv ([a-z][a-z-]*)((?: [^#|;]*)?)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")
SAMPLE = re.compile(r"\.\.\.|\S*\d\S*|\S*(?:acme|mx1|example|NTSERVER)\S*|[%:;,()]|`[^`]*`|--")
"""What stands in a quoted message for something else, and what parts of a message are put together at."""
THEIRS = {
    "Save public key",  # PuTTYgen's
    "Host key verification failed",  # OpenSSH's
}
"""Sentences that docs quote of other people's programs."""

OTHERS_OPTIONS = {"--group"}  # uv's

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())


def pieces(page: Path) -> Iterator[str]:
    """Yield what stands in a page as code."""
    for inline, block in CODE.findall(page.read_text("utf-8")):
        yield inline or block


@functools.cache
def tracked() -> frozenset[str]:
    """Return every file of the tree, and every folder."""
    skipped = {".git", ".venv", ".venv-bench", "__pycache__"}
    return frozenset(
        path.relative_to(REPO).as_posix() for path in REPO.rglob("*") if not skipped & set(path.relative_to(REPO).parts)
    )


def is_there(name: str) -> bool:
    """Return whether the tree has this file or folder; a word in capitals stands for any name."""
    pattern = PLACEHOLDER.sub("*", name)
    return any(one == name or one.endswith(f"/{name}") or Path(one).match(pattern) for one in tracked())


@pytest.mark.slow
@pages
def test_every_path_that_a_page_names_is_in_the_tree(page: Path) -> None:
    rooms = {name.partition("/")[0] for name in tracked() if "/" in name}
    words = [word.strip("/") for piece in pieces(page) for word in re.findall(r"[\w./-]+", piece)]
    names = [word.removeprefix("./") for word in words]
    paths = [name for name in names if name.partition("/")[0] in rooms and "/" in name]
    modules = [name for name in names if re.fullmatch(r"\w+\.py", name)]
    assert [name for name in (*paths, *modules) if not is_there(name.rstrip("."))] == []


@pages
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        if "://" in file:
            continue
        there = (page.parent / file) if file else page
        assert there.exists(), target
        if anchor:
            assert anchor in set(anchors(there.read_text("utf-8"))), target


def anchors(text: str) -> Iterator[str]:
    """Yield what a link into a page may name: its titles as GitHub writes them, and what an `id` says."""
    yield from re.findall(r'<a id="([^"]+)">', text)
    for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")


@functools.cache
def options() -> dict[str, set[str]]:
    """Return the options of each command."""
    namespace = Collection.from_module(tasks)
    return {str(context.name): {*context.flags, "--help"} for context in namespace.to_contexts()}


@pages
def test_every_command_that_a_page_shows_has_these_options(page: Path) -> None:
    wrong = []
    for piece in pieces(page):
        for command, rest in COMMAND.findall(piece):
            known = options().get(command)
            wrong += [piece] if known is None or set(OPTION.findall(rest)) - known else []
    assert wrong == []


@pages
def test_every_option_that_a_page_names_is_some_program_s_of_ours(page: Path) -> None:
    every = set().union(*options().values())
    named = {piece.split()[0] for piece in pieces(page) if OPTION.fullmatch(piece.split()[0])} - OTHERS_OPTIONS
    unknown = {name for name in named - every if f'"{name}"' not in sources() and f"{name} " not in sources()}
    assert unknown == set()


@functools.cache
def sources() -> str:
    """Return the text of all sources and templates but tests'."""
    names = [name for name in tracked() if not name.startswith(("tests/", "docs/")) and not name.endswith(".md")]
    files = [REPO / name for name in names if (REPO / name).is_file() and not name.endswith((".lock", ".pub"))]
    return "\n".join(path.read_text("utf-8", "ignore") for path in files)


@functools.cache
def sentences() -> str:
    """Return every text that a program of ours may print: the literals of the sources, and the templates whole."""
    literals = []
    for name in sorted(tracked()):
        if name.endswith(".py") and not name.startswith(("tests/", "benchmarks/")):
            tree = ast.parse((REPO / name).read_text("utf-8"))
            literals += [
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
        elif name.startswith("templates/") and (REPO / name).is_file():
            literals.append((REPO / name).read_text("utf-8", "ignore"))
    return "\n".join(" ".join(one.split()) for one in literals)


def messages(page: Path) -> Iterator[str]:
    """Yield what a page quotes: lines after `>`, and sentences of three words or more between quotation marks."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    yield from re.findall(r"^> (.*)$", text, re.MULTILINE)
    prose = re.sub(r"^(?: {4,}|>).*$|`[^`\n]*`", "", text, flags=re.MULTILINE)
    yield from (found for found in re.findall(r'"([^"]+)"', prose) if len(found.split()) >= 3)


@pytest.mark.slow
@pages
def test_every_message_that_a_page_quotes_is_one_of_ours(page: Path) -> None:
    unknown = []
    for message in messages(page):
        parts = [" ".join(part.split()) for part in SAMPLE.split(" ".join(message.split()))]
        if message not in THEIRS:
            unknown += [part for part in parts if len(part.split()) >= 2 and part not in sentences()]
    assert unknown == []


FLOWS = ("One upload, file by file", "One provision, file by file")
flows = pytest.mark.parametrize("title", FLOWS)


def files_of_flow(title: str) -> list[str]:
    """Return the files of the first column of a table of docs/design.md, in order."""
    text = (REPO / "docs/design.md").read_text("utf-8")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@flows
def test_a_flow_of_design_enters_each_file_once(title: str) -> None:
    files = files_of_flow(title)
    assert len(files) > 20
    assert [name for name in files if not (REPO / name).is_file()] == []
    assert sorted(set(files)) == sorted(files)


@flows
def test_each_file_of_a_flow_is_used_by_another_of_it(title: str) -> None:
    files = files_of_flow(title)
    sent = {path.relative_to(REPO).as_posix() for path in sent_modules()}
    launched = {f"{module.replace('.', '/')}.py" for module in LAUNCHERS.values()}
    roles = "".join(path.read_text("utf-8") for path in (REPO / "roles").rglob("*.py"))
    used = set().union(*(imported_files(name) for name in files if name.endswith(".py")))
    reached = used | launched | ({*sent, "remote/main.py"} if "deploy/remote_session.py" in files else set())
    assert [
        name for name in files if name not in {*reached, "cli.py"} and Path(name).name.removesuffix(".j2") not in roles
    ] == []


def imported_files(name: str) -> set[str]:
    """Return the modules of this repository that a module imports, as paths; a package is its __init__.py."""
    found = set()
    for node in ast.walk(ast.parse((REPO / name).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    paths = [f"{module.replace('.', '/')}{end}" for module in found for end in (".py", "/__init__.py")]
    return {path for path in paths if (REPO / path).is_file()}


def test_design_has_a_row_for_each_room() -> None:
    text = (REPO / "docs/design.md").read_text("utf-8").partition("## The rooms\n")[2].partition("\n## ")[0]
    rooms = {path.parent.name for path in REPO.glob("*/__init__.py")} | {"tests"}
    assert sorted(room for room in rooms if f"`{room}/`" not in text) == []


def test_howto_answers_twenty_questions_and_its_head_leads_to_each() -> None:
    head, *sections = re.split(r"^## ", (REPO / "docs/howto.md").read_text("utf-8"), flags=re.MULTILINE)
    titles = [section.partition("\n")[0] for section in sections]
    assert len(titles) >= 20
    assert {f"#{each}" for each in anchors("".join(f"## {title}\n" for title in titles))} == set(
        re.findall(r"\]\((#[^)]+)\)", head)
    )
    empty = [
        section for section in sections if "./inv " not in section and "](" not in section and "    " not in section
    ]
    assert empty == []


def test_the_readme_leads_to_every_page_within_two_steps() -> None:
    seen = {REPO / "README.md"}
    for _ in range(2):
        for page in [*seen]:
            for target in re.findall(r"\]\(([^)\s#]+\.md)", page.read_text("utf-8")):
                seen.add((page.parent / target).resolve())
    assert [page.name for page in PAGES if page not in seen] == []


def test_the_readme_s_first_customer_says_where_its_mail_goes_on() -> None:
    """A Postfix that was just installed has no route, and provision stops there."""
    (line,) = re.findall(r"^ +\./inv init .*$", (REPO / "README.md").read_text("utf-8"), re.MULTILINE)
    assert "--next-hop 'relay:[" in line
