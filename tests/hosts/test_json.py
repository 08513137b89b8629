"""The examples of docs/json.md beside what the commands print: the same keys, and values of the same kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.host import LabHost
from lab.operators import AtOnce, answers, export

pytestmark = [pytest.mark.host, pytest.mark.story]

PAGE = Path(__file__).parent.parent.parent / "docs" / "json.md"
EXAMPLES: dict[str, Any] = {
    words: json.loads(example)
    for words, example in re.findall(r"(?ms)^## `inv ([^`]+)`$.*?^```json$(.*?)^```$", PAGE.read_text("utf-8"))
}
CODES = {
    "provision acme --dry-run --json": 6,
    "status --json": 1,
    "rollback acme --dry-run --json": 6,
    "retire acme --dry-run --json": 6,
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="module")
def host() -> Iterator[LabHost]:
    with LabHost("bookworm") as host:
        host.start_postfix()
        yield host


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, host: LabHost) -> AtOnce:
    operator = AtOnce(tmp_path_factory.mktemp("operator"))
    operator.relay("mx1", host)
    operator.customer("acme")
    (operator.home / "export.txt").write_bytes(export("bob", "carl", "dora"))
    return operator


@pytest.fixture(scope="module")
def printed(operator: AtOnce, host: LabHost) -> dict[str, Any]:
    """What each command of the page prints, in the order in which an operator needs them."""
    found: dict[str, Any] = {}

    def run(*beginnings: str) -> None:
        for words in (words for begin in beginnings for words in EXAMPLES if words.startswith(begin)):
            named = words.replace("export.txt", str(operator.home / "export.txt"))
            found[words] = json.loads(operator.done(named, code=CODES.get(words, 0)).out)

    run("check", "list", "provision")
    operator.done("provision acme")
    run("status", "parse")
    assert operator.upload(export("bob", "carl")).code == 3
    run("review")
    operator.accept("acme", "--first 2")
    assert answers(host, "stranger@acme.example") == {"stranger@acme.example": "550"}
    run("sync", "rollback", "history", "verify", "refusals", "explain", "find", "kits", "rotate-key")
    run("trust", "retire", "init")
    assert found.keys() == EXAMPLES.keys()
    return found


def differences(documented: Any, real: Any, at: str = "") -> Iterator[str]:
    """Yield where the real document lacks what the documented one has, or has another kind of value."""
    if isinstance(documented, dict) and isinstance(real, dict):
        for key, value in documented.items():
            if "@" in key:  # an address that was made up
                yield from differences(value, next(iter(real.values())), f"{at}.{key}")
            elif key not in real:
                yield f"{at}.{key} is not there"
            else:
                yield from differences(value, real[key], f"{at}.{key}")
    elif isinstance(documented, list) and isinstance(real, list):
        if bool(documented) != bool(real):
            yield f"{at}: one of them is empty"
        elif documented:
            yield from differences(documented[0], real[0], f"{at}[0]")
    elif type(documented) is not type(real):
        yield f"{at}: {documented!r} and {real!r} are of different types"
    elif isinstance(documented, str) and bool(TIME.fullmatch(documented)) != bool(TIME.fullmatch(real)):
        yield f"{at}: {documented!r} and {real!r}, of which one is a time"


@pytest.mark.parametrize("words", EXAMPLES)
def test_a_documented_example_has_the_shape_of_what_is_printed(words: str, printed: dict[str, Any]) -> None:
    assert [*differences(EXAMPLES[words], printed[words])] == []


def test_a_retirement_is_one_document_and_what_is_said_goes_to_stderr(
    printed: dict[str, Any], operator: AtOnce
) -> None:
    (operator.inventory / "customers" / "bolt.toml").unlink()
    ran = operator.done("retire acme --yes --json")
    done = json.loads(ran.out)
    assert (done["code"], done["relays"]["mx1"]["result"]) == (0, "changed")
    assert done["relays"]["mx1"]["changes"][0] == "removes key:k1, key:k2, domain:acme.example, route:acme.example"
    assert done["by_hand"][-1].startswith("commit ")
    assert "mx1: 3 changes made" in ran.err


def test_no_time_is_printed_as_a_number(printed: dict[str, Any]) -> None:
    assert re.findall(r": 1[0-9]{9}\b", json.dumps(printed)) == []
