from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

import templates
from templates import render

ALL = sorted(
    str(path.relative_to(Path(templates.__file__).parent)) for path in Path(templates.__file__).parent.rglob("*.j2")
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of templates for one test."""
    monkeypatch.setattr(templates._HERE, "loader", jinja2.FileSystemLoader(tmp_path))
    for room in ("windows", "relay"):
        (tmp_path / room).mkdir()
    return tmp_path


@pytest.mark.parametrize("name", ALL)
def test_every_template_is_one_jinja_can_read(name: str) -> None:
    templates._HERE.get_template(name)


def test_a_fact_left_out_is_an_error_and_no_empty_place(written: Path) -> None:
    (written / "relay" / "x.j2").write_text("a {{ fact }}\n")
    with pytest.raises(jinja2.UndefinedError, match="fact"):
        render("relay/x.j2")


def test_files_for_the_relay_end_lines_as_unix_does_and_may_hold_any_letter(written: Path) -> None:
    (written / "relay" / "x.j2").write_text("one {{ fact }}\ntwo\n", "utf-8")
    assert render("relay/x.j2", fact="müller") == "one müller\ntwo\n"


def test_files_for_windows_end_lines_as_windows_does(written: Path) -> None:
    (written / "windows" / "x.j2").write_text("one\n{% if fact %}\ntwo\n{% endif %}\n")
    assert render("windows/x.j2", fact=True) == "one\r\ntwo\r\n"


@pytest.mark.parametrize("fact", ["müller", "a\rdel *.*", "a\x1ab", "a\0b"])
def test_files_for_windows_hold_nothing_but_printable_ascii(written: Path, fact: str) -> None:
    (written / "windows" / "x.j2").write_text("echo {{ fact }}\n")
    with pytest.raises(ValueError, match="no printable ASCII"):
        render("windows/x.j2", fact=fact)


def test_blocks_leave_no_empty_lines_behind(written: Path) -> None:
    (written / "relay" / "x.j2").write_text(
        "{% for n in (1, 2) %}\n    {% if n == 2 %}\nn={{ n }}\n    {% endif %}\n{% endfor %}\n"
    )
    assert render("relay/x.j2") == "n=2\n"
