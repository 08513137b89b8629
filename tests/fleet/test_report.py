"""The page of `inv report`: what it shows, that nothing from outside becomes part of it, and that it can be read."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import inventory
from benchmarks.made_logs import made_record
from commands.report import PAGE, make_page, write_page
from deploy.plan import HostError
from fleet.problems import Problem
from fleet.relay_figures import Figures, read_all_figures, read_figures
from fleet.report_charts import Week, draw_chart
from fleet.report_customer import count_due
from fleet.status_view import Overview, Row
from inventory import Inventory
from inventory.exchange import Schedule
from lab.operators import Operator

REPO = Path(__file__).resolve().parent.parent.parent
NOW = 1_790_000_000  # 21 September 2026, a Monday
TODAY = datetime.fromtimestamp(NOW, UTC).date()
HELD = Problem("held", "held since 2026-09-20 08:00 UTC: 41.2 % would go; see `inv review acme`")
DOWN = Problem("not reached", "not reached: no connection to 192.0.2.3 port 22: Connection refused")
HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>\" ' & \x1b[31m\u202e`<b>`{{ 7*7 }}"
COLOURS = re.compile(r"--([a-z]+): (#[0-9a-f]{6})")


def fleet(folder: Path, **changes: Any) -> Inventory:
    """Two customers on two relays, mx1 and mx2."""
    operator = Operator(folder)
    operator.table("relays.toml#mx1", {"address": "mx1.provider.example"})
    operator.table("relays.toml#mx2", {"address": "mx2.provider.example"})
    operator.customer("acme", relays=["mx1", "mx2"], **changes)
    operator.customer("bolt", relays=["mx2"])
    return inventory.load(operator.inventory)


def row(customer: str, relay: str, *needs: Problem, **fields: Any) -> Row:
    return Row(
        customer, relay, needs, 250, "9f2c" * 16, NOW - 7200, NOW - 5 * 86_400, "published", "k1", 40, NOW
    )._replace(**fields)


def figures(*seeds: int) -> Mapping[str, Figures | str]:
    names = ("acme", "bolt")
    return read_all_figures({name: made_record(seed, NOW) for name, seed in zip(names, seeds, strict=False)}, TODAY)


def all_well(*special: Row, **relays: Problem) -> Overview:
    rows = [row("acme", "mx1"), row("acme", "mx2"), row("bolt", "mx2"), *special]
    kept = {(one.customer, one.relay): one for one in rows if one.relay not in relays}
    return Overview({name: (relays[name],) if name in relays else () for name in ("mx1", "mx2")}, [*kept.values()])


def page(folder: Path, found: Overview, **said: Any) -> str:
    everything = said.pop("everything", None) or fleet(folder)
    return make_page(everything, found, said or {"mx1": figures(1), "mx2": figures(1, 2)}, NOW)


def section(text: str, customer: str) -> str:
    return text.partition(f'<section class="customer" id="c-{customer}">')[2].partition("</section>")[0]


# ---- what it shows


def test_the_page_shows_first_what_needs_a_person(tmp_path: Path) -> None:
    text = page(tmp_path, all_well(row("acme", "mx2", HELD)))
    first = text.index("41.2 % would go")
    assert first < text.index("<h2>Relays</h2>") < text.index("<h2>Customers</h2>")
    assert '<a href="#c-acme">acme</a> on mx2: <b>held</b> since 2026-09-20' in text
    assert "<code>inv review acme</code>" in text


def test_each_customer_has_a_chart_its_keys_and_its_relays_side_by_side(tmp_path: Path) -> None:
    text = section(page(tmp_path, all_well()), "acme")
    for name in ("size", "added", "removed", "refused", "came", "due"):
        assert re.search(rf'<path class="{name}" d="M', text), name
    assert re.findall(r"<tr><td>(\w+)", text) == ["mx1", "mx2"]
    assert "Mon, Tue, Wed, Thu, Fri; 07:" in text
    assert "In 90 days" in text


def test_a_relay_that_is_down_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    text = page(tmp_path, all_well(mx2=DOWN), mx1=figures(1))
    assert "mx2: <b>not reached</b>: no connection to 192.0.2.3" in text
    assert "no figures: not reached" in section(text, "acme")
    assert '<path class="size"' in section(text, "acme")
    assert "No upload is known in the last 90 days." in section(text, "bolt")


def test_a_relay_of_an_older_release_is_a_row_without_figures(tmp_path: Path) -> None:
    old = HostError("its release of Postern does not know that yet; `inv provision --all` brings it up to date")
    text = page(tmp_path, all_well(), mx1=old, mx2=figures(1, 2))
    assert "no figures: its release of Postern does not know that yet" in section(text, "acme")


def test_relays_with_different_lists_are_drawn_each_with_a_line_of_its_own(tmp_path: Path) -> None:
    text = section(page(tmp_path, all_well(), mx1=figures(1), mx2=figures(5, 2)), "acme")
    assert len(re.findall(r'<path class="other"', text)) == 1


def test_on_a_narrow_screen_each_cell_is_called_as_its_column(tmp_path: Path) -> None:
    style = (REPO / "templates/report/report.css").read_text()
    text = page(tmp_path, all_well())
    tables = re.findall(r'<table class="[a-z ]*(of-[a-z]+)"><thead>(.*?)</thead>', text)
    assert {name for name, _ in tables} == {"of-relays", "of-customers", "of-lists"}
    for table, head in tables:
        names = re.findall(r"<th[^>]*>([^<]+)", head)
        assert names == re.findall(rf'\.{table} td:nth-child\(\d+\)::before {{ content: "([^"]+)"', style)


def test_the_page_is_for_its_owner_alone_and_replaced_whole(tmp_path: Path) -> None:
    path = write_page(tmp_path / "out", "one")
    write_page(tmp_path / "out", "two")
    assert (path.name, path.read_text()) == (PAGE, "two")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in path.parent.iterdir()] == [PAGE]


def test_uploads_are_due_as_the_schedule_says_in_its_time_zone() -> None:
    schedule = Schedule.model_validate({"days": ["MON"], "from": "07:00", "to": "09:00", "timezone": "Europe/Berlin"})
    starts, monday = (7 * 60, 8 * 60, 9 * 60), TODAY.toordinal()
    assert count_due(schedule, starts, monday, NOW + 5 * 86_400) == 3
    assert count_due(schedule, starts, monday + 1, NOW + 5 * 86_400) == 0
    six = int(datetime(2026, 9, 21, 6, tzinfo=UTC).timestamp())  # eight o'clock in Berlin
    assert [count_due(schedule, starts, monday, six + minutes * 60) for minutes in (-61, -1, 0, 60)] == [0, 1, 2, 3]


# ---- attacks on the page


def test_attack_names_and_answers_with_markup_stay_text(tmp_path: Path) -> None:
    named = HOSTILE.replace("\x1b", "").replace("\u202e", "")[:90]  # an inventory takes no control characters
    needs = Problem(HOSTILE, HOSTILE)
    hostile = row("acme", "mx1", needs, did=HOSTILE, key=HOSTILE, list=HOSTILE)
    said = {"acme": HOSTILE, HOSTILE: HOSTILE}
    text = page(
        tmp_path,
        all_well(hostile, mx2=Problem("not reached", HOSTILE)),
        everything=fleet(tmp_path / "i", name=named),
        mx1=said,
        mx2=HostError(HOSTILE),
    )
    assert len(re.findall(r"<script", text)) == 1
    assert not re.search(r"<(img|b>`|iframe)", text)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7*7 }}" in text


def test_attack_figures_of_another_shape_are_a_sentence_and_no_chart(tmp_path: Path) -> None:
    good = made_record(1, NOW)
    shapes: list[Any] = [
        {**good, "days": [["2026-09-20", "M0 0<script>", 1, 1, 1, 1, 1]]},
        {**good, "days": [["2026-09-20", 1 << 80, 1, 1, 1, 1, 1]]},
        {**good, "days": [["2026-09-20", -5, 1, 1, 1, 1, 1]]},
        {**good, "days": [["'; DROP", 1, 1, 1, 1, 1, 1]]},
        {**good, "days": [[]]},
        {**good, "refused": {"2026-09-20": None}},
        {**good, "keys": {"k1": "soon"}},
        {**good, "days": {"a": 1}},
        {},
        [],
        None,
        "days",
        7,
    ]
    for shape in shapes:
        (found,) = read_all_figures({"acme": shape}, TODAY).values()
        assert isinstance(found, str), shape
        assert "cannot be understood" in found


def test_attack_days_of_the_far_past_and_future_draw_nothing() -> None:
    days = [[day, 5, 1, 1, 1, 1, 1] for day in ("0001-01-01", "9999-12-31")]
    assert read_figures({"days": days, "refused": {"9999-12-31": 4}, "keys": {}}, TODAY) == Figures({}, {}, {})


@pytest.mark.parametrize("seed", range(20))
def test_a_chart_is_drawn_of_digits_and_path_letters_within_its_frame(seed: int) -> None:
    one, other = (read_figures(made_record(each, NOW), TODAY) for each in (seed, seed + 100))
    chart = draw_chart([one, other], one.refused, [Week(TODAY.toordinal() - 6, 50, 60)], TODAY)
    assert chart
    paths = [*chart.sizes, *(value for value in chart if isinstance(value, str))]
    assert all(re.fullmatch(r"[MHVhvz0-9 -]*", path) for path in paths)
    moves = [(int(x), int(y)) for path in paths for x, y in re.findall(r"M(-?\d+) (-?\d+)", path)]
    assert all(0 <= x <= 900 and 0 <= y <= 268 for x, y in moves)


def test_a_list_that_never_changed_is_a_flat_line() -> None:
    record = {"days": [["2026-09-10", 7, 0, 0, 1, 0, 0]], "refused": {}, "keys": {}}
    chart = draw_chart([read_figures(record, date(2026, 9, 21))], {}, [], TODAY)
    assert chart
    assert chart.sizes == ("M780 46H900",)


# ---- that it stands alone and can be read


def test_the_page_names_no_other_place_and_its_policy_allows_none(tmp_path: Path) -> None:
    text = page(tmp_path, all_well())
    assert not re.search(r"https?:|url\(|@import|//[a-z]", text.replace("// Sorting and filtering", ""))
    assert re.findall(r'(?:src|href)="([^#][^"]*)"', text) == ["data:,"]
    policy = text.partition('Content-Security-Policy" content="')[2].partition('"')[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert content
        digest = b64encode(sha256(content[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert len(b64decode(digest)) == 32
    assert " style=" not in text
    assert not re.search(r"\son\w+=", text)


def themes() -> dict[str, dict[str, str]]:
    """Return the colours of each theme by name."""
    style = (REPO / "templates/report/report.css").read_text()
    light = dict(COLOURS.findall(style[: style.index("@media (prefers-color-scheme: dark)")]))
    dark = dict(COLOURS.findall(style.partition("prefers-color-scheme: dark")[2].partition("@media print")[0]))
    return {"light": light, "dark": dark, "print": dict(COLOURS.findall(style.partition("@media print")[2]))}


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert round(contrast("#ffffff", "#000000"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_every_text_and_every_mark_has_the_contrast_of_wcag_aa(theme: str) -> None:
    colours = themes()[theme]
    assert colours.keys() == themes()["light"].keys()
    for ground in ("page", "panel"):
        for text in ("text", "quiet", "link", "urgent", "notice"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for mark in ("size", "other", "added", "removed", "held", "decided", "refused", "came", "due", "control"):
        assert contrast(colours[mark], colours["page"]) >= 3, mark
