"""An item and what is there now, as text an operator reads: unified diffs of files, a line for all else."""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deploy.items import Item, State

NOTHING = "/dev/null"
LONG = 60  # lines of one file's diff that are still read
MANY = 10  # files of one tree


def plan_lines(item: Item, now: State | None, brief: bool = False) -> str:
    """Return what making the item would change. Printable characters only, whatever lies on the machine; no binary.

    `brief`: a file's diff of more than LONG lines, or a tree's of more than MANY files, is one line that counts them.
    """
    lines = _KINDS.get(item.kind, _of_parameters)(item, now, LONG if brief else sys.maxsize)
    return "".join(f"{_printable(line)}\n" for line in lines)


def odd_lines(item: Item, now: State | None) -> Iterator[str]:
    """Yield what is wrong with the thing itself and not its text: a link where a file belongs, another owner."""
    for fault in (now or {}).get("odd", ()):
        yield f"! {item.name} {fault}"


def _of_package(item: Item, _now: State | None, _most: int) -> Iterator[str]:
    yield f"{'install' if item.wanted else 'remove'} package {item.name}"


def _of_account(item: Item, now: State | None, _most: int) -> Iterator[str]:
    if item.wanted is None:
        yield f"remove account {item.name}"
    elif now is None:
        yield f"create account {item.name} ({', '.join(f'{key} {value}' for key, value in item.wanted.items())})"
    else:
        yield from odd_lines(item, now)
        changed = [
            f"{key} {now.get(key)} -> {item.wanted[key]}" for key in _changed_fields(now, item.wanted) if key != "odd"
        ]
        if changed:
            yield f"change account {item.name}: {', '.join(changed)}"


def _of_derived(item: Item, now: State | None, _most: int) -> Iterator[str]:
    faults = list((now or {}).get("faults", ()))
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    yield f"build {item.name}" + (f" ({'; '.join(faults[:3])}{more})" if faults else "")


def _of_sudo(item: Item, now: State | None, _most: int) -> Iterator[str]:
    fault = (now or {}).get("fault", "")
    yield f"try {(item.wanted or {}).get('command')} as account {item.name}" + (f" ({fault})" if fault else "")


def _of_file(item: Item, now: State | None, most: int) -> Iterator[str]:
    yield from odd_lines(item, now)
    yield from _mode(item.name, now, item.wanted)
    yield from _texts(item.name, (now or {}).get("content"), (item.wanted or {}).get("content"), most)


def _of_tree(item: Item, now: State | None, most: int) -> Iterator[str]:
    yield from odd_lines(item, now)
    before: Mapping[str, str] = (now or {}).get("files", {})
    after: Mapping[str, str] = (item.wanted or {}).get("files", {})
    changed = _changed_fields(before, after)
    if len(changed) > MANY and most == LONG:
        come, go = len(set(after) - set(before)), len(set(before) - set(after))
        yield f"tree {item.name}: {come} files come, {go} go, {len(changed) - come - go} change"
        return
    for name in changed:
        yield from _texts(f"{item.name}/{name}", before.get(name), after.get(name), most)


def _of_parameters(item: Item, now: State | None, _most: int) -> Iterator[str]:
    """Show a role's own kind, whose state is flat: a line for each value that goes and each that comes."""
    yield f"{item.kind} {item.name}"
    for key in _changed_fields(now or {}, item.wanted or {}):
        for sign, state in (("-", now), ("+", item.wanted)):
            if state is not None and key in state:
                first, *more = _value(state[key]).splitlines() or [""]
                yield f"{sign} {key} = {first}"
                yield from (f"{sign}     {line}" for line in more)


_KINDS: Mapping[str, Callable[[Item, State | None, int], Iterator[str]]] = {
    "package": _of_package,
    "account": _of_account,
    "file": _of_file,
    "tree": _of_tree,
    "derived": _of_derived,
    "sudo": _of_sudo,
}


def _changed_fields(before: State, after: State) -> list[str]:
    return [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _mode(name: str, now: State | None, wanted: State | None) -> Iterator[str]:
    before, after = (now or {}).get("mode"), (wanted or {}).get("mode")
    if before == after or after is None:
        return
    yield f"mode of {name}: {before} -> {after}" if before else f"mode of {name}: {after}"


def _texts(name: str, before: str | None, after: str | None, most: int) -> Iterator[str]:
    if before == after:
        return
    if _is_binary(before) or _is_binary(after):
        yield f"binary {name}: {_weight(before)} -> {_weight(after)}"
        return
    old, new = _lines(before), _lines(after)
    if all(line.endswith("\r\n") for line in (*old, *new)):
        old, new = ([line[:-2] + "\n" for line in lines] for lines in (old, new))
    lines = list(difflib.unified_diff(old, new))[2:]
    if len(lines) > most:
        came, went = (sum(line[0] == sign for line in lines) for sign in "+-")
        yield f"{'new file' if before is None else 'file'} {name}: {came} lines come, {went} go"
        return
    yield f"--- {NOTHING if before is None else name}"
    yield f"+++ {NOTHING if after is None else name}"
    for line in lines:
        yield line.removesuffix("\n")
        if not line.endswith("\n") and line[0] != "@":
            yield "\\ No newline at end of file"


def _lines(text: str | None) -> list[str]:
    """Return the lines, cut after each newline and nowhere else, as diff does.

    str.splitlines knows ten other line ends.
    """
    return (
        [line + "\n" for line in text.split("\n")[:-1]] + ([rest] if (rest := text.split("\n")[-1]) else [])
        if text
        else []
    )


def _is_binary(text: str | None) -> bool:
    return text is not None and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def _weight(text: str | None) -> str:
    if text is None:
        return "nothing"
    content = text.encode("utf-8", "surrogateescape")
    return f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}"


def _printable(line: str) -> str:
    r"""Show a control character of a file as an escape: `\r` at the end of a line is a difference to be seen."""
    if line.isprintable():
        return line
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode() for char in line
    )
