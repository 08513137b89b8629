"""The benchmarks themselves: that each can be asked, and that what is found is told as it is."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from operator import attrgetter
from pathlib import Path

import pytest

from benchmarks import bench, exports, measuring, peers, report, stages
from benchmarks.measuring import Spread
from benchmarks.report import Answer, Plot, Record, Table, Target
from receiver.upload.formats import exchange_55

REPO = Path(__file__).resolve().parent.parent.parent
MET = Target(says="a provision", found=Spread(63.0, 60.0, 70.0, 5), limit=40, unit="times", at_least=True)
MISSED = Target(says="a build", found=Spread(3.6, 3.5, 3.7, 3), limit=3, unit="times")


def record(quick: bool = False, machine: str = "a machine, 2 cores") -> Record:
    lines: dict[str, list[tuple[float | str, Spread]]] = {
        "ours": [(1, Spread(0.5, 0.4, 0.6, 3)), (10, Spread(0.7, 0.6, 0.9, 3))],
        "theirs": [(1, Spread(9, 8, 10, 3)), (10, Spread(50, 40, 60, 3))],
    }
    answer = Answer(
        title="Provisioning",
        how="So and so.",
        targets=(MET, MISSED),
        tables=(Table(says="Times:", columns=("relays", "ours"), rows=(("1", "0.500 s"),)),),
        plot=Plot(title="Relays", x="relays", y="seconds", log="y", lines=lines),
        notes="Tried: this and that.",
    )
    return Record(answer=answer, day="2026-01-01", machine=machine, quick=quick)


def test_every_stage_that_is_timed_is_a_function_of_ours() -> None:
    for _, module, joint in [each for joints in stages.JOINTS.values() for each in joints]:
        assert callable(attrgetter(joint)(importlib.import_module(module))), f"{module}.{joint}"


@pytest.mark.parametrize("name", bench.QUESTIONS)
def test_every_question_can_be_asked(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)


def test_a_question_nobody_knows_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.bench(["provisionin"], quick=True) == 2
    assert "no question provisionin; there are provisioning, customers" in capsys.readouterr().err


def test_a_target_says_whether_it_is_met_and_by_how_much() -> None:
    assert MET.row() == ("a provision", "at least 40 times", "63 times (60 to 70)", "met: 1.57 of it")
    assert MISSED.row() == ("a build", "at most 3 times", "3.60 times (3.50 to 3.70)", "**missed**: 1.20 of it")


def test_the_page_holds_targets_tables_plots_and_what_was_tried() -> None:
    page = report.page({"provisioning": record()}, "bookworm")
    for told in (
        "Machine: a machine, 2 cores.",
        f"| {' | '.join(MISSED.row())} | [provisioning](#provisioning) |",
        '## <a id="provisioning"></a>Provisioning',
        "Times:\n\n| relays | ours |\n| --- | ---: |\n| 1 | 0.500 s |\n",
        "![Relays](performance/provisioning.svg)",
        "Tried: this and that.",
        "`./inv bench --only provisioning`, 2026-01-01.",
    ):
        assert told in page
    assert "no measurement" not in page


def test_a_quick_run_is_marked_as_no_measurement_at_the_top_and_in_its_part() -> None:
    page = report.page({"provisioning": record(), "startup": record(quick=True)}, "bookworm")
    top, _, parts = page.partition("## Targets")
    assert "it is no measurement. It holds for: startup." in top
    full, _, quick = parts.partition('<a id="startup">')
    assert "no measurement" not in full
    assert "it is no measurement" in quick
    assert "--only startup --quick" in quick


def test_what_is_kept_reads_as_it_was_written(tmp_path: Path) -> None:
    written = record()
    (tmp_path / report.FOLDER).mkdir()
    (tmp_path / report.FOLDER / "provisioning.json").write_text(written.model_dump_json())
    report.write(tmp_path, bench.QUESTIONS, "bookworm")
    assert (tmp_path / report.PAGE).read_text() == report.page({"provisioning": written}, "bookworm")


@pytest.mark.slow
@pytest.mark.skipif(not peers.program("python").exists(), reason="matplotlib comes with the first ./inv bench")
def test_a_plot_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        report.draw(record().answer.plot, tmp_path / name, quick=False)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    texts = [element.text for element in ET.parse(tmp_path / "one.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"Relays", "relays", "seconds", "ours", "theirs"} <= set(texts)


def test_rounds_turn_their_order() -> None:
    said: list[str] = []
    found = measuring.rounds(2, {name: lambda name=name: said.append(name) for name in "abc"})  # type: ignore[misc]
    assert "".join(said) == "abccba"
    assert found == {"a": [None, None], "b": [None, None], "c": [None, None]}


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (3, "3"), (0.01234, "0.0123"), (0.5, "0.500"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_a_figure_has_three_digits_that_count(value: float, text: str) -> None:
    assert measuring.figure(value) == text


def test_a_run_that_fails_is_no_measurement() -> None:
    with pytest.raises(measuring.FailedError, match=r"sh ended with 3:\nso"):
        measuring.run(["sh", "-c", "echo so; exit 3"])


def test_a_run_is_told_with_its_memory() -> None:
    ran = measuring.run(["python3", "-c", "held = b'x' * 50_000_000; import time; time.sleep(0.1); print('held')"])
    assert 50_000_000 < ran.peak < 80_000_000
    assert ran.out == "held\n"
    assert ran.seconds > 0.1


def test_exports_are_always_the_same_and_whole(tmp_path: Path) -> None:
    one, other = (exports.write(tmp_path / name, 200, ["extra"], b"#postern end\r\n").read_bytes() for name in "ab")
    assert one == other
    values = list(exchange_55.values(one.removesuffix(b"#postern end\r\n")))
    assert sum(value.lower().startswith("smtp:") for value in values) == 401
