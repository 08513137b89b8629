"""What Prometheus' textfile collector reads: one file for the relay, replaced whole."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from receiver.monitoring.status import Status
from receiver.system import atomic_files

_FILE = "postern.prom"
_DRAFT = ".postern.new"  # the collector reads whatever ends in .prom


Refused = Mapping[str, Mapping[str, int]]  # customer: kind of refusal: how many there were
Alarmed = Sequence[tuple[str, str]]  # of each alarm: its customer, empty for the relay's own, and its kind's first word


class Sample(NamedTuple):
    """One value of one metric."""

    metric: str
    labels: Mapping[str, str]
    value: int


_HELP = {
    "postern_recipients": "Recipients in the list in force.",
    "postern_last_good_upload_seconds": "When the last upload came that passed, by domain.",
    "postern_open": "1: nothing is rejected in this domain.",
    "postern_last_run_seconds": "When the last run began: an upload, or what a person decided.",
    "postern_last_run_code": "Its exit code: 0 done, 2 refused, 3 held, 4 failed, 75 not now.",
    "postern_left_out": "Values of the last export that are no recipients, by reason.",
    "postern_held_since_seconds": "Since when lists are held; 0: none is.",
    "postern_pinned_since_seconds": "Since when uploads do not take effect; 0: they do.",
    "postern_unproven_since_seconds": "When the list came that is not in the tables yet; 0: all are.",
    "postern_key_seen_seconds": "When a key was last used.",
    "postern_refused_total": "Recipients refused or put off because no list has them, by kind.",
    "postern_alarms": "Alarms of the timer's last run, by kind; without a customer: the relay's own.",
    "postern_unlisted_put_off": "1: the server refuses to be asked about unlisted addresses, which are deferred.",
    "postern_tick_seconds": "When these numbers were written.",
}


def write(directory: str, statuses: Sequence[Status], refused: Refused, alarmed: Alarmed, now: int) -> None:
    """Replace the file. Raises OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        atomic_files.write(folder, _DRAFT, compose_text(statuses, refused, alarmed, now).encode(), mode=0o644)
        atomic_files.rename(folder, _DRAFT, _FILE)
    finally:
        os.close(folder)


def compose_text(statuses: Sequence[Status], refused: Refused, alarmed: Alarmed, now: int) -> str:
    """Return the file's text: each metric's samples together, as the format wants them."""
    samples = [Sample("postern_tick_seconds", {}, now), *(each for status in statuses for each in _samples(status))]
    samples += [
        Sample("postern_refused_total", {"customer": customer, "kind": kind}, count)
        for customer, kinds in refused.items()
        for kind, count in kinds.items()
    ]
    samples += [
        Sample("postern_alarms", {"customer": customer, "kind": kind}, count)
        for (customer, kind), count in Counter(alarmed).items()
    ]
    lines = []
    for metric, help_ in _HELP.items():
        lines += [f"# HELP {metric} {help_}", f"# TYPE {metric} {'counter' if metric.endswith('_total') else 'gauge'}"]
        lines += [f"{metric}{_labels(each.labels)} {each.value}" for each in samples if each.metric == metric]
    return "".join(f"{line}\n" for line in lines)


def _samples(status: Status) -> Iterator[Sample]:
    of = {"customer": status.customer}
    yield Sample("postern_recipients", of, status.in_force.total)
    for domain, when in status.in_force.accepted.domains.items():
        yield Sample("postern_last_good_upload_seconds", {**of, "domain": domain}, when)
    for domain in status.domains:
        yield Sample("postern_open", {**of, "domain": domain}, int(domain in status.opens))
    yield Sample("postern_unlisted_put_off", of, int(status.is_put_off))
    held = status.held if status.held and status.held.reasons and not status.frozen else None
    yield Sample("postern_held_since_seconds", of, held.since if held else 0)
    yield Sample("postern_pinned_since_seconds", of, status.frozen.since if status.frozen else 0)
    yield Sample("postern_unproven_since_seconds", of, status.unproven)
    for key, seen in status.keys.items():
        yield Sample("postern_key_seen_seconds", {**of, "key": key}, seen["last"])
    if status.last:
        yield Sample("postern_last_run_seconds", of, status.last.origin.when)
        yield Sample("postern_last_run_code", of, status.last.code)
        for reason, count in status.last.left_out.items():
            yield Sample("postern_left_out", {**of, "reason": reason}, count)


def _labels(labels: Mapping[str, str]) -> str:
    """Write labels as the format has them; values hold no line end and no quote, but are not trusted for it."""
    pairs = (f'{name}="{_escape_label(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escape_label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
