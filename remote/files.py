"""Runs on the machine itself, sent there: kinds `file` and `tree`. Standard library of Python 3.9 only.

Both are made under another name and put in place by one rename: a reader finds the old content or the new.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator

from remote.main import Failed, Kind, Request, State

LARGEST = 16 << 20  # bytes of a file that are read; what we install is far smaller

_DRAFT = re.compile(r"\.(?P<name>.+)\.postern-[0-9a-f]{12}(\.link)?\Z", re.DOTALL)


def read_file(path: str) -> State | None:
    """Read content and mode, and under "odd" what is wrong with it. Bytes that are no UTF-8 become surrogates."""
    info = _look(path)
    if info is None:
        return None
    if stat.S_ISDIR(info.st_mode):
        return {"odd": ["is a directory"]}
    odd = list(_faults(path, info))
    if not stat.S_ISREG(info.st_mode):
        return {"odd": odd}
    if info.st_size > LARGEST:
        return {"odd": [*odd, f"is a file of {info.st_size} bytes"]}
    content = _content(path)
    state = {"content": content.decode("utf-8", "surrogateescape"), "mode": f"{stat.S_IMODE(info.st_mode):04o}"}
    return {**state, "odd": odd} if odd else state


def make_file(path: str, wanted: State | None) -> None:
    """Make a file what it must be, or remove it."""
    if wanted is None:
        os.unlink(path)
        _flush(os.path.dirname(path))
    else:
        replace(path, _bytes(wanted["content"]), int(wanted["mode"], 8))


def replace(path: str, content: bytes, mode: int, owner: tuple[int, int] | None = None, age: float = 0) -> None:
    """Write a file with its content, mode, owner (uid, gid) and age in seconds by one rename; a link is replaced."""
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    draft = _fresh(path)
    _write(draft, content, mode)
    if owner is not None:
        os.chown(draft, *owner)
    if age:
        os.utime(draft, (time.time() - age,) * 2)
    os.rename(draft, path)
    _flush(os.path.dirname(path))


def read_tree(path: str) -> State | None:
    """Read every file below, and under "odd" what is wrong with the tree."""
    info = _look(path)
    if info is None:
        return None
    if stat.S_ISDIR(info.st_mode):
        return _contents(path, ["is a directory and not a link to one"])
    target = _target(path)
    if target is None:
        return {"odd": ["is a file"]}
    place = os.path.join(os.path.dirname(path), target)
    if not _is_draft(path, target) or not os.path.isdir(place):
        return {"odd": [f"is a symbolic link to {target}"]}
    # The directory itself, because the link may be replaced meanwhile.
    return _contents(place, [f"is a directory that {fault}" for fault in _folder_faults(place, os.lstat(place))])


def _contents(place: str, odd: list[str]) -> State:
    files: dict[str, str] = {}
    for name, state in _walk(place, ""):
        mode = state.get("mode", "0644")
        faults = [*state.get("odd", ()), *([] if mode == "0644" else [f"has mode {mode}"])]
        odd.extend(f"holds {name}, which {fault}" for fault in faults)
        if not name.endswith("/"):
            files[name] = state.get("content", "")
    return {"files": files, "odd": sorted(odd)} if odd else {"files": files}


def make_tree(path: str, wanted: State | None) -> None:
    """Fill a new hidden directory beside it, then make the name a link to that by one rename.

    The replaced directory stays until the next make, since a program may have just begun to read it. A directory in the
    place of the link cannot be renamed over: it is moved aside first, and the name is missing for a moment.
    """
    if wanted is None:
        _remove_tree(path)
        return
    draft = _fresh(path)
    os.makedirs(draft, 0o755)
    for name, content in wanted["files"].items():
        if name.startswith("/") or ".." in name.split("/"):
            raise Failed(f"{name!r} would lie outside")
        os.makedirs(os.path.dirname(os.path.join(draft, name)), 0o755, exist_ok=True)
        _write(os.path.join(draft, name), _bytes(content), 0o644)
    for folder, _, _ in os.walk(draft):
        _flush(folder)
    os.symlink(os.path.basename(draft), draft + ".link")
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, _fresh(path))
    os.rename(draft + ".link", path)
    _flush(os.path.dirname(path))


def tidy(names: list[str]) -> None:
    """Remove the drafts beside these names that no link names: killed runs left them, or the last run replaced them."""
    for folder in sorted({os.path.dirname(name) for name in names}):
        for draft in os.listdir(folder) if os.path.isdir(folder) else ():
            match = _DRAFT.match(draft)
            if match and _target(os.path.join(folder, match["name"])) != draft:
                _remove(os.path.join(folder, draft))


def _content(path: str) -> bytes:
    """Read a file by descriptor: for 5,000 small files, Python's file objects would take half the time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        content = b""
        while (chunk := os.read(descriptor, 1 << 16)) and len(content) < LARGEST:
            content += chunk
        return content
    finally:
        os.close(descriptor)


def _look(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _faults(path: str, info: os.stat_result) -> Iterator[str]:
    """Yield what is wrong with what should be a file or a directory of root, who runs this."""
    if stat.S_ISLNK(info.st_mode):
        yield f"is a symbolic link to {os.readlink(path)}"
    elif not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        yield "is a device, a socket or a pipe"
    elif (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        yield f"belongs to user {info.st_uid} and group {info.st_gid}"


def _folder_faults(path: str, info: os.stat_result) -> Iterator[str]:
    yield from _faults(path, info)
    if stat.S_IMODE(info.st_mode) != 0o755:
        yield f"has mode {stat.S_IMODE(info.st_mode):04o}"


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, State]]:
    """Yield all that lies below; a directory's name ends in a slash and has no content."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield name, read_file(entry.path) or {}
                continue
            if entry.name == "__pycache__":
                continue  # bytecode of the modules beside it
            yield f"{name}/", {"odd": list(_folder_faults(entry.path, entry.stat(follow_symlinks=False)))}
            yield from _walk(entry.path, f"{name}/")


def _fresh(path: str) -> str:
    """Return a hidden name beside a path that was never used: a killed run's draft must not be taken for ours."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.postern-{os.urandom(6).hex()}")


def _is_draft(path: str, target: str) -> bool:
    match = _DRAFT.match(target)
    return bool(match and match["name"] == os.path.basename(path))


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _remove_tree(path: str) -> None:
    """Remove the name in one step, then the directory that it named."""
    target = _target(path)
    if target is None and os.path.isdir(path):
        target = os.path.basename(_fresh(path))
        os.rename(path, os.path.join(os.path.dirname(path), target))
    else:
        os.unlink(path)
    _flush(os.path.dirname(path))
    if target is not None and _is_draft(path, target):
        _remove(os.path.join(os.path.dirname(path), target))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        for name in os.listdir(path):
            _remove(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def _bytes(content: str) -> bytes:
    """Return text as bytes, the reverse of read_file."""
    return content.encode("utf-8", "surrogateescape")


def _write(path: str, content: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(file.fileno(), os.geteuid(), os.getegid())
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _flush(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_files(asked: list[Request]) -> list[State | None]:
    return [read_file(one.name) for one in asked]


def _read_trees(asked: list[Request]) -> list[State | None]:
    return [read_tree(one.name) for one in asked]


KINDS = {"file": Kind(_read_files, make_file, tidy), "tree": Kind(_read_trees, make_tree, tidy)}


def read_text(path: str) -> str:
    """Read a file; nothing if it is not there. Bytes that are no UTF-8 become surrogates."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
