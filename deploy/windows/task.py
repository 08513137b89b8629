"""A task of Windows' Task Scheduler: of its XML what we mean by it, so that what Windows adds is no difference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

_ALL_OF = ("Triggers", "Actions")  # more than ours in one of these is not ours
_OF_PRINCIPAL = ("UserId", "RunLevel")
_OF_SETTINGS = (
    *("Enabled", "MultipleInstancesPolicy", "ExecutionTimeLimit", "StartWhenAvailable"),
    *("DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"),
)
_DEFAULTS = {"Enabled": "true", "StopAtDurationEnd": "false", "WeeksInterval": "1"}  # [MS-TSCH] 2.5: the same as absent
_SPANS = ("Interval", "Duration", "ExecutionTimeLimit")
_SPAN = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?)?")
_SYSTEM = "S-1-5-18"


def describe_task(xml: str) -> dict[str, str]:
    """Read when a task runs, what, and as whom: path of an element, its text. Raises ValueError for what is no task.

    schtasks says "UTF-16" in its first line, in whatever encoding it writes: that line does not count.
    """
    text = re.sub(r"^\ufeff?\s*<\?xml[^>]*\?>", "", xml.replace("\0", ""))
    if "<!" in text:
        raise ValueError("a task has no document type and no comments")
    try:
        task = ElementTree.fromstring(text.strip())  # noqa: S314 without a document type there is nothing to blow up
    except ElementTree.ParseError as error:
        raise ValueError(f"is no XML: {error}") from error
    found: dict[str, str] = {}
    for path, value in _compared_values(task):
        name = path.rpartition("/")[2]
        value = _minutes(value) if name in _SPANS else value
        if value != _DEFAULTS.get(name):
            found[path if path not in found else f"{path} (another)"] = value
    return found


def run_as_system_task(facts: dict[str, str]) -> dict[str, str]:
    """Return the values of a task, changed so that the system itself runs it, without a password."""
    return {**facts, "Principals/UserId": _SYSTEM}


def _compared_values(task: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for part in task:
        name = _name(part)
        if name in _ALL_OF:
            yield name, " ".join(map(_name, part))
            yield from (leaf for inner in part for leaf in _leaf_values(inner, f"{name}/{_name(inner)}"))
        elif name == "Settings":
            yield from ((f"{name}/{key}", value) for key, value in _named_values(part, _OF_SETTINGS))
        elif name == "Principals":
            yield from ((f"{name}/{key}", value) for one in part for key, value in _named_values(one, _OF_PRINCIPAL))


def _leaf_values(element: ElementTree.Element, path: str) -> Iterator[tuple[str, str]]:
    if len(element) and not any(len(inner) or (inner.text or "").strip() for inner in element):
        yield path, " ".join(_name(inner) for inner in element)  # days of the week
        return
    if len(element) == 0:
        yield path, (element.text or "").strip()
    for inner in element:
        yield from _leaf_values(inner, f"{path}/{_name(inner)}")


def _named_values(element: ElementTree.Element, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for inner in element:
        if _name(inner) in names:
            text = (inner.text or "").strip()
            yield _name(inner), _SYSTEM if _name(inner) == "UserId" and text.upper().endswith("SYSTEM") else text


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _minutes(span: str) -> str:
    """Write a span of time in one way: PT60M and PT1H are the same hour."""
    found = _SPAN.fullmatch(span)
    if not found:
        return span
    days, hours, minutes = (int(number or 0) for number in found.groups())
    return f"{days * 1440 + hours * 60 + minutes} minutes"
