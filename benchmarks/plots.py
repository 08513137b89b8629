"""Draws a plot: `plots.py FILE.svg` reads what report.Plot says, as JSON, from stdin. Runs where matplotlib is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MEDIAN, LOW, HIGH = range(3)
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "postern",  # the same figures make the same file
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}


def draw(plot: dict[str, Any], file: Path) -> None:
    """Draw medians as points or bars, and the lowest and highest run as a line through each."""
    with mpl.rc_context(STYLE):
        picture = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = picture.subplots()
        axes.set(title=plot["title"], xlabel=plot["x"], ylabel=plot["y"])
        named = any(isinstance(x, str) for points in plot["lines"].values() for x, _ in points)
        (_bars if named else _lines)(axes, plot["lines"])
        if "x" in plot["log"]:
            axes.set_xscale("log")
        if "y" in plot["log"]:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if len(plot["lines"]) > 1:
            axes.legend(frameon=False)
        picture.savefig(file, metadata={"Date": None})


def _lines(axes: Axes, lines: dict[str, Any]) -> None:
    for name, points in lines.items():
        axes.errorbar([x for x, _ in points], *_heights(points), label=name, marker="o", markersize=4, capsize=3)


def _bars(axes: Axes, lines: dict[str, Any]) -> None:
    names = list(dict.fromkeys(x for points in lines.values() for x, _ in points))
    width = 0.8 / len(lines)
    for number, (name, points) in enumerate(lines.items()):
        places = [names.index(x) + (number - (len(lines) - 1) / 2) * width for x, _ in points]
        heights, error = _heights(points)
        axes.bar(places, heights, width, yerr=error, label=name, capsize=3)
    axes.set_xticks(range(len(names)), names)


def _heights(points: list[Any]) -> tuple[list[float], list[list[float]]]:
    medians = [spread[MEDIAN] for _, spread in points]
    below = [spread[MEDIAN] - spread[LOW] for _, spread in points]
    above = [spread[HIGH] - spread[MEDIAN] for _, spread in points]
    return medians, [below, above]


if __name__ == "__main__":
    draw(json.load(sys.stdin), Path(sys.argv[1]))
